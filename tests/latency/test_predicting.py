"""Predictions: laws of time, the effects of batch, device, fusion and autocast, and the output."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from generate.latency_page import DATA, fitted_tables, shipped
from helpers.calls import profile_of
from helpers.drawn_networks import INPUT, Network, networks
from helpers.long_profiles import long_profile
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.cli import run
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.latency import _predict as predicting
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.latency.efficiency import efficiency_of, shared_efficiency
from costlab.latency.execution import ExecutionConfig
from costlab.latency.gpu import pieces_of_copies
from costlab.latency.lowering import WORK, KernelTable, lower
from costlab.latency.parameters import CPU, FIXED, GPU, TRAINING, parameters_of
from costlab.latency.prediction import Prediction
from costlab.latency.roofline import BOUNDS, RooflineModel
from costlab.models import ModelSpec
from costlab.models import profile_of as profile_named

DEVICES = ("rtx3090", "rtx4090", "i9-10940x", "m1-gpu", "gtx1080ti")
WAYS: dict[str, dict[str, Any]] = {
    "eager": {},
    "autocast": {"amp": True},
    "channels-last": {"channels_last": True, "amp": True},
    "folded": {"fusion": "bn"},
    "compiled": {"fusion": "pointwise", "amp": True},
}
devices, ways = st.sampled_from(DEVICES), st.sampled_from(sorted(WAYS))
LATENCIES = tuple(name for name, parameter in GPU.items() if parameter.unit == "s")


@cache
def real(name: str) -> Profile:
    return profile_named(ModelSpec(name))


REAL = ("zoo:mobilenet_v2", "torchvision:resnet18", "timm:vit_tiny_patch16_224", "timm:efficientformerv2_s0")


def predicted(profile: Profile, device: str | Device, way: str = "eager", **options: Any) -> Prediction:
    return costlab.predict(profile, device, **WAYS[way], **options)


def changed(name: str, mode: str, *, peaks: float = 1, bandwidth: float = 1, latencies: float = 1) -> Device:
    """A device whose peaks and clock, bandwidth or latencies are so many times what they are."""
    device = find_device(name)
    efficiency = (
        {**efficiency_of(device, mode), "serial_seconds": 3e-7} if device.is_gpu else efficiency_of(device, mode)
    )
    return replace(
        device,
        clock=device.clock * peaks,
        power=device.power * peaks if device.power else None,
        bandwidth=device.bandwidth * bandwidth,
        vector_flops={dtype: peak * peaks for dtype, peak in device.vector_flops.items()},
        matrix_flops={dtype: peak * peaks for dtype, peak in device.matrix_flops.items()},
        efficiency={
            mode: {**efficiency, **{key: efficiency[key] * latencies for key in LATENCIES if key in efficiency}}
        },
    )


def mode_of(way: str) -> str:
    return "compiled" if WAYS[way].get("fusion") == "pointwise" else "eager"


# The sum and its parts.


@given(networks, devices, ways)
def test_a_pass_takes_at_least_the_slower_of_device_and_host_and_at_most_both(
    network: Network, device: str, way: str
) -> None:
    profile, config = profile_of(network, INPUT), ExecutionConfig(find_device(device), **WAYS[way])
    found = predicted(profile, device, way)
    kernels = lower(profile, profile.fused(config.fusion), config)
    launches = sum(kernel.work != WORK["layout"] for kernel in kernels) if config.gpu else 0
    on_device, on_host = sum(found.by_op.values()), launches * config.efficiency["launch_seconds"]
    running = found.seconds - config.efficiency["start_seconds"]
    assert max(on_device, on_host) <= running * (1 + 1e-12)
    assert running <= (on_device + on_host) * (1 + 1e-12)
    assert all(0 < seconds < 1 for seconds in found.by_op.values())


@given(networks, devices, ways)
def test_every_operator_that_moves_data_has_a_time_and_a_bound(network: Network, device: str, way: str) -> None:
    profile = profile_of(network, INPUT)
    view = profile.fused(WAYS[way].get("fusion", "none"))
    found = predicted(profile, device, way)
    assert found.by_op.keys() == found.bound.keys()
    assert set(found.bound.values()) <= set(BOUNDS)
    moving = {op.name for op in view.ops if not op.free and op.kind not in ("arange", "contiguous", "reshape")}
    assert moving <= found.by_op.keys() <= {op.name for op in view.ops if not op.free}
    assert found.unknown == ()
    assert str(found) == f"{units.seconds(found.seconds)} predicted on {found.setup}"


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("way", WAYS)
def test_the_graph_of_a_prediction_has_its_seconds(name, way):
    profile = real(name)
    found = predicted(profile, "rtx3090", way)
    graph = found.join(profile)
    seconds = [node["predicted_seconds"] for node in graph.nodes.values()]
    assert sum(s or 0.0 for s in seconds) == pytest.approx(sum(found.by_op.values()))
    assert "predicted_seconds" not in next(iter(profile.graph.nodes.values()))


def test_a_bound_is_the_longest_of_the_three_terms():
    network = nn.Sequential(nn.Linear(4096, 4096), nn.ReLU())
    found = predicted(profile_of(network, (65536, 4096)), "i9-10940x")
    assert found.bound == {"0/linear": "matrix", "1/relu": "memory"}
    tiny = predicted(profile_of(network, (1, 4096)), "rtx4090")
    assert tiny.bound["1/relu"] == "launch"
    one_row = predicted(profile_of(network, (1, 4096)), "i9-10940x")
    assert one_row.bound["0/linear"] == "memory"  # the matrix is read for a single row


def test_an_operator_without_a_rule_is_named_and_costs_nothing():
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x).relu()

    profile = profile_of(Odd(), (2, 8, 8))
    assert profile.uncounted
    found = predicted(profile, "rtx3090")
    assert len(found.unknown) == sum(profile.uncounted.values())
    assert str(found).endswith(f"; not predicted: {len(found.unknown)} operators")
    assert not set(found.unknown) & found.by_op.keys()


# The batch.


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", REAL[:3])
@pytest.mark.parametrize("device", ["rtx4090", "i9-10940x"])
def test_predicting_for_a_batch_is_tracing_at_that_batch(name, device, way):
    traced_at_six = profile_named(ModelSpec(name, batch=6))
    one, six = predicted(real(name), device, way, batch=6), predicted(traced_at_six, device, way)
    assert one.batch == six.batch == 6
    assert one.seconds == pytest.approx(six.seconds, rel=1e-9)
    assert one.by_op == pytest.approx(six.by_op, rel=1e-9)
    assert one.bound == six.bound


@pytest.mark.parametrize("device", ["rtx4090", "i9-10940x"])
def test_tables_that_the_batch_leaves_alone_hardly_change_what_caches_keep(device):
    """EfficientFormer V2 gathers tables of positions; what lies between two uses of a tensor is scaled as a whole."""
    traced_at_six = profile_named(ModelSpec("timm:efficientformerv2_s0", batch=6))
    one = predicted(real("timm:efficientformerv2_s0"), device, batch=6)
    assert one.seconds == pytest.approx(predicted(traced_at_six, device).seconds, rel=1e-3)


@pytest.mark.parametrize(("tokens", "words"), [(64, 50_000), (64, 8)])
def test_a_lookup_reads_rows_not_the_table(tokens, words):
    profile = costlab.profile(nn.Embedding(words, 256), torch.zeros(2, tokens, dtype=torch.int64))
    kernels = predicting.kernel_table(profile, profile, ExecutionConfig(find_device("rtx3090")))
    rows_and_indices = 2 * tokens * (256 * 4 + 8)
    assert (kernels.read.tolist(), kernels.constant.tolist()) == ([rows_and_indices], [0])
    assert profile.costs[0].read_bytes == rows_and_indices


def test_the_traced_batch_is_the_default():
    profile = profile_named(ModelSpec("zoo:mobilenet_v2", batch=3))
    assert predicted(profile, "rtx3090") == predicted(profile, "rtx3090", batch=3)


@given(networks, st.integers(2, 512), st.sampled_from(["rtx3090", "i9-10940x"]))
def test_a_batch_scales_activations_and_leaves_weights_alone(network: Network, batch: int, device: str) -> None:
    profile = profile_of(network, INPUT)
    kernels = KernelTable(lower(profile, profile, ExecutionConfig(find_device(device))), len(profile.ops))
    one, many = (RooflineModel(kernels, find_device(device), scale) for scale in (1.0, float(batch)))
    grows = np.where(kernels.batched, batch, 1)
    for key in ("flops", "read", "written", "operations"):
        np.testing.assert_allclose(getattr(many.model.work, key), getattr(one.model.work, key) * grows)
    assert many.weights == one.weights == kernels.constant.sum()
    rows, more_rows = (model.model.work.m * model.model.work.products for model in (one, many))
    np.testing.assert_allclose(more_rows, rows * grows)


@given(networks, devices, ways, st.integers(1, 300), st.integers(1, 300))
def test_a_larger_batch_never_takes_less_time(network: Network, device: str, way: str, one: int, other: int) -> None:
    profile = profile_of(network, INPUT)
    small, large = (predicted(profile, device, way, batch=batch).seconds for batch in sorted((one, other)))
    assert small <= large * (1 + 1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", REAL)
def test_an_image_of_a_large_batch_is_cheaper_than_one_alone(name, device):
    """But for the caches of a CPU, which activations leave, and buffers of over 32 MB: MobileNet V2 lost by that."""
    card = find_device(device)
    if not card.is_gpu:
        eager = {**efficiency_of(card, "eager"), "page_seconds": 1e-12}
        card = replace(card, bandwidth=1e3 * card.bandwidth, efficiency={"eager": eager})
    alone, together = (predicted(real(name), card, batch=batch).seconds / batch for batch in (1, 64))
    assert together < alone


# The device.


@given(networks, devices, ways)
def test_a_device_that_is_twice_as_fast_in_everything_takes_half(network: Network, device: str, way: str) -> None:
    profile, mode = profile_of(network, INPUT), mode_of(way)
    now, then = (
        predicted(profile, changed(device, mode, peaks=f, bandwidth=f, latencies=1 / f), way) for f in (1.0, 2.0)
    )
    assert then.seconds == pytest.approx(now.seconds / 2, rel=1e-9)
    assert then.bound == now.bound


@given(networks, devices, ways, st.floats(1.01, 10))
def test_a_device_that_is_better_in_one_thing_is_never_slower(
    network: Network, device: str, way: str, factor: float
) -> None:
    profile, mode = profile_of(network, INPUT), mode_of(way)
    before = predicted(profile, changed(device, mode), way)
    for better in ({"peaks": factor}, {"bandwidth": factor}, {"latencies": 1 / factor}):
        after = predicted(profile, changed(device, mode, **better), way)
        assert after.seconds <= before.seconds * (1 + 1e-12), better
        assert all(after.by_op[name] <= before.by_op[name] * (1 + 1e-12) for name in before.by_op), better


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("device", sorted(path.stem for path in DATA.glob("*.toml")))
def test_every_device_has_a_prediction(device, way):
    found = predicted(real("zoo:mobilenet_v2"), device, way, batch=8)
    assert found.device == device
    assert 1e-5 < found.seconds < 30


def test_more_is_slower_on_the_same_device():
    seconds = [predicted(real(f"torchvision:resnet{depth}"), "rtx3090", batch=32).seconds for depth in (18, 34, 101)]
    assert seconds == sorted(seconds)
    sides = [profile_named(ModelSpec("torchvision:resnet18", resolution=side)) for side in (128, 224, 448)]
    seconds = [predicted(profile, "i9-10940x").seconds for profile in sides]
    assert seconds == sorted(seconds)


# Whose efficiency.


@pytest.mark.parametrize("mode", ["eager", "compiled"])
@pytest.mark.parametrize("name", ["rtx3090", "h200", "t4", "epyc-7763", "m1-gpu"])
def test_a_device_has_the_parameters_of_the_software(name, mode):
    device = replace(find_device(name), efficiency={})
    assert efficiency_of(device, mode) == shared_efficiency(device.type, mode)


def test_a_device_file_overrides_what_it_names_in_the_way_of_running_it_names():
    device = replace(find_device("rtx3090"), efficiency={"eager": {"stream": 0.5}})
    shared = shared_efficiency("cuda", "eager")
    assert efficiency_of(device, "eager") == {**shared, "stream": 0.5}
    assert efficiency_of(device, "compiled") == shared_efficiency("cuda", "compiled")


def test_a_device_may_name_the_one_it_is_like():
    own = replace(find_device("h200"), efficiency={"reference": "h100"})
    assert efficiency_of(own, "eager") == efficiency_of(find_device("h100"), "eager")


@pytest.mark.parametrize(("kind", "table"), [("cuda", GPU), ("cpu", CPU)])
def test_parameters_lie_where_they_make_sense(kind, table):
    for name, parameter in parameters_of(kind).items():
        for value in (parameter.prior, parameter.eager, parameter.compiled):
            assert parameter.low * 0.999 <= value <= parameter.high * 1.001, name
        assert name in FIXED or parameter.low < parameter.high, name
        assert parameter.unit, name
        assert parameter.meaning, name
    assert parameters_of(kind).keys() == table.keys() | TRAINING.keys()


@pytest.mark.parametrize("way", fitted_tables())
def test_the_numbers_of_a_device_file_lie_where_they_make_sense(way):
    name, mode = way.split(", ")
    parameters = parameters_of(shipped(name).type)
    for key, value in fitted_tables()[way].items():
        assert parameters[key].low * 0.999 <= value <= parameters[key].high * 1.001, key
    assert len(shipped(name).efficiency["fitted"][mode]) > 20, "a fit says what it was fitted to"


def test_kernels_whose_steps_wait_for_each_other_take_longer_however_small():
    network = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    profile, device = profile_of(network, (1, 8, 8, 8)), find_device("h100")
    own = {"product_seconds": 3e-6, "reducing_seconds": 2e-6}
    slow = replace(device, efficiency={"eager": {**device.efficiency["eager"], **own}})
    before, after = (predicted(profile, each).by_op for each in (device, slow))
    added = [after[name] - before[name] for name in ("0/conv2d", "1/batch_norm", "2/relu")]
    assert added == pytest.approx([3e-6, 2e-6, 0], abs=2e-8)


# What carries from card to card.


def test_issue_limits_carry_with_multiprocessors_and_clock():
    """Twice the multiprocessors at the same bandwidth: a kernel that is bound by issue takes half, one bound by memory
    the same."""
    network = nn.Sequential(nn.Conv2d(64, 64, 9, groups=64), nn.ReLU())
    profile, device = profile_of(network, (256, 64, 64, 64)), find_device("rtx3090")
    efficiency = {"eager": {"overlap": 8.0, "kernel_seconds": 1e-7}}
    one, two = (
        predicted(profile, replace(device, units=device.units * n, efficiency=efficiency)).by_op for n in (1, 2)
    )
    assert two["0/conv2d"] == pytest.approx(one["0/conv2d"] / 2, rel=0.2)
    assert two["1/relu"] == pytest.approx(one["1/relu"], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["rtx3090", "a100-40gb", "h100"])
def test_logits_of_padded_tokens_are_cheaper_though_they_are_more(device):
    """50,257 columns in float16 fill no copy of 16 bytes, 50,304 do; in float32 both are alike (NeuSight)."""
    odd, padded = (profile_of(nn.Linear(768, tokens, bias=False), (16384, 768)) for tokens in (50257, 50304))
    half, full = (
        [costlab.predict(p, device, dtype=dtype).seconds for p in (odd, padded)] for dtype in ("float16", "float32")
    )
    assert half[0] > 1.2 * half[1]
    assert full[0] == pytest.approx(full[1], rel=0.02)


@pytest.mark.parametrize(
    ("columns", "summands", "item", "pieces"),
    [(50304, 768, 2, 1), (50257, 768, 2, 8), (196, 768, 2, 2), (768, 49, 2, 8), (38, 64, 2, 4), (50257, 768, 4, 4)],
)
def test_a_copy_is_as_wide_as_rows_are_aligned(columns, summands, item, pieces):
    assert pieces_of_copies(np.array([columns]), np.array([summands]), np.array([item])) == [pieces]


def test_power_limits_what_large_products_reach_and_nothing_else():
    network = nn.Sequential(nn.Linear(4096, 4096), nn.ReLU())
    profile, card = profile_of(network, (16384, 4096)), find_device("t4")
    limited, free = (predicted(profile, replace(card, power=power)).by_op for power in (card.power, None))
    assert limited["0/linear"] > 1.5 * free["0/linear"]
    assert limited["1/relu"] == free["1/relu"]
    flops = 2 * 16384 * 4096 * 4096 / limited["0/linear"]
    assert flops < 0.55 * card.vector_flops["float32"]


def test_a_processor_is_as_fast_as_its_slowest_core_allows():
    profile = profile_of(nn.Linear(2048, 2048), (2048, 2048))
    device = find_device("i7-12700h")
    even = replace(device, slowest_unit=1.0)
    assert predicted(profile, device).seconds > 1.4 * predicted(profile, even).seconds


def test_operators_without_arithmetic_are_never_bound_by_arithmetic():
    class Moves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x.transpose(1, 2).contiguous(), x.transpose(1, 2).contiguous()], 1)

    for device in DEVICES:
        found = predicted(profile_of(Moves(), (64, 512, 512)), device)
        assert set(found.bound.values()) <= {"memory", "issue", "launch"}


# Fusion, types, layouts.


@pytest.mark.parametrize("fusion", ["none", "bn", "pointwise"])
@pytest.mark.parametrize("name", REAL)
def test_a_fusion_predicts_for_its_own_operators(name, fusion):
    view = {op.name for op in real(name).fused(fusion).ops}
    found = costlab.predict(real(name), "rtx3090", fusion=fusion)
    assert found.by_op.keys() <= view
    assert found.fusion == fusion


@given(networks, devices, st.booleans())
def test_folding_first_and_predicting_then_is_the_same(network: Network, device: str, amp: bool) -> None:
    profile = profile_of(network, INPUT)
    folded = costlab.predict(profile, device, fusion="bn", amp=amp)
    assert costlab.predict(profile.fused("bn"), device, amp=amp).by_op == pytest.approx(folded.by_op)


@pytest.mark.parametrize("name", ["zoo:mobilenet_v2", "torchvision:resnet18"])
def test_folded_batch_norms_cost_nothing(name):
    plain, folded = (costlab.predict(real(name), "rtx3090", batch=64, fusion=f).seconds for f in ("none", "bn"))
    assert folded < plain


@pytest.mark.parametrize("name", REAL)
def test_a_lower_precision_is_faster_on_matrix_units(name):
    single, half = (costlab.predict(real(name), "rtx3090", batch=64, dtype=d).seconds for d in ("float32", "float16"))
    autocast = costlab.predict(real(name), "rtx3090", batch=64, amp=True).seconds
    assert half < single
    assert autocast < single


def test_autocast_in_float32_norms_costs_more_than_with_norms_in_the_lower_type():
    profile = profile_of(nn.Sequential(nn.Conv2d(64, 64, 1), nn.GroupNorm(8, 64)), (64, 64, 56, 56))
    device = find_device("rtx3090")
    eager = efficiency_of(device, "eager")
    fast, slow = (
        costlab.predict(profile, replace(device, efficiency={"eager": {**eager, "half_norms": value}}), amp=True)
        for value in (1.0, 0.0)
    )
    assert fast.by_op["1/group_norm"] < slow.by_op["1/group_norm"]
    assert fast.by_op["0/conv2d"] == slow.by_op["0/conv2d"]


def test_grouped_convolutions_keep_compiled_images_out_of_channels_last():
    """TorchInductor leaves networks with grouped convolutions as they are: channels_last changes nothing there."""
    for name in ("torchvision:resnet18", "torchvision:resnext50_32x4d"):
        one, other = (
            costlab.predict(real(name), "rtx4090", fusion="pointwise", channels_last=last).seconds
            for last in (False, True)
        )
        assert one == other


# What was worked out once.


def test_a_second_prediction_lowers_nothing(monkeypatch):
    profile = long_profile(7)
    first = costlab.predict(profile, "rtx3090", batch=2)
    assert len(first.by_op) >= 1000
    monkeypatch.delattr(predicting, "lower")
    second = costlab.predict(profile, "rtx4090", batch=5)
    assert second.by_op.keys() == first.by_op.keys()


def test_predicting_leaves_the_profile_as_it_was():
    profile = profile_named(ModelSpec("zoo:mobilenet_v2"))
    before = profile.to_json()
    for way in WAYS:
        predicted(profile, "rtx3090", way, batch=7)
    assert profile.to_json() == before


def test_a_saved_profile_predicts_the_same():
    read = Profile.from_json(real("zoo:mobilenet_v2").to_json())
    for way in WAYS:
        assert predicted(read, "rtx4090", way, batch=9) == predicted(real("zoo:mobilenet_v2"), "rtx4090", way, batch=9)


def test_a_saved_profile_is_predicted_without_torch(tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(real("zoo:mobilenet_v2").to_json())
    code = (
        "import sys, costlab\n"
        f"profile = costlab.Profile.from_json(open({str(path)!r}).read())\n"
        "assert costlab.predict(profile, 'rtx4090', batch=64, amp=True, fusion='pointwise').seconds > 0\n"
        "assert not {'torch', 'timm', 'scipy'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# What users do wrong.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "rtx3900"}, "no device 'rtx3900'"),
        ({"device": "nowhere.toml"}, "nowhere.toml cannot be read"),
        ({"dtype": "int8"}, "cannot predict for dtype 'int8'; use one of float32, float16, bfloat16"),
        ({"batch": 0}, "batch must be a positive integer, got 0"),
        ({"batch": 1.5}, "batch must be a positive integer, got 1.5"),
        ({"batch": True}, "batch must be a positive integer, got True"),
        ({"fusion": "all"}, "unknown fusion 'all'; choose one of none, bn, pointwise"),
    ],
)
def test_wrong_usage_is_a_line_that_says_what_to_do(options, words):
    with pytest.raises(CostlabError, match=r"^[^\n]*$") as caught:
        costlab.predict(real("zoo:mobilenet_v2"), **{"device": "rtx3090", **options})
    assert words in str(caught.value)


@pytest.mark.parametrize("table", [{"eager": {"matmull": 1.0}}, {"eager": 3.0}])
def test_a_parameter_that_does_not_exist_is_refused(table):
    with pytest.raises(CostlabError, match=r"^device rtx3090: unknown parameter .*docs/latency.md lists them$"):
        costlab.predict(real("zoo:mobilenet_v2"), replace(find_device("rtx3090"), efficiency=table))


def test_a_network_without_inputs_has_no_batch_to_ask_for():
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8, 8))

        def forward(self) -> torch.Tensor:
            return self.weight @ self.weight

    profile = profile_of(Constant())
    assert predicted(profile, "rtx3090").batch is None
    with pytest.raises(CostlabError, match="no input whose first dimension could be the batch"):
        predicted(profile, "rtx3090", batch=2)


# The command line.


def test_a_report_with_a_device_names_it_and_gives_every_row_its_time(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    assert run(["report", "mobilenet_v2", "--device", "rtx3090", "--amp", "--batch", "32"]) == 0
    shown = capsys.readouterr().out
    assert "rtx3090" in shown
    assert "predicted" in shown


@pytest.mark.parametrize("fusion", ["none", "pointwise"])
def test_the_json_of_a_report_has_the_prediction(fusion, capsys):
    words = ["report", "mobilenet_v2", "--device", "rtx4090", "--amp", "--fusion", fusion, "--format", "json"]
    assert run(words) == 0
    document = json.loads(capsys.readouterr().out)
    found = costlab.predict(real("zoo:mobilenet_v2"), "rtx4090", amp=True, fusion=fusion)
    assert {key: document["latency"][key] for key in found.summary} == found.summary
    assert document["latency"]["device"] == "rtx4090"
    seconds = {op["name"]: op["predicted_seconds"] for op in document["ops"]}
    assert {name: s for name, s in seconds.items() if s is not None} == dict(found.by_op)


def test_the_json_of_a_report_without_a_device_has_no_prediction(capsys):
    assert run(["report", "mobilenet_v2", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "latency" not in document
    assert "predicted_seconds" not in document["ops"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "rtx9999"], "no device 'rtx9999'"),
        (["--amp"], "name a --device"),
        (["--channels-last"], "name a --device"),
    ],
)
def test_wrong_usage_of_a_report_is_one_line(words, said, capsys):
    assert run(["report", "mobilenet_v2", *words]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("layer", "image"),
    [
        (nn.Conv2d(8, 48, 3, padding=1), (8, 20, 28)),
        (nn.Conv2d(8, 48, 3, groups=4), (8, 20, 28)),
        (nn.ConvTranspose2d(8, 48, 2, stride=2), (8, 20, 28)),
        (nn.Conv1d(8, 48, 3), (8, 50)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
@pytest.mark.parametrize("device", DEVICES)
def test_an_image_without_a_batch_takes_as_long_as_a_batch_of_one(layer, image, device):
    alone, batch = profile_of(layer, image), profile_of(layer, (1, *image))
    assert predicted(alone, device).seconds == pytest.approx(predicted(batch, device).seconds)
