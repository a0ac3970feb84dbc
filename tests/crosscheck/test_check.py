"""Comparison with other counters: their numbers, why they differ, and that a wrong count of costlab is detected."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import Call
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from costlab.cli import run
from costlab.core import cost
from costlab.core.cost import RULES, Cost, cost_of
from costlab.crosscheck import report as rendering
from costlab.crosscheck.activations import ActivationCheck, compare_activations
from costlab.crosscheck.copies import copied, meta, real
from costlab.crosscheck.counters import run_fvcore, run_torch
from costlab.crosscheck.differences import CountDifference, CrossCheck, compare_counters
from costlab.crosscheck.explanations import BLIND_SPOT, CONVENTION, ESTIMATE, FAILED, UNEXPLAINED
from costlab.models import ModelSpec, load_model
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow


def checked(model: nn.Module, *inputs: Any, rules: Any = RULES) -> CrossCheck:
    tensors = [i if isinstance(i, torch.Tensor) else torch.randn(i) for i in inputs]
    return compare_counters(model, tensors, {}, profile(model, tensors, rules=rules))


def written(check: CrossCheck) -> ActivationCheck:
    """What costlab and the tools say that operators write."""
    return compare_activations(check.profile, check.readings, check.differences)


def because(check: CrossCheck, tool: str) -> dict[str, str]:
    """The cause of each difference by operator kind."""
    return {d.kind: d.cause for d in check.differences if d.tool == tool}


def adds_up(check: CrossCheck) -> bool:
    """Whether differences sum to the whole difference of each tool that ran."""
    return all(
        sum(d.counted - d.mult_adds for d in check.differences if d.tool == r.tool) == r.total - check.profile.mult_adds
        for r in check.readings
        if r.failure is None
    )


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.channels = nn.Linear(9, 9), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.channels(F.gelu(self.tokens(x.transpose(1, 2)).transpose(1, 2)))


class Masked(nn.Module):
    """The rows that it keeps depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.second(y[y.sum(1) > 0])


