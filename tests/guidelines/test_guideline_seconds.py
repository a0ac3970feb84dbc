"""Seconds that findings save: the predicted latency of the network, less that of the network with the fix."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers.guideline_examples import examples, profile_example
from helpers.guideline_networks import network
from helpers.lint_projects import NET, write_project
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.cli import run
from costlab.core.cost import cost_of
from costlab.core.fusion import storage_sizes
from costlab.errors import CostlabError
from costlab.guidelines import pricing
from costlab.guidelines.analysis.layers import layer_shape, resized
from costlab.guidelines.model import Fix
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import lower
from costlab.reports.findings import savings

GPU, CPU = find_device("rtx3090"), find_device("i9-10940x")
SLOW_MEMORY = replace(GPU, name="slow", bandwidth=1e9, caches=())  # every operator is memory-bound
UNPRICED = {"X4", "X6", "X7"}  # rules without a fix


def traced(*layers: nn.Module, shape: tuple[int, ...]):
    return costlab.profile(nn.Sequential(*layers), shape)


def position_of(profile, module: str) -> int:
    return next(i for i, op in enumerate(profile.ops) if op.module == module and not op.free)


def widened(kind: str, inputs: int, outputs: int, groups: int = 1) -> nn.Module:
    if kind == "linear":
        return nn.Linear(inputs, outputs)
    layer = nn.ConvTranspose2d if kind == "transposed" else nn.Conv2d
    return layer(inputs, outputs, 3, padding=1, groups=groups, bias=kind != "plain")


# Fixes.


@given(
    st.sampled_from(["linear", "transposed", "plain", "bias"]),
    st.sampled_from([1, 2, 3]),
    st.lists(st.integers(1, 5), min_size=4, max_size=4),
)
def test_a_resized_layer_equals_the_traced_layer_of_that_size(kind, groups, widths):
    groups = 1 if kind == "linear" else groups
    c1, c2, d1, d2 = (width * groups for width in widths)
    shape = ((7,) if kind == "linear" else (2,), (6, 5) if kind != "linear" else ())
    before = traced(widened(kind, c1, c2, groups), shape=(*shape[0], c1, *shape[1])).ops[0]
    after = traced(widened(kind, d1, d2, groups), shape=(*shape[0], d1, *shape[1])).ops[0]
    made = resized(before, layer_shape(before), d1, d2, groups)
    assert [(t.shape, t.elements) for t in (*made.inputs, *made.outputs)] == [
        (t.shape, t.elements) for t in (*after.inputs, *after.outputs)
    ]
    assert cost_of(made) == cost_of(after)
    assert layer_shape(made) == layer_shape(after)


def test_a_layer_resized_to_one_group_equals_the_dense_layer():
    before = traced(nn.Conv2d(12, 24, 3, groups=4), shape=(2, 12, 9, 9)).ops[0]
    after = traced(nn.Conv2d(12, 6, 3), shape=(2, 12, 9, 9)).ops[0]
    made = resized(before, layer_shape(before), 12, 6, 1)
    assert (cost_of(made), layer_shape(made)) == (cost_of(after), layer_shape(after))
    assert made.attrs == after.attrs


def test_a_matrix_product_with_a_parameter_is_resized():
    class Product(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.weight, self.bias = nn.Parameter(nn.Linear(outputs, inputs).weight), nn.Linear(1, outputs).bias

        def forward(self, x):
            return self.bias.addmm(x, self.weight)

    before, after = (costlab.profile(Product(*widths), (9, widths[0])).ops[-1] for widths in ((4, 6), (5, 7)))
    made = resized(before, layer_shape(before), 5, 7, 1)
    assert [t.shape for t in made.inputs] == [t.shape for t in after.inputs]
    assert cost_of(made) == cost_of(after)


# Seconds.


@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
@pytest.mark.parametrize("fusion", ["none", "bn", "pointwise"])
def test_a_replaced_operator_saves_the_difference_of_two_predictions(device, fusion):
    layers = [nn.Conv2d(3, 64, 3, stride=2), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Conv2d(64, 256, 1)]
    profile = traced(*layers, shape=(8, 3, 64, 64))
    last = position_of(profile, "3")
    other = resized(profile.ops[last], layer_shape(profile.ops[last]), 64, 128, 1)
    ops, costs = list(profile.ops), list(profile.costs)
    ops[last], costs[last] = other, cost_of(other)
    changed = replace(profile, trace=replace(profile.trace, ops=tuple(ops)), costs=tuple(costs))
    view = profile.fused(fusion)
    (saved,) = pricing.seconds_saved(
        profile, view, [Fix(replaced={position_of(view, "3"): other})], ExecutionConfig(device, fusion=fusion)
    )
    both = [costlab.predict(p, device, fusion=fusion).seconds for p in (profile, changed)]
    assert saved == pytest.approx(both[0] - both[1], rel=0.01)
    assert saved > 0


def test_folding_a_batch_norm_saves_the_difference_of_two_predictions():
    profile = traced(nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64), shape=(4, 3, 64, 64))
    (found,) = costlab.lint(profile, select=["X3"], device=GPU).findings
    apart, folded = (costlab.predict(profile, GPU, fusion=fusion).seconds for fusion in ("none", "bn"))
    assert found.predicted_seconds_saved == pytest.approx(apart - folded)


def test_x3_is_priced_as_traced_under_any_fusion():
    profile = traced(nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), shape=(4, 3, 64, 64))
    prices = {
        costlab.lint(profile, select=["X3"], fusion=fusion, device=GPU).findings[0].predicted_seconds_saved
        for fusion in ("none", "bn", "pointwise")
    }
    assert len(prices) == 1


def test_merged_branches_have_the_kernels_of_one_wide_layer():
    class Branches(nn.Module):
        def __init__(self, count, width):
            super().__init__()
            self.stem = nn.Conv2d(3, 128, 1)
            self.each = nn.ModuleList(nn.Conv2d(128, width, 3) for _ in range(count))

        def forward(self, x):
            x = self.stem(x)
            return [branch(x) for branch in self.each]

    apart, one = (costlab.profile(Branches(*sizes), (2, 3, 32, 32)) for sizes in ((4, 32), (1, 128)))
    by_op: dict[int, list] = {}
    for kernel in lower(apart, apart, ExecutionConfig(GPU)):
        by_op.setdefault(kernel.op, []).append(kernel)
    level = [i for i, op in enumerate(apart.ops) if op.module.startswith("each")]
    merged = pricing.merge_operators(apart, level, by_op, storage_sizes(apart.trace))
    wanted = [k for k in lower(one, one, ExecutionConfig(GPU)) if one.ops[k.op].module == "each.0"]
    assert len(merged) == len(wanted) == 2  # the convolution and its bias
    for mine, theirs in zip(merged, wanted, strict=True):
        kept = ("work", "m", "n", "k", "products", "flops", "read", "written", "constant")
        assert [getattr(mine, key) for key in kept] == [getattr(theirs, key) for key in kept]


@given(st.integers(8, 48), st.integers(2, 6), st.integers(16, 32), st.booleans())
def test_equal_channel_counts_save_time_on_a_memory_bound_device(narrow, ratio, side, swap):
    c1, c2 = (narrow, narrow * ratio)[:: -1 if swap else 1]
    layers = nn.Conv2d(3, c1, 3, padding=1), nn.Conv2d(c1, c2, 1, bias=False)
    (found,) = costlab.lint(traced(*layers, shape=(4, 3, side, side)), select=["G1"], device=SLOW_MEMORY).findings
    assume(found.advice)
    assert found.predicted_seconds_saved > 0.5 * found.excess_bytes / SLOW_MEMORY.bandwidth


@given(st.integers(2, 6), st.integers(2, 6), st.integers(2, 4), st.integers(16, 32))
def test_one_group_saves_time_on_a_memory_bound_device(c1, c2, groups, side):
    layer = nn.Conv2d(8 * c1 * groups, 8 * c2 * groups, 1, groups=groups)
    profile = traced(nn.Conv2d(3, 8 * c1 * groups, 1), layer, shape=(4, 3, side, side))
    (found,) = costlab.lint(profile, select=["G2"], device=SLOW_MEMORY).findings
    assert found.predicted_seconds_saved > 0.5 * found.excess_bytes / SLOW_MEMORY.bandwidth


@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["MobileNet V2", "ShuffleNet V1, 3 groups", "Swin-T"])
@pytest.mark.parametrize("fusion", ["none", "bn", "pointwise"])
def test_removed_operators_save_less_than_the_whole_latency(name, device, fusion):
    profile = network(name)
    found = costlab.lint(profile, select=["G4"], fusion=fusion, device=device).findings
    saved = [f.predicted_seconds_saved for f in found]
    assert min(saved) >= 0
    assert 0 < sum(saved) < costlab.predict(profile, device, fusion=fusion).seconds


@pytest.mark.parametrize("name", ["MobileNet V2", "ShuffleNet V1, 8 groups", "NASNet-A Large", "GoogLeNet", "ViT-B/16"])
@pytest.mark.parametrize("fusion", ["bn", "pointwise"])
def test_every_finding_with_a_fix_has_seconds(name, fusion):
    profile = network(name)
    found = costlab.lint(profile, fusion=fusion, device=GPU).findings
    unpriced = [f for f in found if f.predicted_seconds_saved is None]
    assert all(f.rule in UNPRICED or f.advice is None for f in unpriced)
    assert not any(f.predicted_seconds_saved is not None for f in found if f.rule in UNPRICED)
    whole = costlab.predict(profile, GPU).seconds
    assert all(abs(f.predicted_seconds_saved) < whole for f in found if f.predicted_seconds_saved is not None)


@pytest.mark.parametrize("name", ["NASNet-A Large", "GoogLeNet", "Inception V3"])
@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
def test_merging_the_levels_of_a_block_saves_time(name, device):
    found = costlab.lint(network(name), select=["G3"], device=device).findings
    assert found
    assert min(f.predicted_seconds_saved for f in found) > 0


def test_without_a_device_there_are_no_seconds():
    result = costlab.lint(network("MobileNet V2"))
    assert result.device is None
    assert {f.predicted_seconds_saved for f in result.findings} == {None}


def test_findings_on_bad_examples_have_seconds_if_the_rule_has_a_fix():
    for rule, title, code in examples("bad"):
        found = costlab.lint(profile_example(code), select=[rule], device=GPU).findings
        assert found
        assert all((f.predicted_seconds_saved is None) == (rule in UNPRICED) for f in found), (rule, title)


def test_an_unknown_device_is_an_error():
    with pytest.raises(CostlabError, match="rtx3090"):
        costlab.lint(network("MobileNet V2"), device="rtx309")


def test_uncounted_operators_have_no_seconds():
    """X2 and X5 check operators without a cost, too."""

    class Unread(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.unread = nn.Linear(8, 16), nn.Linear(16, 5)

        def forward(self, x):
            x = self.stem(x)
            self.unread(x)
            return x

    profile = costlab.profile(Unread(), (4, 8))
    uncounted = replace(profile, costs=(profile.costs[0], None))
    for seen, known in ((profile, True), (uncounted, False)):
        found = costlab.lint(seen, select=["X2", "X5"], device=GPU).findings
        assert {f.rule: f.predicted_seconds_saved is not None for f in found} == {"X2": known, "X5": known}


# Reports.


@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
def test_findings_are_sorted_by_seconds_with_unknown_ones_last(device):
    found = costlab.lint(network("GoogLeNet"), device=device).findings
    seconds = [f.predicted_seconds_saved for f in found]
    known = [s for s in seconds if s is not None]
    assert seconds == sorted(known, reverse=True) + [None] * (len(seconds) - len(known))
    assert None in seconds


def test_a_negative_saving_is_a_cost():
    (found,) = costlab.lint(
        traced(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 32, 1), shape=(1, 3, 8, 8)), select=["G1"], device=GPU
    ).findings
    price = replace(found, excess_memory_access=1000, excess_bytes=4000, excess_launches=1)
    texts = {s: savings([replace(price, predicted_seconds_saved=s)], "box") for s in (2e-6, -2e-6, 0.0, None)}
    assert texts == {
        2e-6: "saves 2.000 us on box, 1.000 k elements, 4.000 kB, 1 launch",
        -2e-6: "costs 2.000 us on box; saves 1.000 k elements, 4.000 kB, 1 launch",
        0.0: "saves no time on box, 1.000 k elements, 4.000 kB, 1 launch",
        None: "saves 1.000 k elements, 4.000 kB, 1 launch",
    }
    bare = replace(found, predicted_seconds_saved=1e-6, excess_memory_access=None, excess_bytes=None)
    assert savings([bare, bare], "box") == "saves 2.000 us on box"


def test_every_format_names_the_device(tmp_path, capsys):
    write_project(tmp_path, NET, "[tool.costlab.lint]\ndevice = 'rtx3090'\n")
    config = ["--config", str(tmp_path / "pyproject.toml")]
    for form in ("text", "github", "gitlab", "junit", "sarif", "markdown"):
        assert run(["lint", *config, "--format", form]) == 1
        assert "on rtx3090" in " ".join(capsys.readouterr().out.split()), form
    assert run(["lint", *config, "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["device"] == "rtx3090"
    assert any(f["predicted_seconds_saved"] for f in document["findings"])
    sums = document["statistics"]["G4"]["predicted_seconds_saved"]
    assert sums == pytest.approx(sum(f["predicted_seconds_saved"] for f in document["findings"] if f["rule"] == "G4"))
    assert run(["lint", *config, "--statistics", "--device", "i9-10940x"]) == 1
    assert "seconds" in capsys.readouterr().out
