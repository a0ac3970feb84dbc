"""NetAdapt: targets are met, its prices are those of the networks it makes, and a stopped run continues."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import costlab
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.rewrite import netadapt

SLOW = """zoo:mobilenet_v1 torchvision:mobilenet_v3_large torchvision:resnet50 torchvision:regnet_y_400mf
torchvision:shufflenet_v2_x1_0 torchvision:efficientnet_b0 torchvision:convnext_tiny torchvision:densenet121""".split()
NETWORKS = ["zoo:mobilenet_v2", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
SHAPE = (1, 3, 16, 16)

CODE = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 48, 3), nn.BatchNorm2d(48), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10)
    )

def size(model):
    return sum(float(p.detach().square().sum()) for p in model.parameters())

def nan(model):
    return float("nan")

def train(model, last):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0 if last else 1.01)

def broken(model):
    raise ValueError("no data")

number = 5
"""


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(CODE, scope)
    return scope


def network() -> nn.Sequential:
    scope: dict = {}
    exec(CODE, scope)
    return scope["network"]()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_target_is_met_within_two_percent(name):
    model, _ = costlab.load(name)
    shape, device = (1, 3, 224, 224), "raspberry-pi-5"
    part = 0.8 if "shufflenet" in name else 0.6  # only the middle of its units can shrink
    result = netadapt(model, shape, target_latency=part, device=device, step=0.05)
    seconds = [costlab.predict(costlab.profile(m, shape), device).seconds for m in (model, result.model)]
    assert 0.98 * part <= seconds[1] / seconds[0] <= part
    assert result.adaptation.after == seconds[1]
    assert result.adaptation.steps[-1].proposal.value == seconds[1]
    assert all(group.after % 8 == 0 for group in result.adaptation.groups)


@pytest.mark.parametrize(
    ("target", "key"),
    [("target_mult_adds", "mult_adds"), ("target_params", "params"), ("target_peak_memory", "peak_activation_bytes")],
)
def test_other_targets_are_met(target, key):
    model = network()
    result = netadapt(model, SHAPE, multiple=1, **{target: "0.6x"})
    before, after = (getattr(costlab.profile(m, SHAPE).total, key) for m in (model, result.model))
    assert 0.58 <= after / before <= 0.6
    assert result.adaptation.after == after


def test_an_amount_is_a_target():
    assert netadapt(network(), SHAPE, multiple=1, target_params="10 k").adaptation.after <= 10_000


def test_the_network_itself_is_left_as_it_was():
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    netadapt(model, SHAPE, target_params=0.5, evaluate=lambda m: 1.0, finetune=lambda m, last: m[0].weight.data.zero_())
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_proposals_are_trained_before_they_are_compared_and_one_keeps_its_weights():
    calls = []
    marks = iter(range(1, 1000))

    def train(model, last):
        calls.append(last)
        if not last:
            model[0].weight.data[0, 0, 0, 0] = next(marks)

    def mark(model):
        calls.append("compare")
        return float(model[0].weight.data[0, 0, 0, 0])

    result = netadapt(network(), SHAPE, target_params=0.5, evaluate=mark, finetune=train)
    tried = sum(len(step.proposals) for step in result.adaptation.steps)
    assert calls == ["compare", *[False, "compare"] * tried, True, "compare"]
    kept = result.adaptation.steps[-1].proposal.accuracy
    assert result.model[0].weight.data[0, 0, 0, 0] == kept == result.adaptation.final_accuracy


def test_the_smallest_filters_go():
    model = network()
    with torch.no_grad():
        model[0].weight.mul_(torch.tensor([2.0 if n % 2 else 1.0 for n in range(32)])[:, None, None, None])
    result = netadapt(model, SHAPE, multiple=1, target_mult_adds=0.6, only="0")
    stay = {n for n in range(32) if any(torch.equal(model[0].weight[n], row) for row in result.model[0].weight)}
    assert len(stay) == result.model[0].out_channels < 32
    assert {n for n in range(32) if n % 2} <= stay


def test_what_costs_no_accuracy_goes_first():
    model = network()

    def accuracy(smaller):  # only the second layer matters
        return float(smaller[3].out_channels)

    result = netadapt(model, SHAPE, target_mult_adds=0.5, multiple=1, evaluate=accuracy)
    first, *others, _ = result.adaptation.steps  # the last has to hit the target
    assert {step.proposal.group for step in (first, *others)} == {"0"}
    assert first.accuracy == result.adaptation.accuracy == 48.0
    assert {proposal.group: proposal.accuracy for proposal in first.proposals} == {"0": 48.0, "3": 46.0}
    without = netadapt(model, SHAPE, target_mult_adds=0.5, multiple=1).adaptation.steps
    assert {step.proposal.group for step in without[:-1]} == {"0", "3"}


