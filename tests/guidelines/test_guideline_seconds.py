"""Seconds that findings save: the predicted latency of the network, less that of the network with the fix."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from helpers.guideline_examples import device_of, examples, profile_example
from helpers.guideline_networks import NETWORKS, network
from helpers.lint_projects import NET, write_project
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab import plots
from costlab.cli import run
from costlab.core.cost import cost_of
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.guidelines import GUIDELINES, pricing
from costlab.guidelines.analysis.layers import layer_shape, resized
from costlab.guidelines.edits import edited
from costlab.guidelines.model import Channels, Fix, group_findings
from costlab.latency._predict import predict_with
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig
from costlab.models import ModelSpec, profile_of
from costlab.reports.findings import savings, sentence

GPU, CPU = find_device("rtx3090"), find_device("i9-10940x")
SLOW_MEMORY = replace(GPU, name="slow", bandwidth=1e9, caches=())  # every operator is memory-bound
OTHERS = (
    *("torchvision:alexnet", "torchvision:vgg16", "torchvision:squeezenet1_1", "torchvision:mnasnet1_0"),
    *("torchvision:regnet_y_400mf", "torchvision:shufflenet_v2_x1_0", "torchvision:convnext_small"),
    "torchvision:efficientnet_v2_s",
)
NASNET = pytest.param("NASNet-A Large", marks=pytest.mark.slow)
UNPRICED = {"X4", "X6", "X7", "X8", "X16", "X17"}  # rules without a fix
WHOLE = {"X13", "X14"}  # rules about the whole network, which predict themselves


def traced(*layers: nn.Module, shape: tuple[int, ...]):
    return costlab.profile(nn.Sequential(*layers), shape)


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
def test_a_resized_operator_saves_the_difference_of_two_predictions(device, fusion):
    def network(outputs):
        layers = [nn.Conv2d(3, 64, 3, stride=2), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Conv2d(64, outputs, 1)]
        return traced(*layers, shape=(8, 3, 64, 64))

    fix = Fix(resized={"3/conv2d": Channels(64, 128, 1)})
    (saved,) = pricing.seconds_saved(network(256), [[fix]], ExecutionConfig(device, fusion=fusion))
    both = [costlab.predict(network(outputs), device, fusion=fusion).seconds for outputs in (256, 128)]
    assert saved == pytest.approx(both[0] - both[1], rel=1e-9)
    assert saved > 0


def test_folding_a_batch_norm_saves_the_difference_of_two_predictions():
    profile = traced(nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64), shape=(4, 3, 64, 64))
    (found,) = costlab.lint(profile, select=["X3"], device=GPU).findings
    apart, folded = (costlab.predict(profile, GPU, fusion=fusion).seconds for fusion in ("none", "bn"))
    assert found.predicted_seconds_saved == pytest.approx(apart - folded)


@pytest.mark.parametrize("name", ["MobileNet V2", "ResNet-50", "DenseNet-121", "Inception V3"])
@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
def test_all_folds_together_are_the_view_with_folded_batch_norms(name, device):
    profile = network(name)
    fixes = [f.fix for f in costlab.lint(profile, select=["X3"]).findings]
    folded = edited(profile, fixes)
    assert folded.total == profile.fused("bn").total
    apart, together = (costlab.predict(profile, device, fusion=fusion).seconds for fusion in ("none", "bn"))
    (saved,) = pricing.seconds_saved(profile, [fixes], ExecutionConfig(device))
    assert saved == pytest.approx(apart - together, rel=1e-9)


def test_a_network_that_runs_with_folded_batch_norms_has_none_to_fold():
    profile = traced(nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), shape=(4, 3, 64, 64))
    views = (None, "none", "bn", "pointwise")
    assert [len(costlab.lint(profile, select=["X3"], fusion=view).findings) for view in views] == [1, 1, 0, 0]


class Branches(nn.Module):
    """Parallel convolutions of one value, of a width each."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 128, 1)
        self.each = nn.ModuleList(nn.Conv2d(128, width, 3) for _ in range(count))

    def forward(self, x):
        x = self.stem(x)
        return [branch(x) for branch in self.each]


