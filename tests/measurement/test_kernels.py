"""Kernels and the operators that launched them: from traces in Kineto's format, which no GPU had to write.

What a trace looks like is that of torch.profiler on CUDA: categories, ids and arguments. Traces of whole networks are
those of the CPU here with a kernel added for every operator (tests/helpers/cupti.py).
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from helpers.cupti import complete, document, kernel, launch, with_kernels
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.errors import CostlabError
from costlab.measurement import _measure, device_timing
from costlab.measurement.device_activity import PASS, WHOLE, activity_of, fused_kinds, operator_range, passes_of
from costlab.measurement.kernel_trace import KernelTrace, Launch, Range, busy_shares, enclosing, read_trace
from costlab.measurement.operator_timing import HostStopwatch, recorded
from costlab.measurement.result import DeviceActivity, Kernel, Measurement, Timing
from costlab.reports import timings as report


def annotation(name: str, start: float, duration: float, thread: int = 1) -> dict:
    return complete("user_annotation", name, start, duration, (1, thread), **{"External id": 0})


def one_pass(start: float = 0.0, factor: float = 1.0) -> list[dict]:
    """A convolution of two kernels, an addition whose kernel runs long after its launch, and a stray copy."""
    number = int(start)
    return [
        annotation(PASS, start, 200.0),
        annotation(operator_range(0), start + 1, 10.0),
        launch(start + 2, number + 1),
        launch(start + 5, number + 2),
        kernel("nchwToNhwc", start + 20, 10.0 * factor, number + 1),
        kernel("sm90_xmma_fprop", start + 30, 40.0 * factor, number + 2),
        annotation(operator_range(1), start + 12, 3.0),
        launch(start + 13, number + 3),
        kernel("vectorized_add", start + 130, 5.0 * factor, number + 3),
        launch(start + 18, number + 4, name="cudaMemcpyAsync"),
        complete("gpu_memcpy", "Memcpy DtoD", start + 140, 2.0 * factor, (0, 7), correlation=number + 4, stream=7),
    ]


NAMES = ["conv/conv2d", "add"]


def test_clocks_that_disagree_lose_no_kernel():
    """The device's clock is converted to the host's; a little off, a kernel seems to run before its pass begins."""
    early = [kernel("k", 90, 5, 1), annotation(PASS, 100, 50), annotation(operator_range(0), 101, 9), launch(102, 1)]
    _, times = activity_of(read_trace(document(*early, annotation(WHOLE, 200, 10))), ["x"])
    assert times["x"].median == pytest.approx(5e-6)


def test_an_operators_device_time_is_that_of_its_kernels_whenever_they_run():
    trace = read_trace(document(*one_pass(), annotation(WHOLE, 500, 100), kernel("fused", 510, 57, 99)))
    activity, times = activity_of(trace, NAMES)
    assert {name: timing.median for name, timing in times.items()} == pytest.approx({"conv/conv2d": 50e-6, "add": 5e-6})
    assert [(k.name, k.op) for k in activity.kernels] == [
        ("nchwToNhwc", "conv/conv2d"),
        ("sm90_xmma_fprop", "conv/conv2d"),
        ("vectorized_add", "add"),
        ("Memcpy DtoD", None),
    ]
    assert activity.unattributed_seconds == pytest.approx(2e-6)
    assert activity.busy.median == pytest.approx(57e-6)
    assert (activity.kernels[0].grid, activity.kernels[0].block) == ((66, 1, 1), (128, 1, 1))
    assert (activity.kernels[3].grid, activity.kernels[3].stream) == (None, 7)


def test_times_are_medians_over_passes_of_the_usual_kernels():
    other = [event for event in one_pass(4000, 0.4) if event["name"] != "nchwToNhwc"]
    passes = [*one_pass(0), *one_pass(1000, 0.6), *one_pass(2000, 0.8), *other, annotation(WHOLE, 9000, 1)]
    activity, times = activity_of(read_trace(document(*passes)), NAMES)
    assert times["add"].seconds == pytest.approx((5e-6, 3e-6, 4e-6, 2e-6))
    assert activity.kernels[0].seconds == pytest.approx(8e-6)
    assert len(activity.kernels) == 4
    assert activity.busy.seconds == (0.0,)


def test_the_ids_of_every_version_are_read():
    """Before 2022 categories had capitals and ids small letters; a kernel's external id may be its correlation."""
    old = [
        complete("Operator", "aten::add", 10, 5, (1, 1), **{"external id": 3}),
        complete("Runtime", "cudaLaunchKernel", 12, 1, (1, 1), correlation=8, **{"external id": 3}),
        complete("Kernel", "add", 30, 4, (0, 7), correlation=8, stream=7, **{"external id": 8}),
        complete("Memset", "Memset", 40, 4, (0, 7), correlation=77, stream=0, **{"external id": 3}),
    ]
    first, second = read_trace(json.dumps(json.loads(document(*old))["traceEvents"])).launches
    assert (first.launched, second.launched) == pytest.approx((2e-6, 0.0))
    assert second.stream == 0


