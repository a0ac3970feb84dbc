"""What an H100 did, recorded: kernels find their operators, and the times of operators sum to the busy time."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import costlab
from costlab.latency.devices import find_device
from costlab.measurement.device_activity import activity_of, passes_of
from costlab.measurement.device_timing import fused
from costlab.measurement.kernel_trace import read_trace
from costlab.measurement.result import Measurement

sys.path.append(str(Path(__file__).parents[1] / "bench"))
import calibrating

FOLDER = Path(__file__).parents[2] / "docs" / "latency" / "nvidia-h100-80gb-hbm3"
KERNEL_NAMES = {  # what the names of their kernels have in common, whichever library wrote them
    "conv2d": ("conv", "gemm", "cutlass", "nvjet", "xmma"),
    "max_pool2d": ("max_pool",),
    "linear": ("gemm", "nvjet", "cutlass"),
    "batch_norm": ("bn_fw", "batch_norm"),
    "relu": ("elementwise",),
    "cat": ("CatArray",),
}


def lines(name: str) -> list[str]:
    with gzip.open(FOLDER / name, "rt", encoding="utf-8") as stream:
        return stream.read().splitlines()


@pytest.fixture(scope="module")
def recorded():
    """The trace of two passes over a network and two over its operators, and the operators' names."""
    (text,) = lines("trace.json.gz")
    return read_trace(text), json.loads(text)["costlab"]["operators"]


@pytest.fixture(scope="module")
def measured():
    return [Measurement.from_json(line) for line in lines("inference.jsonl.gz")]


def test_every_kernel_of_the_trace_has_its_operator(recorded):
    trace, names = recorded
    activity, times = activity_of(trace, names)
    assert activity.unattributed_seconds == 0
    assert {kernel.op for kernel in activity.kernels} == set(names)
    assert all(kernel.stream is not None for kernel in activity.kernels)
    busy = activity.busy.median
    assert sum(timing.median for timing in times.values()) == pytest.approx(busy, rel=0.05)
    assert sum(kernel.seconds for kernel in activity.kernels) == pytest.approx(busy, rel=0.05)


def test_operators_are_those_that_their_kernels_are_named_after(recorded):
    trace, names = recorded
    model, _ = costlab.load("shufflenet_v2")
    kinds = {op.name: op.kind for op in costlab.profile(model, (8, 3, 224, 224)).ops if not op.free}
    assert set(names) == set(kinds)
    kernels: dict[str, list[str]] = {name: [] for name in names}
    for kernel in activity_of(trace, names)[0].kernels:
        kernels[kernel.op].append(kernel.name)
    for op, found in kernels.items():  # a copy of a strided input may come first
        assert any(part in name for part in KERNEL_NAMES.get(kinds[op], ("",)) for name in found), (op, found)


def test_what_was_launched_without_correlation_is_found_by_its_time(recorded):
    """As older versions of torch export it: the passes have the same kernels, of no operator."""
    trace, _ = recorded
    blind = trace._replace(launches=[launch._replace(launched=None) for launch in trace.launches])
    for name in ("costlab whole", "costlab operators"):
        assert [len(one.launches) for one in passes_of(blind, name)] == [
            len(one.launches) for one in passes_of(trace, name)
        ]


def test_operators_sum_to_the_busy_time_on_every_network(measured):
    assert len(measured) > 20
    for found in measured:
        assert found.parts_seconds == pytest.approx(found.activity.busy.median, rel=0.05), found.name
        assert found.activity.unattributed_seconds == 0, found.name


def test_a_wait_for_the_host_is_seen(measured):
    shares = {found.name: found.busy_share for found in measured}
    assert shares["vgg16"] > 0.98
    assert shares["ghostnet_100"] < 0.7


def test_names_of_compiled_kernels_tell_what_they_replace():
    names = [
        "triton_poi_fused__native_batch_norm_legit_no_training_relu_14",
        "triton_poi_fused__to_copy_0",
        "triton_poi_fused__to_copy_convolution_hardsigmoid_hardswish_mean_mul_relu_25",
    ]
    assert [fused(name) for name in names] == [
        ("batch_norm", "relu"),
        ("to",),
        ("to", "convolution", "hardsigmoid", "hardswish", "mean", "mul", "relu"),
    ]


# What `calibrate` makes of the blocks: of a card without parameters of its own.


@pytest.fixture(scope="module")
def calibrated():
    return calibrating.calibrated(replace(find_device("h100"), efficiency={}))


@pytest.mark.slow
def test_half_of_the_blocks_tell_the_others(calibrated):
    assert calibrated.operators > 900
    assert calibrated.held_out.median < 0.16
    assert calibrated.held_out.ninetieth < 0.48
    assert calibrated.held_out.spearman > 0.96


@pytest.mark.slow
def test_small_blocks_in_float32_do_not_mislead_about_networks_under_autocast(calibrated):
    """With every parameter free, a tenth of the networks are off by more than 80 %."""
    found = calibrating.busy(calibrated.device)
    assert found.median < 0.12
    assert found.ninetieth < 0.36


@pytest.mark.slow
def test_a_calibrated_gpu_has_norms_in_float32_and_a_cache_faster_than_its_memory(calibrated):
    """torch's own autocast raises norms, unlike the published runs that the shared parameters were fitted to."""
    table, card = calibrated.device.efficiency["eager"], calibrated.device
    assert table["half_norms"] == 0
    assert table["l2_bytes"] * card.units * card.clock > 1.5 * card.bandwidth
    assert 2e-5 < table["launch_seconds"] < 4e-5