@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
def test_merged_branches_cost_what_one_wide_layer_costs(device):
    apart, one = (costlab.profile(Branches(*sizes), (2, 3, 32, 32)) for sizes in ((4, 32), (1, 128)))
    fix = Fix(merged=(tuple(op.name for op in apart.ops if op.module.startswith("each")),))
    merged = edited(apart, [fix])
    assert len(merged.ops) == len(one.ops) == 2
    assert merged.total.memory_access == one.total.memory_access
    assert merged.total.mult_adds == one.total.mult_adds
    (saved,) = pricing.seconds_saved(apart, [[fix]], ExecutionConfig(device))
    both = [costlab.predict(profile, device).seconds for profile in (apart, one)]
    assert saved == pytest.approx(both[0] - both[1], rel=1e-9)


def test_fused_operators_cost_what_the_compiled_view_costs():
    """The kernels are those of the fused view; only the parameters of generated code differ."""
    profile = traced(nn.Linear(64, 64), nn.GELU(), nn.Hardtanh(), nn.Sigmoid(), nn.Linear(64, 64), shape=(512, 64))
    found = costlab.lint(profile, select=["G4"], device=CPU).findings
    fixes = [f.fix for f in found if f.fix]
    assert [f.advice.split()[0] for f in found] == ["fuse"] * 3
    assert len(fixes) == 1  # the last of them has the price of all
    assert edited(profile, fixes).total == profile.fused("pointwise").total


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet V2", "ShuffleNet V1, 3 groups", "Swin-T", "GoogLeNet"])
@pytest.mark.parametrize("fusion", [None, "none", "bn", "pointwise"])
@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
def test_the_price_of_a_group_is_the_difference_of_two_predictions(name, fusion, device):
    profile = network(name)
    config = ExecutionConfig(device, fusion=fusion or "none")
    before = predict_with(profile, config).seconds
    groups = [group.findings for group in group_findings(costlab.lint(profile, fusion=fusion, device=device).findings)]
    for group in [findings for findings in groups if findings[0].fix][:12]:
        after = predict_with(profile, config, edited(profile.fused(config.fusion), [f.fix for f in group])).seconds
        assert sum(f.predicted_seconds_saved for f in group) == pytest.approx(before - after, abs=1e-12)


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


@pytest.mark.parametrize("name", [*NETWORKS, *OTHERS])
@pytest.mark.slow
def test_every_price_of_thirty_networks_is_the_difference_of_two_predictions(name):
    profile = network(name) if name in NETWORKS else profile_of(ModelSpec(name))
    config = ExecutionConfig(CPU)
    result = costlab.lint(profile, device=CPU)
    before = predict_with(profile, config).seconds
    groups = [group.findings for group in group_findings(result.findings) if group.first.fix]
    assert groups
    for findings in groups:
        after = predict_with(profile, config, edited(profile, [f.fix for f in findings])).seconds
        assert sum(f.predicted_seconds_saved for f in findings) == pytest.approx(before - after, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet V2", "ResNet-50", "ShuffleNet V1, 3 groups", "Swin-T", "DenseNet-121"])
@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
def test_fusing_saves_no_more_than_compiling(name, device):
    profile = network(name)
    found = costlab.lint(profile, select=["G4"], device=device).findings
    fused = sum(f.predicted_seconds_saved for f in found if f.fix and f.fix.fused)
    traced_seconds, compiled = (costlab.predict(profile, device, fusion=how).seconds for how in ("none", "pointwise"))
    assert fused <= 1.01 * max(traced_seconds - compiled, 0)


@pytest.mark.parametrize("name", ["MobileNet V2", "ResNet-50", "ShuffleNet V1, 8 groups", "Swin-T", "GoogLeNet"])
def test_a_compiled_network_is_told_to_fuse_nothing(name):
    advice = {f.advice or "" for f in costlab.lint(network(name), fusion="pointwise").findings}
    assert not any("fuse" in text or "compile" in text for text in advice)


def test_no_shortcut_or_activation_is_removed():
    for name in ("ResNet-50", "MobileNet V2", "ViT-B/16", "ConvNeXt-T"):
        for found in costlab.lint(network(name), device=CPU).findings:
            removed = found.fix.removed if found.fix else ()
            assert not any(re.search("/(add|relu6?)(_[0-9]+)?$", name) for name in removed)
            assert "remove" not in (found.advice or "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet V2", "ShuffleNet V1, 8 groups", NASNET, "GoogLeNet", "ViT-B/16"])