def test_all_kernels_of_a_graph_belong_to_the_call_that_launches_it():
    events = [
        annotation(PASS, 0, 100),
        annotation(operator_range(0), 1, 10),
        launch(2, 5, name="cudaGraphLaunch"),
        *(kernel(f"k{i}", 20 + 10 * i, 5, 5, **{"graph id": 1}) for i in range(3)),
        annotation(WHOLE, 200, 10),
    ]
    activity, times = activity_of(read_trace(document(*events)), ["x"])
    assert times["x"].median == pytest.approx(15e-6)
    assert {k.op for k in activity.kernels} == {"x"}


def test_projections_of_ranges_on_the_device_are_no_kernels():
    shadow = complete("gpu_user_annotation", PASS, 20, 30, (0, 7), stream=7)
    trace = read_trace(document(annotation(PASS, 0, 90), shadow, kernel("k", 20, 5, 1)))
    assert [launch.name for launch in trace.launches] == ["k"]
    assert [one.name for one in trace.ranges] == [PASS]


def test_a_kernel_without_a_launch_is_of_no_operator():
    lone = kernel("k", 20, 5, 0)
    (found,) = passes_of(
        read_trace(document(annotation(PASS, 0, 90), annotation(operator_range(0), 1, 80), lone)), PASS
    )
    assert found.operators == [None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "3",
        "{}",
        '{"traceEvents": 3}',
        '{"traceEvents": [{"ph": "X", "ts": "now", "cat": "kernel"}]}',
        "[" * 9999,
    ],
)
def test_anything_else_is_no_trace(text):
    with pytest.raises(CostlabError, match=r"^not a trace of torch\.profiler: "):
        read_trace(text)


# The busy time.

intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=25)


def launches_of(spans):
    return [
        Launch("k", float(start), float(start + length), None, stream, None, None) for start, length, stream in spans
    ]


@given(intervals)
def test_shares_sum_to_the_union_of_all_intervals(spans):
    union = {tick for start, length, _ in spans for tick in range(start, start + length)}
    shares = busy_shares(launches_of(spans))
    assert math.fsum(shares) == pytest.approx(len(union))
    assert all(-1e-9 <= share <= length + 1e-9 for share, (_, length, _) in zip(shares, spans, strict=True))


@given(intervals)
def test_a_share_is_what_a_count_of_every_tick_gives(spans):
    running = [list(range(s, s + n)) for s, n, _ in spans]
    crowd = {tick: sum(tick in own for own in running) for own in running for tick in own}
    expected = [sum(1 / crowd[tick] for tick in own) for own in running]
    assert busy_shares(launches_of(spans)) == pytest.approx(expected)


@given(intervals, st.lists(st.integers(0, 9), min_size=25, max_size=25))
def test_operators_and_the_rest_sum_to_the_busy_time(spans, owners):
    """By construction, whatever overlaps and whoever launched it."""
    ranges = [Range(PASS, -1.0, 299.0), *(Range(operator_range(i), 200.0 + i, 200.5 + i) for i in range(5))]
    launches = [
        one._replace(launched=200.25 + owner if owner < 5 else None)
        for one, owner in zip(launches_of(spans), owners, strict=False)
    ]
    trace = KernelTrace(sorted(launches, key=lambda one: one.start), [*ranges, Range(WHOLE, 300.0, 301.0)])
    activity, times = activity_of(trace, [f"op{i}" for i in range(5)])
    union = {tick for start, length, _ in spans for tick in range(start, start + length)}
    total = sum(timing.median for timing in times.values()) + activity.unattributed_seconds
    assert total == pytest.approx(len(union))
    assert math.fsum(kernel.seconds for kernel in activity.kernels) == pytest.approx(len(union))


