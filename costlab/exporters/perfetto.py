"""Trace-event JSON, for ui.perfetto.dev and chrome://tracing: predicted and measured time as a timeline.

Trace Event Format (Google, 2016): complete events "X" with `ts` and `dur` in microseconds, counters "C", metadata "M".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from costlab.core.graph import Op
from costlab.core.memory import live_activation_bytes
from costlab.errors import CostlabError
from costlab.exporters.context import Known
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title

THREAD = 1
COUNTER = "live activations"
TOLD = ("params", "mult_adds", "memory_access", "bytes_accessed")


class Step(NamedTuple):
    """An operator in time. Whole nanoseconds, so that slices that touch do so in every viewer."""

    position: int
    path: tuple[str, ...]  # the modules around it, outermost first
    start: int
    end: int


def trace(known: Known) -> str:
    """A process a timing: modules as nested slices, operators in them one after the other, live activations beside.

    Operators stand in the order of the forward pass. What the whole takes longer than its operators comes last.

    Raises:
        CostlabError: no time is known.
    """
    prediction, measurement = known.prediction, known.measurement
    events: list[dict[str, Any]] = []
    if prediction:
        by_op, whole = known.seconds["predicted_seconds"], prediction.seconds
        events += process(known, 1, f"predicted for {prediction.device}", by_op, whole, prediction.bound)
    if measurement:
        by_op, whole = known.seconds["measured_seconds"], measurement.whole.median
        events += process(known, 2, f"measured on {measurement.device}", by_op, whole, {})
    if not events:
        raise CostlabError("a trace is of time: name a --device to predict for, or a file with --measured")
    about = {"model": title(known.profile), "costlab": visible(known.profile.costlab)}
    lines = ",\n".join(map(json.dumps, events))
    return f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(about)}, "traceEvents": [\n{lines}\n]}}\n'


def process(
    known: Known, pid: int, what: str, by_op: Mapping[str, float], whole: float, bound: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The events of one timing; a slice comes before those inside it."""
    profile = known.profile
    yield {"ph": "M", "pid": pid, "tid": THREAD, "name": "process_name", "args": {"name": visible(what)}}
    yield {"ph": "M", "pid": pid, "tid": THREAD, "name": "thread_name", "args": {"name": "forward pass"}}
    steps = steps_of(profile.ops, by_op)
    parts = steps[-1].end if steps else 0
    end = max(nanoseconds(whole), parts)
    yield event(pid, visible(profile.name), "network", 0, end, {"whole": units.seconds(whole)})
    types = {module.path: visible(module.type) for module in profile.trace.modules}
    yield from nested(known, pid, [step for step in steps if profile.ops[step.position].name in by_op], types, bound)
    if end > parts:
        yield event(pid, "overhead", "overhead", parts, end, {"is": "the whole less its operators"})
    for step, held in zip(steps, live_activation_bytes(profile.trace), strict=True):
        yield counter(pid, step.start, held)
    yield counter(pid, end, 0)


def steps_of(ops: Sequence[Op], by_op: Mapping[str, float]) -> list[Step]:
    """Every operator where its turn comes; one without a time takes none."""
    steps, clock = [], 0.0
    for position, op in enumerate(ops):
        start, clock = clock, clock + by_op.get(op.name, 0.0)
        path = tuple(op.module.split(".")) if op.module else ()
        steps.append(Step(position, path, nanoseconds(start), nanoseconds(clock)))
    return steps


def nested(
    known: Known, pid: int, steps: Sequence[Step], types: Mapping[str, str], bound: Mapping[str, str], depth: int = 0
) -> Iterator[dict[str, Any]]:
    """Slices of the modules at a depth, each for as long as it runs without a break, and of what is inside."""
    for inner, run in groupby(steps, key=lambda step: step.path[: depth + 1][depth:]):
        group = list(run)
        if inner:
            path = ".".join(group[0].path[: depth + 1])
            name = f"{visible(inner[0])} {types.get(path, '')}".rstrip()
            yield event(pid, name, "module", group[0].start, group[-1].end, {"module": visible(path)})
            yield from nested(known, pid, group, types, bound, depth + 1)
            continue
        for position, _, start, end in group:
            op, node = known.profile.ops[position], known.nodes[position]
            about = {"op": known.names[position], **{key: node[key] for key in TOLD if node[key]}}
            about |= {"output": units.shape(op.output.shape)} if op.outputs else {}
            about |= {"bound": bound[op.name]} if op.name in bound else {}
            yield event(pid, visible(op.kind), "operator", start, end, about)


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def event(pid: int, name: str, category: str, start: int, end: int, about: Mapping[str, Any]) -> dict[str, Any]:
    """A slice."""
    where = {"pid": pid, "tid": THREAD, "ts": start / 1000, "dur": (end - start) / 1000}
    return {"ph": "X", "name": name, "cat": category, **where, "args": about}


def counter(pid: int, at: int, held: int) -> dict[str, Any]:
    return {"ph": "C", "name": COUNTER, "pid": pid, "tid": THREAD, "ts": at / 1000, "args": {"bytes": held}}
