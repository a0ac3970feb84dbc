"""`costlab rewrite`: its numbers add up, its files can be read again, and errors are one line."""

from __future__ import annotations

import json
import re

import pytest
import torch
from helpers.examples import HOSTILE
from torch import nn

import costlab
from costlab.cli import run
from costlab.core.cost import COST_KEYS
from costlab.errors import CostlabError
from costlab.models import ModelSpec, load_model, profile_of
from costlab.rewrite import dac
from costlab.rewrite.files import save

CODE = """
import torch
from torch import nn

def trained():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.Conv2d(32, 8, 1)
    )

def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 2))

def twice():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), conv)
"""


@pytest.fixture
def net(tmp_path, monkeypatch) -> str:
    (tmp_path / "net.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return "net.py:trained"


def rewritten(capsys, *arguments: str) -> dict:
    assert run(["rewrite", *arguments, "--format", "json", "--input", "2,3,12,12"]) == 0
    return json.loads(capsys.readouterr().out)


def test_layers_and_the_rest_are_counted_before_and_after(net, capsys):
    document = rewritten(capsys, net, "--with", "dac", "--rank", "3")
    positions = {"0": 2 * 12 * 12, "3": 2 * 10 * 10}
    before = {"0": 16 * 3 * 9, "3": 32 * 16 * 9}
    after = {"0": 3 * (3 * 9 + 16 * 3), "3": 3 * (16 * 9 + 32 * 16)}
    layers = {layer["path"]: layer for layer in document["layers"]}
    for path, count in positions.items():
        assert layers[path]["mult_adds"] == {"base": count * before[path], "head": count * after[path]}
        assert (layers[path]["rank"], layers[path]["full_rank"]) == (3, 9)
        assert 0 < layers[path]["weight_error"] < 1
    rest = 2 * 10 * 10 * 32 * 8
    assert document["total"]["mult_adds"] == {
        "base": rest + sum(layer["mult_adds"]["base"] for layer in layers.values()),
        "head": rest + sum(layer["mult_adds"]["head"] for layer in layers.values()),
    }
    assert document["left"] == [{"path": "4", "reason": "pointwise already"}]
    assert set(COST_KEYS) <= document["total"].keys() & layers["0"].keys()
    assert 0 < document["output_error"] < 2


def test_a_module_that_runs_twice_is_one_layer_with_the_cost_of_both_calls(net, capsys):
    document = rewritten(capsys, "net.py:twice", "--with", "dac", "--rank", "1")
    (layer,) = document["layers"]
    assert layer["mult_adds"] == document["total"]["mult_adds"]
    assert layer["mult_adds"] == {"base": 2 * 2 * 144 * 3 * 3 * 9, "head": 2 * 2 * 144 * (3 * 9 + 3 * 3)}


def test_at_full_rank_the_reported_errors_vanish(net, capsys):
    document = rewritten(capsys, net, "--with", "dac", "--rank", "9", "--force")
    assert document["output_error"] < 1e-6
    assert [layer["weight_error"] for layer in document["layers"]] == [0, 0]


def test_the_same_seed_gives_the_same_report(capsys):
    arguments = ["rewrite", "zoo:mobilenet_v1", "-a", "full_conv=true", "-a", "width=0.25", "--resolution", "32"]
    printed = []
    for seed in ("3", "3", "4"):
        assert run([*arguments, "--with", "dac", "--rank", "2", "--seed", seed]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


def test_ranks_can_be_given_by_path(net, capsys):
    document = rewritten(capsys, net, "--with", "dac", "--rank", "3", "--rank", "0=2")
    assert {layer["path"]: layer["rank"] for layer in document["layers"]} == {"0": 2, "3": 3}


@pytest.mark.slow
def test_vgg16_at_53_percent_saving_shows_the_ranks_chosen(capsys):
    arguments = ["rewrite", "torchvision:vgg16", "--with", "dac", "--target-mult-adds", "0.47x"]
    assert run([*arguments, "--input", "1,3,224,224"]) == 0
    printed = capsys.readouterr().out
    (total,) = re.findall(r"^mult-adds .* -([\d.]+)%$", printed, re.M)
    assert 53 <= float(total) < 55
    ranks = re.findall(r"^(features\.\d+) +(\d)/9 .* ([\d.]+)%$", printed, re.M)
    assert len(ranks) >= 5
    assert len({rank for _, rank, _ in ranks}) > 1
    kept = re.search(r"^unchanged, target reached without it \((\d+)\): features.0, ", printed, re.M)
    assert len(ranks) + int(kept[1]) == 13


@pytest.mark.parametrize("rule", [["dac", "--rank", "2"], ["depthwise-separable"]])
def test_a_saved_program_reports_the_same_costs(net, capsys, tmp_path, rule):
    document = rewritten(capsys, net, "--with", *rule, "-o", str(tmp_path / "small.pt2"))
    total = profile_of(ModelSpec(str(tmp_path / "small.pt2"))).total
    for key in ("mult_adds", "params", "memory_access", "element_wise_ops"):
        assert getattr(total, key) == document["total"][key]["head"]
    assert total.mult_adds < document["total"]["mult_adds"]["base"]
    assert run(["report", str(tmp_path / "small.pt2"), "--depth", "2"]) == 0
    assert "3.depthwise" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir() if path.suffix.startswith(".pt")] == ["small.pt2"]


def test_saved_weights_load_into_the_same_rewrite(net, capsys, tmp_path):
    rewritten(capsys, net, "--with", "dac", "--rank", "2", "-o", str(tmp_path / "small.pt"))
    model = load_model(ModelSpec(net), weights=True).model
    expected = dac(model, rank=2).model
    state = torch.load(tmp_path / "small.pt", weights_only=True)
    assert state.keys() == expected.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in expected.state_dict().items())