@given(st.lists(st.floats(0, 50), max_size=9), st.lists(st.integers(0, 40), max_size=12, unique=True))
def test_enclosing_agrees_with_a_search(times, starts):
    ranges = [Range("r", start, start + 0.5) for start in sorted(starts)]
    for time, found in zip(times, enclosing(times, ranges), strict=True):
        assert [found] == ([i for i, r in enumerate(ranges) if r.start <= time <= r.end] or [None])


# What TorchInductor's names say.


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("triton_poi_fused_add_relu_3", ("add", "relu")),
        ("triton_poi_fused__native_batch_norm_legit_no_training_relu_0", ("batch_norm", "relu")),
        ("triton_per_fused__to_copy_add_native_layer_norm_12", ("to", "add", "layer_norm")),
        ("triton_red_fused_mean_silu_1", ("mean", "silu")),
        ("triton_tem_fused_addmm_7", ("addmm",)),
        ("cpp_fused_add_relu_3", ("add", "relu")),
        # As TorchInductor 2.13 names them: a CNN's head and a batch norm.
        ("cpp_fused__softmax_gelu_native_layer_norm_2", ("softmax", "gelu", "layer_norm")),
        ("cpp_fused__native_batch_norm_legit_no_training_mean_relu_1", ("batch_norm", "mean", "relu")),
        ("void at::native::vectorized_elementwise_kernel<4, ...>", ()),
        ("sm90_xmma_fprop_implicit_gemm_f16f16", ()),
    ],
)
def test_a_generated_kernel_says_which_operators_it_replaces(name, kinds):
    assert device_timing.fused(name) == kinds


@given(st.lists(st.sampled_from(["add", "add_relu", "relu", "_to_copy", "mean"]), min_size=1, max_size=4))
def test_a_name_is_read_whole(kinds):
    known = {"add", "add_relu", "relu", "_to_copy", "mean"}
    assert "_".join(fused_kinds(f"triton_poi_fused_{'_'.join(kinds)}_1", known)) == "_".join(kinds)


# A whole network, with the kernels that a GPU would have run.


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        y = self.norm(self.conv(x)).relu()
        return self.head((y + 1).mean((2, 3))).softmax(-1)


SHAPE = (2, 3, 12, 12)


@pytest.fixture
def simulated(monkeypatch):
    """The CPU as a device that works on its own: its traces have kernels."""
    monkeypatch.setattr(_measure, "has_kernels", lambda device: True)
    real, ledger = device_timing.traced, {}

    def traced(run):
        text, seconds = with_kernels(real(run))
        ledger.update(seconds)
        return text

    monkeypatch.setattr(device_timing, "traced", traced)
    return ledger


def test_a_measured_network_has_device_and_host_times(simulated):
    found = costlab.measure(Net(), SHAPE, threads=1, min_seconds=0.01)
    profile = costlab.profile(Net(), SHAPE)
    paid = {op.name for op in profile.ops if not op.free}
    assert set(found.ops) == set(found.host) == paid
    assert found.activity.source == "kernels"
    named = {kernel.op: kernel for kernel in found.activity.kernels}
    assert set(named) - {None} <= paid
    assert "softmax" in named["softmax"].name
    assert "batch_norm" in named["norm/batch_norm"].name
    passes = zip(*(timing.seconds for timing in found.ops.values()), strict=True)
    busy = [sum(one) for one in passes]
    kernels = math.fsum(kernel.seconds for kernel in found.activity.kernels)
    assert min(busy) * 0.5 < kernels < max(busy) * 1.5
    assert found.parts_seconds <= found.activity.busy.median * 3
    assert Measurement.from_json(found.to_json()) == found


