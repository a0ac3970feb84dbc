"""What stands above every table: the network, what it was given, its totals, and how far they can be trusted."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.escaping import visible

if TYPE_CHECKING:
    from costlab.latency.prediction import Prediction

INPUTS_SHOWN = 6


class Fact(NamedTuple):
    """A line of the header."""

    label: str
    value: str
    alarm: str = ""  # "estimate" or "uncounted" where the totals are not the whole truth


def title(profile: Profile) -> str:
    """`mobilenet_v2 (zoo, width=0.75)`."""
    given = [f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in profile.arguments.items()]
    return visible(f"{profile.name} ({', '.join([profile.provider, *given])})")


def facts(profile: Profile, prediction: Prediction | None = None) -> list[Fact]:
    """The header of a profile, line by line."""
    cost = profile.total
    about = "about " if profile.estimated else ""
    rough = "at least " if profile.uncounted else about
    unused = f", {units.exact(cost.unused_params)} of them unused" if cost.unused_params else ""
    elements, size = units.short(cost.memory_access), units.size(cost.bytes_accessed)
    return [
        *inputs(profile),
        Fact("mode", f"{profile.mode}, one forward pass"),
        Fact("mult-adds", f"{rough}{units.both(cost.mult_adds)}"),
        Fact("FLOPs", f"{rough}{units.short(cost.flops)} (1 mult-add = 2 FLOPs)"),
        Fact("params", f"{units.both(cost.params)}{unused}"),
        Fact("memory access", f"{rough}{elements} elements, {size}"),
        Fact("peak activation", f"{about}{units.size(cost.peak_activation_bytes)}"),
        *(latency(prediction) if prediction else ()),
        *coverage(profile),
    ]


def latency(prediction: Prediction) -> list[Fact]:
    """What is predicted for a device, and what bounds it."""
    bounds = Counter[str]()
    for op, seconds in prediction.by_op.items():
        bounds[prediction.bound[op]] += seconds  # type: ignore[assignment]
    whole = prediction.seconds or 1.0
    parts = [f"{units.percent(seconds / whole)} {bound}-bound" for bound, seconds in bounds.most_common()]
    if prediction.overhead_seconds > whole / 100:
        parts.append(f"{units.percent(prediction.overhead_seconds / whole)} waiting for the host")
    predicted = units.seconds(prediction.seconds)
    return [
        Fact("latency", f"{predicted} predicted on {visible(running(prediction))}"),
        Fact("latency", ", ".join(parts)),
    ]


def running(prediction: Prediction) -> str:
    """`rtx3090, batch 8, autocast, fusion pointwise`."""
    said = [prediction.device]
    if prediction.batch is not None:
        said.append(f"batch {prediction.batch}")
    said += [prediction.dtype] if prediction.dtype else []
    said += ["autocast"] if prediction.amp else []
    said += ["channels-last"] if prediction.channels_last else []
    said += [f"fusion {prediction.fusion}"] if prediction.fusion != "none" else []
    return ", ".join(said)


def inputs(profile: Profile) -> list[Fact]:
    given = profile.trace.inputs
    lines = [f"{visible(i.name)} {units.shape(i.shape)} {i.dtype}" for i in given[:INPUTS_SHOWN]]
    if len(given) > INPUTS_SHOWN:
        lines.append(f"and {len(given) - INPUTS_SHOWN} more")
    return [Fact("input", line) for line in lines or ["none"]]


def coverage(profile: Profile) -> list[Fact]:
    """How many operators the totals are made of, what was guessed, and what is missing."""
    free = sum(op.free for op in profile.ops)
    uncounted = sum(profile.uncounted.values())
    lines = [Fact("operators", f"{len(profile.ops) - free - uncounted} counted, {free} free (views)")]
    if profile.estimated:
        resting = sum(profile.estimated.values())
        guesses = visible(units.times(profile.guesses))
        lines.append(Fact("estimate", f"sizes guessed by {guesses}; {resting} operators rest on them", "estimate"))
    if uncounted:
        kinds = visible(units.times(profile.uncounted))
        lines.append(Fact("UNCOUNTED", f"no cost rule for {kinds}: the totals leave them out", "uncounted"))
    return lines