def test_outputs_are_compared_on_given_inputs(net, capsys, tmp_path):
    given = torch.randn(4, 3, 9, 9)
    torch.save([given], tmp_path / "given.pt")
    document = rewritten(capsys, net, "--with", "dac", "--rank", "2", "--data", str(tmp_path / "given.pt"))
    model = load_model(ModelSpec(net), weights=True).model
    error = costlab.rewrite.output_error(model, dac(model, rank=2).model, [given])
    assert document["output_error"] == pytest.approx(error)


@pytest.mark.parametrize(
    ("rule", "costs"), [(["dac", "--rank", "2"], (1, 1, 2, 3, 3)), (["depthwise-separable"], (1, 2, 2, 3, 3))]
)
def test_the_text_keeps_to_its_width(net, capsys, monkeypatch, rule, costs):
    for width, shown in zip((40, 50, 60, 80, 100), costs, strict=True):
        monkeypatch.setenv("COLUMNS", str(width))
        assert run(["rewrite", net, "--with", *rule, "--input", "2,3,12,12"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines)
        heads = next(line for line in lines if line.startswith("module"))
        assert heads.count("before") == shown
        assert ("rank" in heads) == (rule[0] == "dac" and width > 40)


def test_markdown_has_a_row_for_every_layer(net, capsys):
    assert run(["rewrite", net, "--with", "dac", "--rank", "2", "--input", "2,3,12,12", "--format", "markdown"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    table = rows[[row[0] for row in rows].index("| module") :]
    assert [row[0] for row in table] == ["| module", "| ---", "| `0`", "| `3`", "| others", "| **total**"]
    assert {len(row) for row in table} == {9}
    assert [row[1] for row in table[2:4]] == ["2/9", "2/9"]


def test_hostile_names_stay_names(net, capsys, tmp_path):
    (tmp_path / "hostile.py").write_text(
        f"from torch import nn\nname = {HOSTILE!r}.replace('.', '')\n"
        "def net():\n    net = nn.Sequential()\n    net.add_module(name, nn.Conv2d(3, 16, 3))\n"
        "    net.add_module(name + '1', nn.Conv2d(16, 16, 1))\n    return net\n"
    )
    for form in ("text", "markdown"):
        assert run(["rewrite", "hostile.py:net", "--with", "dac", "--rank", "2", "--format", form]) == 0
        printed = capsys.readouterr().out
        assert "\x1b" not in printed
        assert "\u202e" not in printed
        if form == "markdown":
            assert "<b>" not in printed
            assert {line.count("|") for line in printed.splitlines() if "2/9" in line} == {10}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.py:trained", "--with", "svd"], "'svd' is not one of 'dac', 'depthwise-separable'"),
        (["net.py:trained"], "Missing option '--with'"),
        (["net.py:trained", "--with", "dac"], "one of rank, max_error and target_mult_adds"),
        (["net.py:trained", "--with", "dac", "--rank", "0"], "rank must be an integer of at least 1, got 0"),
        (["net.py:trained", "--with", "dac", "--rank", "many"], "--rank 'many': write --rank 5"),
        (["net.py:trained", "--with", "dac", "--rank", "7=2"], "no convolution that can be decomposed has that path"),
        (["net.py:trained", "--with", "dac", "--rank", "1", "--skip", "x"], "skip 'x' matches no module"),
        (["net.py:trained", "--with", "dac", "--target-mult-adds", "2x"], "target_mult_adds must be a fraction"),
        (["net.py:trained", "--with", "dac", "--target-mult-adds", "0.01x"], "out of reach"),
        (["net.py:flat", "--with", "dac", "--rank", "1"], "Sequential has no convolution to rewrite"),
        (["net.py:flat", "--with", "depthwise-separable"], "Sequential has no convolution to rewrite"),
        (["net.py:trained", "--with", "depthwise-separable", "--rank", "1"], "which keeps no weights"),
        (["net.py:trained", "--with", "dac", "--rank", "1", "-o", "x.onnx"], "FILE.pt2"),
        (["net.py:trained", "--with", "dac", "--rank", "1", "-o", "no/x.pt2"], "no/x.pt2 cannot be written"),
        (["net.py:trained", "--with", "dac", "--rank", "1", "-o", "folder.pt"], "folder.pt cannot be written"),
        (["net.py:trained", "--with", "dac", "--rank", "1", "--data", "no.pt"], "no.pt cannot be read"),
        (["net.py:trained", "--with", "dac", "--rank", "1", "--data", "net.py"], "net.py is not a file of tensors"),
        (["saved.json", "--with", "dac", "--rank", "1"], "saved.json is a saved profile"),
        (["saved.pt2", "--with", "dac", "--rank", "1"], "saved.pt2 is an exported program"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(net, capsys, tmp_path, arguments, message):
    (tmp_path / "folder.pt").mkdir()
    before = sorted(tmp_path.iterdir())
    assert run(["rewrite", *arguments, *(["--input", "1,3,2,2"] if "flat" in arguments[0] else [])]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", captured.err)
    assert message in captured.err
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


NOISE = """
import torch
from torch import nn

class Picky(nn.Sequential):
    def forward(self, x):
        if x.data_ptr():  # it has values
            raise ValueError("this is noise")
        return super().forward(x)

def picky():
    return Picky(nn.Conv2d(3, 16, 3))
"""


def test_a_network_that_cannot_run_on_noise_is_reported_with_the_reason(net, capsys, tmp_path):
    (tmp_path / "noise.py").write_text(NOISE)
    assert run(["rewrite", "noise.py:picky", "--with", "dac", "--rank", "2"]) == 0
    assert "output error  unknown: Picky cannot run: ValueError: this is noise\n" in capsys.readouterr().out
    document = rewritten(capsys, "noise.py:picky", "--with", "dac", "--rank", "2")
    assert document["output_error"] is None
    assert document["compared_on"] == "Picky cannot run: ValueError: this is noise"


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_exported_leaves_the_old_file(tmp_path):
    path = tmp_path / "old.pt2"
    path.write_bytes(b"old")
    with pytest.raises(CostlabError, match="cannot be exported") as failure:
        save(Branching(), path, [torch.ones(2)], {})
    assert "\n" not in str(failure.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_are_built_only_where_they_are_wanted():
    assert all(p.is_meta for p in load_model(ModelSpec("zoo:mobilenet_v2")).model.parameters())
    assert not any(p.is_meta for p in load_model(ModelSpec("zoo:mobilenet_v2"), weights=True).model.parameters())
    assert all(p.is_meta for p in load_model(ModelSpec("zoo:mobilenet_v2")).model.parameters())
