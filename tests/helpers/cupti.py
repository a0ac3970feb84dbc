"""A trace of torch.profiler on a CPU, with the kernels that a GPU would have run, in the format that Kineto writes."""

from __future__ import annotations

import json
import random
from typing import Any

LAUNCH_FREE = ("aten::view", "aten::as_strided", "aten::empty", "aten::transpose", "aten::reshape", "aten::resize")


def complete(category: str, name: str, start: float, duration: float, place: tuple[int, int], **args: Any) -> dict:
    """A complete event, times in microseconds."""
    process, thread = place
    kind = {"ph": "X", "cat": category, "name": name, "pid": process, "tid": thread}
    return {**kind, "ts": start, "dur": duration, "args": args}


def launch(start: float, correlation: int, thread: int = 1, name: str = "cudaLaunchKernel", external: int = 0) -> dict:
    """The runtime call that launches a kernel."""
    ids = {"External id": external, "cbid": 211, "correlation": correlation}
    return complete("cuda_runtime", name, start, 2.0, (1, thread), **ids)


def kernel(
    name: str, start: float, duration: float, correlation: int, stream: int = 7, external: int = 0, **changes: Any
) -> dict:
    """A kernel, with the arguments that CUPTI reports."""
    facts = {
        "External id": external,
        "queued": 0,
        "device": 0,
        "context": 1,
        "stream": stream,
        "correlation": correlation,
        "registers per thread": 32,
        "shared memory": 0,
        "blocks per SM": 0.5,
        "warps per SM": 2.0,
        "grid": [66, 1, 1],
        "block": [128, 1, 1],
        "est. achieved occupancy %": 3,
    }
    return complete("kernel", name, start, duration, (0, stream), **{**facts, **changes})


def document(*events: dict) -> str:
    """A trace with these events."""
    return json.dumps({"schemaVersion": 1, "deviceProperties": [{"id": 0}], "traceEvents": list(events)})


def with_kernels(text: str, seed: int = 0) -> tuple[str, dict[str, float]]:
    """A trace of a CPU with a kernel for every innermost operator, and the kernels' microseconds by operator's name.

    A kernel starts after the call that launches it and ends before its operator does, so that the device is never
    behind, and no two overlap.
    """
    trace, draw = json.loads(text), random.Random(seed)
    operators = [
        event
        for event in trace["traceEvents"]
        if event.get("cat") == "cpu_op" and not event["name"].startswith(LAUNCH_FREE)
    ]
    made, seconds = [], {}
    for number, event in enumerate(innermost(operators), 1):
        begin, length = event["ts"] + 0.2 * event["dur"], 0.5 * event["dur"] * draw.random()
        made += [
            launch(event["ts"], 1000 + number, event["tid"], external=event["args"]["External id"]),
            kernel(f"void {event['name'][6:]}_kernel<float>", begin, length, 1000 + number),
        ]
        seconds[event["name"]] = seconds.get(event["name"], 0.0) + length
    trace["traceEvents"] += made
    return json.dumps(trace), seconds


def innermost(events: list[dict]) -> list[dict]:
    """The events in which no other one begins."""
    events = sorted(events, key=lambda event: (event["ts"], -event["dur"]))
    follow = [*events[1:], None]
    return [
        one for one, after in zip(events, follow, strict=True) if after is None or after["ts"] >= one["ts"] + one["dur"]
    ]