@pytest.mark.parametrize("fusion", [None, "pointwise"])
def test_every_finding_with_a_fix_has_seconds(name, fusion):
    profile = network(name)
    found = costlab.lint(profile, fusion=fusion, device=GPU).findings
    assert all((f.predicted_seconds_saved is None) == (f.fix is None) for f in found if f.rule not in WHOLE)
    assert all(f.predicted_seconds_saved is not None for f in found if f.rule in WHOLE)
    whole = costlab.predict(profile, GPU).seconds
    assert all(abs(f.predicted_seconds_saved) < whole for f in found if f.predicted_seconds_saved is not None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet V2", "ResNet-50", NASNET, "ShuffleNet V1, 3 groups"])
@pytest.mark.parametrize("device", [GPU, CPU], ids=lambda d: d.name)
def test_advice_that_saves_no_time_is_no_warning(name, device):
    result = costlab.lint(network(name), device=device)
    costly = [f for f in result.findings if f.predicted_seconds_saved is not None and f.predicted_seconds_saved <= 0]
    assert {f.severity for f in costly} <= {"note"}
    assert not any("instead" in sentence(f, device.name) for f in costly)
    assert result.broken == costlab.lint(network(name)).broken  # verdicts are on elements


def test_a_verdict_says_that_no_advice_saves_time():
    misaligned = traced(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 40, 3, padding=1), shape=(16, 3, 64, 64))  # 18 to 18
    result = costlab.lint(misaligned, select=["G1"], device=CPU)
    assert [f.severity for f in result.findings] == ["note"]
    (verdict,) = result.verdicts
    assert (verdict.verdict, verdict.detail) == ("broken", "in elements: no advice saves time on i9-10940x")


@pytest.mark.parametrize("name", ["GoogLeNet", "Inception V3"])
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
        mode = "step" if GUIDELINES[rule].training else "eval"
        found = costlab.lint(profile_example(code, mode), select=[rule], device=device_of(rule) or GPU).findings
        assert found
        assert any(f.predicted_seconds_saved is not None for f in found) == (rule not in UNPRICED), (rule, title)


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


@pytest.mark.slow
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
        -2e-6: "would cost 2.000 us on box; saves 1.000 k elements, 4.000 kB, 1 launch",
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
    sums = document["statistics"]["G1"]["predicted_seconds_saved"]
    assert sums == pytest.approx(sum(f["predicted_seconds_saved"] for f in document["findings"] if f["rule"] == "G1"))
    assert run(["lint", *config, "--statistics", "--device", "i9-10940x"]) == 1
    assert "seconds" in capsys.readouterr().out


def test_report_compare_lint_budgets_plots_and_sweeps_predict_the_same_seconds(tmp_path, capsys):
    """Everything that is predicted runs as traced, unless an option says otherwise."""
    seconds = costlab.predict(network("MobileNet V2"), "raspberry-pi-5").seconds
    on = ["--device", "raspberry-pi-5"]
    assert run(["report", "zoo:mobilenet_v2", *on, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert run(["compare", "zoo:mobilenet_v2", "zoo:mobilenet_v2", *on, "--format", "json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    table = '[[tool.costlab.model]]\nname = "net"\ntarget = "zoo:mobilenet_v2"\nbudgets = {predicted_seconds = "1 s"}\n'
    (tmp_path / "pyproject.toml").write_text(table)
    assert run(["lint", "--config", str(tmp_path / "pyproject.toml"), *on, "--format", "json"]) == 1
    verdicts = {v["rule"]: v["value"] for v in json.loads(capsys.readouterr().out)["verdicts"]}
    space = {"factory": "zoo:mobilenet_v2", "arguments": {"width": "1.0"}, "device": ["raspberry-pi-5"]}
    (row,) = costlab.sweep(space, ThreadPoolExecutor(1))
    assert report["latency"]["predicted_seconds"] == seconds
    assert compared["total"]["predicted_seconds"] == {"base": seconds, "head": seconds}
    assert verdicts["budget/predicted_seconds"] == seconds
    assert seconds in row.values()
    texts = [text.get_text() for text in plots.roofline(network("MobileNet V2"), "raspberry-pi-5").texts]
    assert any(text.startswith(f"{units.seconds(seconds)} predicted") for text in texts)