def test_layers_are_selected_by_globs():
    result = netadapt(network(), SHAPE, target_mult_adds=0.7, skip="3")
    assert [group.path for group in result.adaptation.groups] == ["0"]
    assert ("3", "not selected") in [(left.path, left.reason) for left in result.adaptation.left]
    with pytest.raises(CostlabError, match="matches no module"):
        netadapt(network(), SHAPE, target_mult_adds=0.7, only="nothing")


def test_a_network_without_weights_shrinks_from_the_end():
    result = netadapt(network().to("meta"), SHAPE, target_mult_adds=0.7)
    assert not result.adaptation.weights
    assert next(result.model.parameters()).is_meta
    with pytest.raises(CostlabError, match="no weights in memory"):
        netadapt(network().to("meta"), SHAPE, target_mult_adds=0.7, evaluate=lambda m: 1.0)


@pytest.mark.parametrize("functions", [(), ("evaluate",), ("finetune",), ("evaluate", "finetune")])
def test_a_stopped_run_continues_where_it_was(functions, code, tmp_path):
    given = {name: code["size" if name == "evaluate" else "train"] for name in functions}
    settings = {"target_mult_adds": 0.4, "step": 0.05, "multiple": 4, **given}
    whole = netadapt(network(), SHAPE, **settings)

    def stop(step, part):
        assert 0 < part <= 1
        if step.number in (2, 5):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            netadapt(network(), SHAPE, journal=tmp_path / "j.jsonl", progress=stop, **settings)
    with (tmp_path / "j.jsonl").open("a") as file:
        file.write('{"number": 6, "torn')
    result = netadapt(network(), SHAPE, journal=tmp_path / "j.jsonl", **settings)
    assert result.adaptation.steps == whole.adaptation.steps
    assert len(whole.adaptation.steps) > 5
    for ours, theirs in zip(result.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(CostlabError, match="of a run with another step"):
        netadapt(network(), SHAPE, journal=tmp_path / "j.jsonl", **{**settings, "step": 0.1})


ERRORS = {
    "exactly one of": {},
    "exactly one of target_latency": {"target_params": 0.5, "target_mult_adds": 0.5},
    "needs device": {"target_latency": 0.5},
    "such as 0.5x": {"target_params": 1.5},
    "met already": {"target_params": "10 M"},
    "is a change": {"target_params": "-10%"},
    "is not an amount of params": {"target_params": "half"},
    "out of reach: with the fewest channels": {"target_params": 0.01},
    "multiple must be at least 1": {"target_params": 0.5, "multiple": 0},
    "must return a finite number": {"target_params": 0.5, "evaluate": lambda m: float("nan")},
    "accuracy function fails as given: TypeError": {"target_params": 0.5, "evaluate": lambda m: float(None)},
    "fine-tuning function fails in step 1: ZeroDivisionError": {
        "target_params": 0.5,
        "finetune": lambda m, last: 1 / 0,
    },
    "no device 'nothing'": {"target_latency": 0.5, "device": "nothing"},
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises(CostlabError, match=message):
        netadapt(network(), SHAPE, **ERRORS[message])


def test_a_run_that_gets_stuck_says_where(monkeypatch):
    monkeypatch.setattr("costlab.rewrite.adaptation.proposals.Proposer.best", lambda self, state, limit, rank: [])
    message = r"stopped after 0 steps at 15.42 k \(1.00x\), short of the target 7.709 k: no group"
    with pytest.raises(CostlabError, match=message):
        netadapt(network(), SHAPE, target_params=0.5)


def test_a_network_without_removable_channels_says_why():
    with pytest.raises(CostlabError, match=r"no channels of Sequential can be removed; 0: the network returns it"):
        netadapt(nn.Sequential(nn.Conv2d(3, 8, 3)), SHAPE, target_params=0.5)
    with pytest.raises(CostlabError, match=r"can be removed; \S+: all of its channels are tied to each other"):
        netadapt(costlab.load("zoo:shufflenet_v1")[0], (1, 3, 64, 64), target_params=0.5)


def test_time_that_launches_take_is_out_of_reach():
    with pytest.raises(CostlabError, match=r"waiting for the CPU to launch kernels: try a larger batch$"):
        netadapt(network(), SHAPE, target_latency=0.5, device="rtx4090")
    with pytest.raises(CostlabError, match=r"remain \(0.\d\dx\)$"):
        netadapt(network(), SHAPE, target_latency=0.01, device="raspberry-pi-4")


def test_an_accuracy_that_turns_to_nan_says_when():
    scores = iter([1.0, 1.0, float("nan")])
    with pytest.raises(CostlabError, match=r"returns nan in step 1, \d: it must return a finite number"):
        netadapt(network(), SHAPE, target_params=0.5, multiple=4, evaluate=lambda model: next(scores))


def test_names_are_escaped_in_notebooks_and_markdown():
    from costlab.reports import adaptation

    model = nn.Sequential()
    for name, layer in (("<b>`|", nn.Conv2d(3, 16, 3)), ("then", nn.Conv2d(16, 4, 1))):
        model.add_module(name, layer)
    change = netadapt(model, SHAPE, target_params=0.6, device="raspberry-pi-4").adaptation
    assert "<b>" not in change._repr_html_()
    assert "&lt;b&gt;`|" in change._repr_html_()
    assert all(line.count("|") % 2 for line in adaptation.markdown(change).splitlines() if line.startswith("|  "))


# The command.

COMMAND = ["rewrite", "nets.py:network", "--input", "1,3,16,16", "--with", "netadapt"]


def test_the_command_reports_and_saves(code, capsys):
    command = [*COMMAND, "--target-mult-adds", "0.5x", "-o", "small.pt2", "--evaluate", "nets.py:size"]
    assert run(command) == 0
    out = capsys.readouterr().out
    assert "rewritten: netadapt" in out
    assert "accuracy" in out
    assert (
        run(
            [
                *COMMAND,
                "--target-mult-adds",
                "0.5x",
                "-o",
                "small.pt2",
                "--evaluate",
                "nets.py:size",
                "--format",
                "json",
            ]
        )
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert run(["report", "small.pt2", "--format", "json"]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert saved["total"]["mult_adds"] == document["total"]["mult_adds"]["head"] == document["after"]
    assert document["target"] == document["total"]["mult_adds"]["base"] / 2
    assert document["rule"] == "netadapt"
    assert len(Path("small.journal.jsonl").read_text().splitlines()) == 1 + len(document["steps"])
    for layer in document["layers"]:
        assert layer["channels"]["head"] < layer["channels"]["base"]
    assert run([*COMMAND, "--target-mult-adds", "0.5x", "--format", "markdown"]) == 0
    assert "| total |" in capsys.readouterr().out


def test_the_command_predicts_latency(code, capsys):
    assert (
        run([*COMMAND, "--target-latency", "0.8x", "--device", "raspberry-pi-4", "--format", "json", "--multiple", "2"])
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["device"] == "raspberry-pi-4"
    assert 0.78 <= document["after"] / document["before"] <= 0.8
    assert document["after_unrounded"] is not None
    assert all(layer["predicted_seconds"]["head"] > 0 for layer in document["layers"])


def test_interrupted_the_command_says_how_to_continue(code, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("costlab.rewrite.adaptation.search.Search.step", stop)
    assert run([*COMMAND, "--target-params", "0.5x", "--journal", "j.jsonl"]) == 130
    assert "run the same command again to continue" in capsys.readouterr().err


WRONG = {
    "--rank needs dac": ["--rank", "3", "--target-params", "0.5x"],
    "--force needs dac": ["--force", "--target-params", "0.5x"],
    "exactly one of": [],
    "names no function": ["--target-params", "0.5x", "--evaluate", "size"],
    "is a int, not a function": ["--target-params", "0.5x", "--evaluate", "nets.py:number"],
    "returns nan as given": ["--target-params", "0.5x", "--evaluate", "nets.py:nan"],
    "ValueError: no data": ["--target-params", "0.5x", "--evaluate", "nets.py:broken"],
    "--target-latency needs --device": ["--target-latency", "0.5x"],
    "is not the journal of a rewrite": ["--target-params", "0.5x", "--journal", "nets.py"],
}


@pytest.mark.parametrize("message", WRONG)
def test_errors_of_the_command_are_one_line(message, code, capsys):
    assert run([*COMMAND, *WRONG[message]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_options_of_netadapt_are_refused_elsewhere(code, capsys):
    assert run(["rewrite", "nets.py:network", "--with", "dac", "--rank", "2", "--multiple", "8"]) == 2
    assert "--multiple needs netadapt" in capsys.readouterr().err