def test_a_network_without_times_of_operators_still_has_kernels(simulated):
    found = costlab.measure(Net(), SHAPE, threads=1, min_seconds=0.01, ops=False)
    assert found.ops == {}
    assert found.activity.kernels
    assert {kernel.op for kernel in found.activity.kernels} == {None}
    assert found.activity.unattributed_seconds is None
    (title, *_) = [column.title for column in report.table_by(found, "kind", None).columns]
    assert title == "kernel"


def test_operators_that_make_no_kernel_take_no_device_time(simulated):
    class Views(nn.Module):
        def forward(self, x):
            return x.reshape(-1).exp()

    found = costlab.measure(Views(), (4, 4), threads=1, min_seconds=0.01)
    assert found.ops["exp"].median > 0


# Without access to kernels.


class Clock:
    """Events of a graph that takes 1 ms between two events, and 1 ms more with every replay."""

    def __init__(self):
        self.made, self.replays = 0, 0

    def event(self, **kinds):
        clock = self
        clock.made += 1
        position = clock.made

        class Event:
            def record(self):
                self.position = position

            def elapsed_time(self, other):
                return (other.position - self.position) * clock.replays

        return Event()


def test_without_kernels_a_captured_graph_has_the_times(monkeypatch):
    clock = Clock()

    class Graph:
        def replay(self):
            clock.replays += 1

    class Capture:
        def __init__(self, graph):
            pass

        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    monkeypatch.setattr(torch.cuda, "device", Capture)
    monkeypatch.setattr(torch.cuda, "Event", clock.event)
    model, x = Net().eval(), torch.randn(SHAPE)
    with torch.inference_mode():
        calls = recorded(lambda: model(x), {})
        timed = [True] * len(calls)
        names = [f"op{i}" for i in range(len(calls))]
        activity, times = device_timing.device_times(lambda: model(x), calls, timed, names, torch.device("cpu"))
    assert activity.source == "graph"
    assert clock.replays == device_timing.PASSES
    assert times["op0"].seconds == pytest.approx([i / 1000 for i in range(1, 11)])
    assert activity.busy.seconds == pytest.approx([i / 1000 * len(calls) for i in range(1, 11)])


def test_operators_that_no_graph_holds_are_timed_in_the_queue(monkeypatch):
    def refused():
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refused)
    monkeypatch.setattr(device_timing, "queue_stopwatch", lambda device: HostStopwatch())
    model, x = Net().eval(), torch.randn(SHAPE)
    with torch.inference_mode():
        calls = recorded(lambda: model(x), {})
        names = [f"op{i}" for i in range(len(calls))]
        found = device_timing.device_times(lambda: model(x), calls, [True] * len(calls), names, torch.device("cpu"))
    assert found[0] == DeviceActivity("events")
    assert all(len(timing.seconds) == device_timing.PASSES for timing in found[1].values())


# Reports.


@pytest.fixture(scope="module")
def measured():
    plain = costlab.measure(Net(), SHAPE, threads=1, min_seconds=0.005)
    kernels = (
        Kernel("sm90_fprop", "conv/conv2d", 7, (66, 1, 1), (128, 1, 1), 40e-6),
        Kernel("add<float>", "relu", 7, (66, 1, 1), (128, 1, 1), 10e-6),
        Kernel("add<float>", "add", 7, (66, 1, 1), (128, 1, 1), 10e-6),
        Kernel("Memcpy HtoD", None, 7, None, None, 5e-6),
    )
    return replace(
        plain,
        whole=Timing((200e-6,)),
        ops={"conv/conv2d": Timing((40e-6,)), "relu": Timing((10e-6,)), "add": Timing((10e-6,))},
        host={"conv/conv2d": Timing((30e-6,)), "relu": Timing((20e-6,)), "add": Timing((20e-6,))},
        activity=DeviceActivity("kernels", Timing((65e-6,)), kernels, 5e-6),
    )


def test_the_report_says_that_a_network_is_launch_bound_and_what_could_be_saved(measured):
    facts = {fact.label: fact.value for fact in report.facts(measured)}
    assert facts["busy"].startswith("65.00 us (32.5% of the whole; launch-bound")
    assert facts["at most"].startswith("CUDA graphs could save 135.0 us (67.5%), torch.compile 160.0 us (80.0%)")
    assert facts["no operator"].startswith("5.000 us")
    busy = replace(measured, whole=Timing((66e-6,)))
    assert "not launch-bound" in {fact.label: fact.value for fact in report.facts(busy)}["busy"]


