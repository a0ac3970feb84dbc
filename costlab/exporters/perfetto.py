"""Trace-event JSON, for ui.perfetto.dev and chrome://tracing: predicted and measured time as a timeline.

Trace Event Format (Google, 2016): complete events "X" with `ts` and `dur` in microseconds, counters "C", metadata "M".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from costlab.core.graph import Op
from costlab.core.memory import live_activation_bytes
from costlab.core.metrics import MEASURED
from costlab.errors import CostlabError
from costlab.exporters.context import ExportContext
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title
from costlab.latency.verified import mark

THREAD = 1
COUNTER = "live activations"
SHOWN_COSTS = ("params", "mult_adds", "memory_access", "bytes_accessed")


class OpSlice(NamedTuple):
    """An operator in time, in whole nanoseconds, so that adjacent slices touch in every viewer."""

    position: int  # of the operator
    path: tuple[str, ...]  # the modules around it, outermost first
    start: int
    end: int


def trace(context: ExportContext) -> str:
    """A process for each timing: modules as nested slices with their operators in sequence, and live activations.

    Operators are in the order of the forward pass. The time outside of operators comes last.

    Raises CostlabError if there is neither a prediction nor a measurement.
    """
    prediction, measurement = context.prediction, context.measurement
    events: list[dict[str, Any]] = []
    if prediction:
        by_op, whole = prediction.by_op, prediction.seconds
        name = f"predicted for {prediction.device}{mark(prediction.verified)}"
        events += process(context, 1, name, by_op, whole, prediction.bound)
    if measurement:
        by_op, whole = context.seconds[MEASURED], measurement.whole.median
        events += process(context, 2, f"measured on {measurement.device}", by_op, whole, {})
    if not events:
        raise CostlabError("a trace needs times: predict them for a --device, or read them with --measured FILE")
    about = {"model": title(context.profile), "costlab": visible(context.profile.costlab)}
    lines = ",\n".join(map(json.dumps, events))
    return f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(about)}, "traceEvents": [\n{lines}\n]}}\n'


def process(
    context: ExportContext, pid: int, what: str, by_op: Mapping[str, float], whole: float, bound: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The events of one timing; a slice precedes the slices inside it."""
    profile = context.profile
    yield {"ph": "M", "pid": pid, "tid": THREAD, "name": "process_name", "args": {"name": visible(what)}}
    yield {"ph": "M", "pid": pid, "tid": THREAD, "name": "thread_name", "args": {"name": "forward pass"}}
    steps = steps_of(profile.ops, by_op)
    parts = steps[-1].end if steps else 0
    end = max(nanoseconds(whole), parts)
    yield event(pid, visible(profile.name), "network", 0, end, {"whole": units.seconds(whole)})
    types = {module.path: visible(module.type) for module in profile.trace.modules}
    yield from nested(context, pid, [step for step in steps if profile.ops[step.position].name in by_op], types, bound)
    if end > parts:
        yield event(pid, "overhead", "overhead", parts, end, {"is": "the whole less its operators"})
    for step, live in zip(steps, live_activation_bytes(profile.trace), strict=True):
        yield counter(pid, step.start, live)
    yield counter(pid, end, 0)


def steps_of(ops: Sequence[Op], by_op: Mapping[str, float]) -> list[OpSlice]:
    """Every operator in sequence; one without a time takes none."""
    steps, clock = [], 0.0
    for position, op in enumerate(ops):
        start, clock = clock, clock + by_op.get(op.name, 0.0)
        path = tuple(op.module.split(".")) if op.module else ()
        steps.append(OpSlice(position, path, nanoseconds(start), nanoseconds(clock)))
    return steps


def nested(
    context: ExportContext,
    pid: int,
    steps: Sequence[OpSlice],
    types: Mapping[str, str],
    bound: Mapping[str, str],
    depth: int = 0,
) -> Iterator[dict[str, Any]]:
    """Slices of modules at a depth, one per uninterrupted run, each followed by the slices inside it."""
    for inner, run in groupby(steps, key=lambda step: step.path[: depth + 1][depth:]):
        group = list(run)
        if inner:
            path = ".".join(group[0].path[: depth + 1])
            name = f"{visible(inner[0])} {types.get(path, '')}".rstrip()
            yield event(pid, name, "module", group[0].start, group[-1].end, {"module": visible(path)})
            yield from nested(context, pid, group, types, bound, depth + 1)
            continue
        for position, _, start, end in group:
            op, node = context.profile.ops[position], context.nodes[position]
            about = {"op": context.names[position], **{key: node[key] for key in SHOWN_COSTS if node[key]}}
            about |= {"output": units.shape(op.output.shape)} if op.outputs else {}
            about |= {"bound": bound[op.name]} if op.name in bound else {}
            yield event(pid, visible(op.kind), "operator", start, end, about)


def nanoseconds(seconds: float) -> int:
    """Whole nanoseconds."""
    return round(seconds * 1e9)


def event(pid: int, name: str, category: str, start: int, end: int, about: Mapping[str, Any]) -> dict[str, Any]:
    """A slice."""
    where = {"pid": pid, "tid": THREAD, "ts": start / 1000, "dur": (end - start) / 1000}
    return {"ph": "X", "name": name, "cat": category, **where, "args": about}


def counter(pid: int, at: int, live: int) -> dict[str, Any]:
    """The live activations at a time."""
    return {"ph": "C", "name": COUNTER, "pid": pid, "tid": THREAD, "ts": at / 1000, "args": {"bytes": live}}
