"""Kernels on a device, from a trace that torch.profiler exports: who launched each, and its share of the busy time.

The format is that of Kineto, torch.profiler's library: a Chrome trace whose events have a category (`cat`), a start and
a duration in microseconds, and arguments. A kernel and the runtime call that launched it have the same `correlation`;
a kernel without such a call can still have the `External id` of the operator that ran meanwhile. No torch.
"""

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from costlab.errors import CostlabError

ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset", "memcpy", "memset")
RUNTIME = ("cuda_runtime", "cuda_driver", "runtime")
OPERATOR = ("cpu_op", "operator")
ANNOTATION = ("user_annotation",)
MICROSECOND = 1e-6


class Launch(NamedTuple):
    """One kernel, copy or fill that ran on a device; times in seconds of the same clock."""

    name: str
    start: float
    end: float
    launched: float | None  # when the host called for it; None if the trace does not tell
    stream: int | None
    grid: tuple[int, ...] | None  # blocks
    block: tuple[int, ...] | None  # threads


class Range(NamedTuple):
    """What the host did between two times: a range of `torch.profiler.record_function`."""

    name: str
    start: float
    end: float


class KernelTrace(NamedTuple):
    """A trace: what ran on the device, in order of its start, and the ranges of the host, in order of theirs."""

    launches: list[Launch]
    ranges: list[Range]


def read_trace(text: str) -> KernelTrace:
    """Read a trace that `torch.profiler.profile.export_chrome_trace` wrote. Raises CostlabError for anything else."""
    try:
        document = json.loads(text)
        entries = document["traceEvents"] if isinstance(document, dict) else document
        events = [event for event in entries if isinstance(event, dict) and event.get("ph") == "X"]
        origin = min((event["ts"] for event in events), default=0)
        return trace_of(events, origin)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CostlabError(f"not a trace of torch.profiler: {type(error).__name__}: {error}") from None


def trace_of(events: Sequence[Mapping[str, Any]], origin: float) -> KernelTrace:
    """The kernels and ranges among complete events, with times since `origin`."""
    kinds = [str(event.get("cat", "")).lower() for event in events]
    seconds = [(event["ts"] - origin) * MICROSECOND for event in events]
    called: dict[tuple[str, Any], float] = {}  # start of a runtime call by its correlation, of an operator by its id
    for event, kind, start in zip(events, kinds, seconds, strict=True):
        name = "correlation" if kind in RUNTIME else "external id" if kind in OPERATOR else None
        if name is not None and argument(event, name) is not None:
            called[name, argument(event, name)] = start
    launches, ranges = [], []
    for event, kind, start in zip(events, kinds, seconds, strict=True):
        end = start + event["dur"] * MICROSECOND
        if kind in ANNOTATION:
            ranges.append(Range(event["name"], start, end))
        elif kind in ON_DEVICE:
            found = (called.get((name, argument(event, name))) for name in ("correlation", "external id"))
            launched = next((time for time in found if time is not None), None)
            grid, block = (triple(argument(event, name)) for name in ("grid", "block"))
            launches.append(Launch(event["name"], start, end, launched, argument(event, "stream"), grid, block))
    return KernelTrace(sorted(launches, key=lambda one: one.start), sorted(ranges, key=lambda one: one.start))


def argument(event: Mapping[str, Any], name: str) -> Any:
    """An argument of an event, whatever its spelling: older versions write `external id`, newer ones `External id`.

    None without it, and for an id of 0, which means that there is none.
    """
    arguments = event.get("args") or {}
    found = arguments.get(name, arguments.get(name.capitalize()))
    return found if found or name == "stream" else None


def triple(value: Any) -> tuple[int, ...] | None:
    """A grid or block of a kernel; None for a copy, which has none."""
    return tuple(map(int, value)) if isinstance(value, (list, tuple)) else None


def enclosing(times: Iterable[float | None], ranges: Sequence[Range]) -> Iterator[int | None]:
    """For each time the position of the range that it lies in; None outside of all, and for an unknown time.

    Args:
        ranges: in order, none of them inside another.
    """
    starts = [one.start for one in ranges]
    for time in times:
        position = -1 if time is None else bisect_right(starts, time) - 1
        yield position if time is not None and position >= 0 and time <= ranges[position].end else None


def busy_shares(launches: Sequence[Launch]) -> list[float]:
    """The seconds of the device's busy time that are due to each launch.

    Launches on different streams may overlap: whatever runs at a time shares it equally. So the shares sum to the
    length of the union of all intervals, which is the busy time.
    """
    marks = sorted({time for launch in launches for time in (launch.start, launch.end)})
    waiting = deque(sorted(range(len(launches)), key=lambda i: launches[i].start))
    shares = [0.0] * len(launches)
    running: list[int] = []
    for begin, end in pairwise(marks):
        while waiting and launches[waiting[0]].start <= begin:
            running.append(waiting.popleft())
        running = [i for i in running if launches[i].end > begin]
        for i in running:
            shares[i] += (end - begin) / len(running)
    return shares
