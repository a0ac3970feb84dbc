"""Times on a device that works on its own: traces of kernels, events in a captured graph, or events in its queue."""

import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, record_function

from costlab.core.gc import gc_paused
from costlab.measurement.device_activity import PASS, WHOLE, activity_of, fused_kinds, operator_range
from costlab.measurement.kernel_trace import read_trace
from costlab.measurement.operator_timing import (
    Call,
    EventStopwatch,
    forward_pass,
    make,
    play,
    queue_stopwatch,
    synchronise,
)
from costlab.measurement.result import DeviceActivity, Timing
from costlab.tracing.operators import KINDS
from costlab.tracing.restoration import random_state

PASSES = 10
MOST_LAUNCHES = 20_000  # in a trace: a long one takes seconds to write and read


def has_kernels(device: torch.device) -> bool:
    """Whether a device works on its own and a trace can have its kernels."""
    return device.type == "cuda"


def device_times(
    run: Callable[[], Any], calls: Sequence[Call], timed: Sequence[bool], names: Sequence[str], device: torch.device
) -> tuple[DeviceActivity | None, dict[str, Timing]]:
    """What a device does in a forward pass, and the time that each operator takes on it.

    From a trace of the kernels; without access to that (CUPTI) from events in a captured graph; for operators that
    cannot be captured from events in the queue, which include the wait for the host.

    Args:
        run: a forward pass, already warm.
        calls, timed: the recorded operators, and which of them are timed; empty for a compiled network.
        names: of those that are timed.
    """
    passes = max(2, min(PASSES, MOST_LAUNCHES // max(len(calls), 1)))
    if can_profile():
        trace = read_trace(traced(lambda: run_passes(run, calls, timed, passes, device)))
        if trace.launches:
            return activity_of(trace, names, fused)
    if not names:
        return None, {}
    try:
        rounds, source = graph_seconds(calls, timed, passes, device), "graph"
    except RuntimeError:  # an operator that waits for the device cannot be captured
        watch = queue_stopwatch(device)
        rounds, source = [play(calls, timed, watch) for _ in range(passes)], "events"
    times = {name: Timing(own) for name, own in zip(names, zip(*rounds, strict=True), strict=True)}
    busy = Timing(tuple(map(sum, rounds))) if source == "graph" else None
    return DeviceActivity(source, busy), times


def run_passes(
    run: Callable[[], Any], calls: Sequence[Call], timed: Sequence[bool], passes: int, device: torch.device
) -> None:
    """Passes over the whole network and over its operators, each in a range that ends with the device's work."""
    for _ in range(passes):
        with random_state(), record_function(WHOLE):
            run()
            synchronise(device)
    for _ in range(passes if calls else 0):
        with record_function(PASS):
            play(calls, timed, OperatorRanges())
            synchronise(device)


class OperatorRanges:
    """A stopwatch that only marks: the trace has the times."""

    def __init__(self) -> None:
        self._position = 0

    def start(self) -> None:
        self._range = record_function(operator_range(self._position))
        self._range.__enter__()
        self._position += 1

    def stop(self) -> None:
        self._range.__exit__(None, None, None)

    def seconds(self) -> list[float]:
        return []


def traced(run: Callable[[], Any]) -> str:
    """What torch.profiler exports of a run, with the kernels of the device if it can see them."""
    activities = torch.profiler.supported_activities() & {ProfilerActivity.CPU, ProfilerActivity.CUDA}
    with profiler(activities) as found:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        return path.read_text(encoding="utf-8", errors="replace")


def can_profile() -> bool:
    """Whether torch's profiler is free: only one can run at a time, and the caller may use it."""
    return not torch._C._autograd._profiler_enabled()


def profiler(activities: Iterable[ProfilerActivity], memory: bool = False) -> torch.profiler.profile:
    """torch's profiler, which writes nothing to the terminal."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # above all levels; read when a process first profiles
    return torch.profiler.profile(activities=activities, profile_memory=memory)


def graph_seconds(calls: Sequence[Call], timed: Sequence[bool], passes: int, device: torch.device) -> list[list[float]]:
    """The seconds of each timed operator in each replay of a graph that holds all operators, with events between them.

    Raises RuntimeError if an operator cannot be captured, for example because it waits for the device.
    """
    watch = EventStopwatch(lambda: torch.cuda.Event(enable_timing=True, external=True), lambda: synchronise(device))
    graph = torch.cuda.CUDAGraph()
    with forward_pass(), gc_paused(), torch.cuda.device(device):
        with torch.cuda.graph(graph):
            make(calls, timed, watch)
        rounds = []
        for _ in range(passes):
            graph.replay()
            rounds.append(watch.read())
    return rounds


def fused(kernel: str) -> tuple[str, ...]:
    """The kinds of operators that TorchInductor's name of a kernel lists; empty for any other kernel."""
    return tuple(KINDS.get(name, name) for name in fused_kinds(kernel, operator_names()))


@functools.cache
def operator_names() -> frozenset[str]:
    """The names of torch's own operators, without their overloads."""
    names = (schema.name for schema in torch._C._jit_get_all_schemas())
    return frozenset(name.removeprefix("aten::") for name in names if name.startswith("aten::"))