@pytest.mark.parametrize("by", ["kind", "module", "op"])
def test_tables_have_both_times_and_columns_sum_to_their_totals(measured, by):
    columns = {column.title: column for column in report.table_by(measured, by, None).columns}
    assert columns["device"].total == "60.00 us"
    assert columns["host"].total == "70.00 us"


def test_kernels_are_added_up_by_name(measured):
    rows = report.kernel_rows(measured)
    assert [(row.name, row.runs, row.kinds) for row in rows] == [
        ("sm90_fprop", 1, ["conv2d"]),
        ("add<float>", 2, ["relu", "add"]),
        ("Memcpy HtoD", 1, ["none"]),
    ]
    assert sum(row.seconds for row in rows) == pytest.approx(measured.activity.busy.median)
    names, runs, *_ = report.table_by(measured, "kernel", 1).columns
    assert list(names.cells) == ["sm90_fprop", "2 others"]
    assert runs.total == "4"


def test_the_page_of_a_notebook_shows_kernels_as_text(measured):
    page = measured._repr_html_()
    assert "add&lt;float&gt;" in page
    assert "<float>" not in page


def test_a_page_of_its_own_has_every_operator_and_kernel_once(measured):
    text = report.document(measured)
    assert text.startswith("<!doctype html>")
    assert text.count("sm90_fprop") == text.count("conv/conv2d") == 1
    compiled = report.document(replace(measured, ops={}, host={}))
    assert compiled.count("sm90_fprop") == 1


def test_json_names_kernels_with_grid_and_stream(measured):
    document = json.loads(measured.to_json())
    assert document["busy_share"] == pytest.approx(0.325)
    first = document["activity"]["kernels"][0]
    assert first == {
        "name": "sm90_fprop",
        "op": "conv/conv2d",
        "stream": 7,
        "grid": [66, 1, 1],
        "block": [128, 1, 1],
        "seconds": 40e-6,
        "fused": [],
    }
    assert document["ops"][0]["host"]["median"] == 30e-6
    assert Measurement.from_json(measured.to_json()) == measured


def test_a_measurement_of_before_is_still_read(measured):
    document = json.loads(measured.to_json())
    for key in ("activity", "peak_activation_bytes", "busy_share"):
        del document[key]
    for entry in document["ops"]:
        del entry["host"]
    old = Measurement.from_json(json.dumps(document))
    assert (old.activity, old.host, old.peak_activation_bytes) == (None, {}, None)
    assert old.ops == measured.ops


# Memory.


def test_the_peak_is_that_of_the_tensors_that_live_together():
    """A chain of exponentials holds two tensors at a time, besides its input."""
    from costlab.measurement.memory import peak_memory

    x = torch.ones(1000)

    def chain():
        y = x
        for _ in range(9):
            y = y.exp()
        return y

    assert peak_memory(chain, torch.device("cpu")) == 2 * 4000
    assert peak_memory(lambda: [x.exp() for _ in range(5)], torch.device("cpu")) == 5 * 4000
    assert peak_memory(lambda: x.view(10, 100), torch.device("cpu")) == 0
    assert peak_memory(chain, torch.device("meta")) is None


def test_a_caller_that_profiles_gets_its_measurement_without_a_peak():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        found = costlab.measure(nn.ReLU(), (10,), threads=1, min_seconds=0.005)
    assert found.whole.median > 0
    assert found.peak_activation_bytes.measured is None


def test_the_measured_peak_stands_beside_the_predicted_one():
    found = costlab.measure(nn.Sequential(nn.ReLU(), nn.ReLU()), (1000,), threads=1, min_seconds=0.005, ops=False)
    assert found.peak_activation_bytes.measured == 3 * 4000  # the input is held by the caller
    assert found.peak_activation_bytes.predicted == 2 * 4000
    assert found.peak_bytes.measured == found.peak_bytes.predicted == 3 * 4000
    facts = {fact.label: fact.value for fact in report.facts(found)}
    assert facts["memory"].startswith("12")