class Unused(nn.Module):
    """The result of one convolution goes nowhere, nor does that of a resizing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        F.interpolate(self.first(x), scale_factor=2)
        return self.second(x)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x @ x.T


class OwnFunction(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Product.apply(x) @ x


def einsum(equation: str) -> nn.Module:
    return Call(lambda *tensors: torch.einsum(equation, *tensors))


# What fvcore and torch are expected to count differently, and why.
NETWORKS: dict[str, tuple[nn.Module, list[Any], dict[str, str], dict[str, str]]] = {
    "convolution": (
        nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ReLU()),
        [(2, 4, 9, 9)],
        {"batch_norm": CONVENTION},
        {},
    ),
    "transposed": (nn.ConvTranspose3d(4, 6, 3, stride=2, groups=2), [(2, 4, 3, 4, 5)], {}, {}),
    "unbatched": (nn.Conv1d(4, 6, 3), [(4, 11)], {}, {}),
    "norms": (
        nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm(5), nn.RMSNorm(5)),
        [(2, 4, 5, 5)],
        {"group_norm": CONVENTION, "instance_norm": CONVENTION, "layer_norm": CONVENTION},
        {},
    ),
    "resizing": (
        nn.Sequential(nn.Upsample(scale_factor=2), nn.UpsamplingBilinear2d(scale_factor=2), nn.AdaptiveAvgPool2d(2)),
        [(2, 4, 5, 5)],
        {"upsample_nearest2d": CONVENTION, "upsample_bilinear2d": CONVENTION, "adaptive_avg_pool2d": CONVENTION},
        {},
    ),
    "grid": (
        Call(lambda x, grid: F.grid_sample(x, grid, align_corners=False)),
        [(1, 4, 5, 5), (1, 3, 3, 2)],
        {"grid_sampler": CONVENTION},
        {},
    ),
    "mixer": (Mixer(), [(2, 9, 8)], {}, {}),
    "attention": (SelfAttention(), [(2, 9, 16)], {"scaled_dot_product_attention": BLIND_SPOT}, {}),
    "grouped heads": (
        Call(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)),
        [(2, 8, 5, 16), (2, 2, 7, 16), (2, 2, 7, 16)],
        {"scaled_dot_product_attention": BLIND_SPOT},
        {},
    ),
    "encoder": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2),
        [(2, 9, 16)],
        {"scaled_dot_product_attention": BLIND_SPOT, "layer_norm": CONVENTION},
        {},
    ),
    "lstm": (nn.LSTM(10, 20, 2, bidirectional=True), [(7, 3, 10)], {"lstm": BLIND_SPOT}, {}),
    "gru": (nn.GRU(10, 20), [(7, 3, 10)], {"gru": BLIND_SPOT}, {}),
    "rnn": (nn.RNN(10, 20), [(7, 3, 10)], {"rnn_tanh": BLIND_SPOT}, {}),
    "cell": (nn.LSTMCell(10, 20), [(3, 10)], {"lstm_cell": CONVENTION}, {}),
    "vectors": (
        Call(lambda x, y: (torch.mv(x, y), torch.dot(y, y))),
        [(4, 5), (5,)],
        {"mv": BLIND_SPOT, "dot": BLIND_SPOT},
        {"mv": BLIND_SPOT, "dot": BLIND_SPOT},
    ),
    "bilinear": (nn.Bilinear(5, 6, 7), [(3, 5), (3, 6)], {"bilinear": BLIND_SPOT}, {"bilinear": BLIND_SPOT}),
    "baddbmm": (
        Call(lambda x, y, z: torch.baddbmm(z, x, y)),
        [(3, 4, 5), (3, 5, 6), (3, 4, 6)],
        {"baddbmm": BLIND_SPOT},
        {},
    ),
    "broadcast": (Call(lambda x, y: x @ y), [(4, 5), (3, 5, 6)], {"matmul": BLIND_SPOT}, {}),
    "batched": (Call(lambda x, y: x @ y), [(3, 4, 5), (3, 5, 6)], {}, {}),
    "einsum, rounded": (einsum("bhid,bhjd->bhij"), [(2, 3, 17, 8), (2, 3, 19, 8)], {"einsum": CONVENTION}, {}),
    "einsum, three": (einsum("ij,jk,kl->il"), [(50, 3), (3, 50), (50, 5)], {"einsum": CONVENTION}, {}),
    "einsum, no sum": (einsum("i,j->ij"), [(11,), (13,)], {"einsum": CONVENTION}, {}),
    "einsum, sum of one": (einsum("bij,jk->bk"), [(2, 4, 5), (5, 7)], {"einsum": CONVENTION}, {}),
    "einsum, plain": (einsum("nct,ncp->ntp"), [(2, 3, 17), (2, 3, 19)], {}, {}),
    "einsum, size 1": (einsum("bxd,byd->bxy"), [(2, 5, 1), (2, 7, 1)], {"einsum": CONVENTION}, {}),
    "einsum, one": (einsum("bij->b"), [(2, 4, 5)], {"einsum": CONVENTION}, {}),
    "padding in words": (nn.Conv2d(3, 4, 3, padding="same"), [(1, 3, 9, 9)], {"conv2d": BLIND_SPOT}, {}),
    "unused": (Unused(), [(1, 3, 9, 9)], {"conv2d": BLIND_SPOT}, {}),
    "own function": (OwnFunction(), [(3, 5)], {"prim::PythonOp.Product": BLIND_SPOT}, {}),
    "tensordot": (Call(lambda x, y: torch.tensordot(x, y, 2)), [(3, 4, 5), (4, 5, 6)], {"tensordot": BLIND_SPOT}, {}),
    "embedding": (nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 3)), [torch.zeros(2, 5, dtype=torch.long)], {}, {}),
    "shared": ((lambda layer: nn.Sequential(layer, nn.ReLU(), layer))(nn.Linear(8, 8)), [(3, 8)], {}, {}),
    "weight norm": (nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)), [(3, 8)], {}, {}),
    "compiled": (torch.compile(nn.Linear(8, 4)), [(3, 8)], {}, {}),
    "fx": (torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())), [(1, 3, 9, 9)], {}, {}),
    "half": (nn.Conv2d(3, 4, 3).half(), [torch.zeros(1, 3, 9, 9, dtype=torch.half)], {}, {}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_difference_has_the_cause_that_it_has(name):
    model, inputs, fvcore, flop_counter = NETWORKS[name]
    check = checked(model, *inputs)
    assert [r.failure for r in check.readings] == [None, None]
    assert because(check, "fvcore") == fvcore
    assert because(check, "torch") == flop_counter
    assert adds_up(check)
    for reading in check.readings:
        assert sum(row[reading.tool] for row in check.families().values()) == reading.total
    activations = written(check)
    assert activations.unexplained == ()
    for reading in check.readings:
        apart = sum(d.counted - d.mult_adds for d in activations.differences if d.tool == reading.tool)
        assert sum(reading.activations.values()) == check.profile.total.activations + apart


@pytest.mark.parametrize(
    "target",
    [
        "zoo:mobilenet_v2",
        "torchvision:swin_t",
        "torchvision:googlenet",
        "torchvision:raft_small",
        "timm:mixer_s32_224",
        "timm:lambda_resnet26t",
        "timm:xcit_nano_12_p16_224",
    ],
)
def test_every_difference_is_explained_in_networks(target):
    small = 128 if target.endswith("raft_small") else None
    loaded = load_model(ModelSpec(target, resolution=small))
    check = compare_counters(
        loaded.model, loaded.inputs.args, loaded.inputs.kwargs, profile(loaded.model, loaded.inputs)
    )
    assert (*check.unexplained, *written(check).unexplained) == ()
    assert [r.failure for r in check.readings] == [None, None]
    assert adds_up(check)


CONFIGS = {
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_layer": 2, "n_head": 4},
    "bert": {"architectures": ["BertModel"], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "t5": {"architectures": ["T5ForConditionalGeneration"], "d_model": 64, "d_kv": 16, "num_layers": 2, "num_heads": 4},
    "mixtral": {
        "architectures": ["MixtralForCausalLM"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
    },
}


@pytest.mark.parametrize("model_type", CONFIGS)
def test_every_difference_is_explained_in_transformers(model_type, tmp_path):
    pytest.importorskip("transformers")
    config = {"model_type": model_type, "vocab_size": 100, **CONFIGS[model_type]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_model(ModelSpec(f"hf:{tmp_path}"))
    traced = profile(loaded.model, loaded.inputs)
    check = compare_counters(loaded.model, loaded.inputs.args, loaded.inputs.kwargs, traced)
    assert (*check.unexplained, *written(check).unexplained) == ()
    assert [r.failure for r in check.readings] == [None, None]
    assert because(check, "fvcore")["scaled_dot_product_attention"] == BLIND_SPOT
    assert set(check.unconfirmed) == ({"grouped_mm"} if model_type == "mixtral" else set())


# A wrong count of ours is a difference without an explanation.

WRONG = {
    "conv2d": (nn.Conv2d(4, 8, 3), [(2, 4, 9, 9)]),
    "conv_transpose2d": (nn.ConvTranspose2d(4, 8, 3), [(2, 4, 9, 9)]),
    "linear": (nn.Linear(8, 4), [(3, 8)]),
    "matmul": (Call(lambda x, y: x @ y), [(4, 5), (3, 5, 6)]),
    "bmm": (Call(torch.bmm), [(3, 4, 5), (3, 5, 6)]),
    "einsum": (einsum("bhid,bhjd->bhij"), [(2, 3, 17, 8), (2, 3, 19, 8)]),
    "scaled_dot_product_attention": (SelfAttention(), [(2, 9, 16)]),
    "lstm": (nn.LSTM(10, 20), [(7, 3, 10)]),
    "gru_cell": (nn.GRUCell(10, 20), [(3, 10)]),
    "batch_norm": (nn.BatchNorm2d(4), [(2, 4, 5, 5)]),
    "relu": (nn.Sequential(nn.Linear(8, 4), nn.ReLU()), [(3, 8)]),
}


@pytest.mark.parametrize("by", [Cost(mult_adds=1), Cost(mult_adds=1000)], ids=["by one", "by a thousand"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_count_is_unexplained(kind, by):
    model, inputs = WRONG[kind]
    check = checked(model, *inputs, rules={**RULES, kind: lambda op: cost_of(op) + by})
    assert check.unexplained
    assert adds_up(check)


@pytest.mark.parametrize("kind", ["conv2d", "linear", "matmul", "einsum", "scaled_dot_product_attention", "gru_cell"])
def test_a_wrong_number_of_activations_is_unexplained(kind):
    model, inputs = WRONG[kind]
    check = checked(model, *inputs, rules=RULES | {kind: lambda op: RULES[kind](op) + Cost(activations=1)})
    assert check.unexplained == ()
    assert {d.tool for d in written(check).unexplained} >= {"torch"}


@pytest.mark.parametrize("position", [0, 2])
def test_an_operator_that_the_trace_lost_is_unexplained(position):
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), torch.randn(3, 8)
    whole = profile(model, [x])
    kept = [i for i in range(len(whole.ops)) if i != position]
    lossy = replace(
        whole,
        trace=replace(whole.trace, ops=tuple(whole.ops[i] for i in kept)),
        costs=tuple(whole.costs[i] for i in kept),
    )
    assert {d.tool for d in compare_counters(model, [x], {}, lossy).unexplained} == {"fvcore", "torch"}


def test_an_operator_without_a_rule_is_unexplained_where_another_tool_counts_it():
    rules = {kind: rule for kind, rule in RULES.items() if kind != "conv2d"}
    assert {d.tool for d in checked(nn.Conv2d(3, 4, 3), (1, 3, 9, 9), rules=rules).unexplained} == {"fvcore", "torch"}


def test_a_blind_spot_must_be_listed_by_the_tool_itself():
    model, x = SelfAttention(), torch.randn(2, 9, 16)
    from costlab.crosscheck.differences import differences

    traced, reading = profile(model, [x]), run_fvcore(model, [x], {})
    assert [d.cause for d in differences(traced, reading)] == [BLIND_SPOT]
    assert [d.cause for d in differences(traced, replace(reading, unknown={}))] == [UNEXPLAINED]


# Tools that cannot run, or not as they should.


def test_a_tool_that_fails_is_a_result():
    check = checked(nn.LayerNorm(8), (8,))
    assert because(check, "fvcore") == {"": FAILED}
    assert check.readings[0].failure == "AssertionError: [8]"
    assert "fvcore did not run" in rendering.verdict(check, written(check))
    assert check.unexplained == ()


def test_fvcore_does_not_run_what_is_too_large_for_memory():
    class Untouchable(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise MemoryError

    reading = run_fvcore(Untouchable(2, 2), [torch.zeros(1, 2)], {}, needed=7_000_000_000)
    assert reading.failure is not None
    assert "7.000 GB" in reading.failure
    assert reading.counts == {}


def test_where_values_are_needed_torch_counts_on_the_traced_shapes():
    check = checked(Masked(), (30, 8))
    flop_counter = check.readings[1]
    assert flop_counter.note is not None
    assert flop_counter.total == check.profile.mult_adds == 30 * 8 * 8 + 30 * 8 * 4


def test_fewer_rows_than_guessed_are_an_estimate_and_no_more_than_that():
    torch.manual_seed(0)
    check = checked(Masked(), (30, 8))
    (difference,) = check.differences
    assert (difference.tool, difference.cause) == ("fvcore", ESTIMATE)
    assert difference.mult_adds == 30 * 8 * 4
    assert 0 <= difference.counted < difference.mult_adds
    assert checked(Masked(), (30, 8), rules={**RULES, "linear": lambda op: Cost(mult_adds=1)}).unexplained


def test_flops_by_kind_sum_to_what_flop_counter_mode_says_by_itself():
    loaded = load_model(ModelSpec("zoo:mobilenet_v2", resolution=64))
    model, inputs, _ = copied(loaded.model, loaded.inputs.args, {}, meta)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    assert 2 * run_torch(loaded.model, loaded.inputs.args, {}).total == counter.get_total_flops() > 0


# The network that is checked stays as it was.


def test_the_network_and_everything_around_it_stay_as_they_were():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 49, 2))
    model.train()
    model[1].eval()
    x = torch.randn(2, 3, 9, 9)
    weights, modes = {k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()]
    attributes = [dict(m.__dict__) for m in model.modules()]
    before, random = x.clone(), torch.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    checked(model, x)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert [m.__dict__ for m in model.modules()] == attributes
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_a_copy_keeps_ties_and_gives_weightless_tensors_memory():
    with torch.device("meta"):
        model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 10, bias=False))
    model[1].weight = model[0].weight
    copy, (tokens,), _ = copied(model, [torch.ones(1, 2, dtype=torch.long)], {}, real)
    assert copy[1].weight is copy[0].weight
    assert copy[1].weight.isfinite().all()
    assert tokens.tolist() == [[1, 1]]
    assert model[0].weight.is_meta


# The command.


def test_the_command_prints_exact_totals_and_ends_well(capsys):
    assert run(["check", "zoo:mobilenet_v2", "--convention", "thop"]) == 0
    out, err = capsys.readouterr()
    total, _ = [line.split() for line in out.splitlines() if line.startswith("total")]
    assert total == ["total", "300,774,272", "314,130,496", "300,774,272", "327,486,720"]
    assert ["total", "6,679,112", "6,679,112", "6,679,112"] in [line.split() for line in out.splitlines()]
    assert "convention: counts 2 per element" in out
    assert err == "1 difference, explained (fvcore and torch)\n"


def test_json_adds_up(capsys):
    assert run(["check", "zoo:mobilenet_v2", "--resolution", "64", "--convention", "ptflops", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["explained"] is True
    for tool in document["tools"]:
        assert sum(row[tool["tool"]] for row in document["families"]) == tool["total"]
        own = [d["difference"] for d in document["differences"] if d["tool"] == tool["tool"]]
        assert sum(own) == tool["total"] - document["mult_adds"]
        apart = [d["difference"] for d in document["activations"]["differences"] if d["tool"] == tool["tool"]]
        rows = document["activations"]["families"]
        assert sum(apart) == sum(row[tool["tool"]] - row["costlab"] for row in rows)
    assert sum(document["convention"]["families"].values()) == document["convention"]["total"]


def test_markdown_has_the_numbers_of_the_table(capsys, tmp_path):
    assert run(["check", "zoo:mobilenet_v2", "--format", "markdown", "-o", str(tmp_path / "check.md")]) == 0
    assert capsys.readouterr().out == ""
    lines = (tmp_path / "check.md").read_text().splitlines()
    assert "| **total** | **300,774,272** | **314,130,496** | **300,774,272** |" in lines


def test_a_wrong_rule_ends_with_exit_code_1(capsys, monkeypatch):
    right = RULES["conv2d"]
    monkeypatch.setitem(cost.RULES, "conv2d", lambda op: right(op) + Cost(mult_adds=8))
    assert run(["check", "zoo:mobilenet_v2", "--resolution", "64"]) == 1
    out, err = capsys.readouterr()
    assert "unexplained" in out
    assert "without an explanation" in err


def test_a_saved_profile_cannot_be_checked(capsys):
    assert run(["check", "profile.json"]) == 2
    assert "only a network can be checked" in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 100])
def test_text_keeps_within_the_width(width):
    from rich.console import Console

    console = Console(width=width, color_system=None)
    check = checked(SelfAttention(), (2, 9, 16))
    with console.capture() as capture:
        console.print(rendering.text(check, written(check), None, width))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert max(map(len, lines)) <= width
    assert any("blind" in line for line in lines)


def test_words_of_a_failing_tool_stay_text():
    check = checked(nn.Linear(8, 4), (3, 8))
    hostile = "\x1b[31m[red]| <b> `x`"
    check = replace(check, differences=(CountDifference("fvcore", "", "", 0, 1, None, FAILED, hostile),))
    from rich.console import Console

    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(rendering.text(check, written(check), None, 100))
    assert "\x1b" not in capture.get()
    assert "[red]" in capture.get()
    markdown = rendering.markdown(check, written(check), None)
    assert "\x1b" not in markdown
    assert "<b>" not in markdown
    assert json.loads(rendering.document(check, written(check), None))["differences"][0]["why"] == hostile


@torch.jit.script
def scripted(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.relu(x @ weight.t())


class CallsScript(nn.Module):
    """Calls a scripted function."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scripted(self.layer(x), self.layer.weight)


class Undecided(CallsScript):
    """Takes a branch by a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x)) if x.sum() > -1e9 else self.layer(x)


class Decided(CallsScript):
    """Takes the branch that costlab does not expect."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x)) if x.sum() > 1e9 else self.layer(x)


@pytest.mark.parametrize(("network", "cause"), [(CallsScript, "blind spot"), (Undecided, None), (Decided, "estimate")])
def test_scripted_functions_and_branches_by_value_are_explained(network: type[nn.Module], cause: str | None) -> None:
    model = network()
    result = compare_counters(model, (torch.zeros(2, 16),), {}, profile(model, (2, 16)))
    assert not result.unexplained
    assert {d.cause for d in result.differences if d.tool == "fvcore"} == ({cause} if cause else set())
