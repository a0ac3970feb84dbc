"""The header of a profile: the network, its inputs, its totals, and how exact they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from costlab.core.graph import InputInfo
from costlab.core.memory import peak_of_step
from costlab.core.profile import Profile
from costlab.core.step_document import communication
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.facts import Fact

if TYPE_CHECKING:
    from costlab.guidelines.what_ifs import WhatIfs
    from costlab.latency.prediction import Prediction

INPUTS_SHOWN = 6
MODULES_SHOWN = 4
DO_FIRST = "do first"


def facts(profile: Profile, prediction: Prediction | None = None, what_ifs: WhatIfs | None = None) -> list[Fact]:
    """The header of a profile, line by line."""
    cost = profile.total
    about = "about " if profile.estimated else ""
    rough = "at least " if profile.uncounted else about
    elements, size = units.short(cost.memory_access), units.size(cost.bytes_accessed)
    return [
        *inputs(profile.trace.inputs),
        Fact("mode", mode(profile)),
        Fact("mult-adds", f"{rough}{units.both(cost.mult_adds)}"),
        Fact("FLOPs", f"{rough}{units.short(cost.flops)} (1 mult-add = 2 FLOPs)"),
        Fact("params", f"{units.both(cost.params)}{frozen(profile)}{unread(profile)}"),
        *(Fact("buffers", units.size(size)) for size in (profile.trace.buffer_bytes,) if size),
        Fact("memory access", f"{rough}{elements} elements, {size}"),
        Fact("peak activation", f"{about}{units.size(cost.peak_activation_bytes)}"),
        *memory(profile, about),
        *(latency(prediction) if prediction else ()),
        *what_first(what_ifs),
        *coverage(profile),
        *never_ran(profile),
    ]


def frozen(profile: Profile) -> str:
    """How many parameters train, and how many do not, if there are any."""
    trainable = profile.total.trainable_params
    if trainable is None or trainable == profile.params:
        return ""
    return f", {units.exact(trainable)} trainable, {units.exact(profile.params - trainable)} frozen"


def unread(profile: Profile) -> str:
    """How many parameters no operator reads, and whether because no input reached their modules."""
    idle = sum(profile.never_ran.values())
    unused = profile.total.unused_params - idle
    parts = [f"{units.exact(idle)} of them in modules that never ran"] if idle else []
    parts += [f"{units.exact(unused)} {'' if idle else 'of them '}unused"] if unused else []
    return "".join(f", {part}" for part in parts)


def never_ran(profile: Profile) -> list[Fact]:
    """The modules that no input reached, and what input they may have missed."""
    paths = profile.never_ran
    lines = [f"{path} ({units.exact(paths[path])} params)" for path in list(paths)[:MODULES_SHOWN]]
    if len(paths) > MODULES_SHOWN:
        lines.append(f"and {len(paths) - MODULES_SHOWN} more modules")
    if lines and profile.inputs_not_given:
        lines.append(f"not given: {profile.inputs_not_given}")
    return [Fact("never ran", line) for line in lines]


def mode(profile: Profile) -> str:
    """What was traced."""
    step = profile.trace.step
    return f"{profile.mode}, one forward pass" if step is None else f"step: forward, backward, {step.optimizer}"


def memory(profile: Profile, about: str) -> list[Fact]:
    """The memory of a training step."""
    step = profile.trace.step
    if step is None:
        return []
    peak = peak_of_step(profile.trace)
    parts = sorted(((size, name) for name, size in peak.categories.items() if size), reverse=True)
    return [
        Fact("trainable", units.both(step.trainable_params)),
        Fact("saved", f"{about}{units.size(profile.total.saved_bytes)} for the backward pass"),
        Fact("peak memory", f"{about}{units.size(peak.bytes)} at {visible(profile.ops[peak.position].name)}"),
        Fact("peak memory", ", ".join(f"{name} {units.size(size)}" for size, name in parts)),
        *sent(profile, step.shards),
    ]


def sent(profile: Profile, shards: int) -> list[Fact]:
    """What the devices that share a model send each other."""
    if shards == 1:
        return []
    gather, scatter = map(units.size, communication(profile.trace))
    return [Fact("communication", f"{gather} all-gather, {scatter} reduce-scatter for each of {shards} devices")]


def latency(prediction: Prediction) -> list[Fact]:
    """The predicted latency, and what bounds it."""
    bounds = Counter[str]()
    for op, seconds in prediction.by_op.items():
        bounds[prediction.bound[op]] += seconds  # type: ignore[assignment]
    whole = prediction.seconds or 1.0
    parts = [f"{units.percent(seconds / whole)} {bound}-bound" for bound, seconds in bounds.most_common()]
    if prediction.overhead_seconds > whole / 100:
        where = "waiting for the CPU to launch kernels" if prediction.gpu else "outside operators"
        parts.append(f"{units.percent(prediction.overhead_seconds / whole)} {where}")
    predicted = units.seconds(prediction.seconds)
    return [
        Fact("latency", f"{predicted} predicted on {prediction.setup}", "" if prediction.verified else "estimate"),
        *phases(prediction),
        Fact("latency", ", ".join(parts)),
    ]


def phases(prediction: Prediction) -> list[Fact]:
    """The predicted seconds of the phases of a training step."""
    parts = [f"{phase} {units.seconds(seconds)}" for phase, seconds in prediction.by_phase.items()]
    return [Fact("latency", ", ".join(parts))] if parts else []


def inputs(tensors: Sequence[InputInfo]) -> list[Fact]:
    """The shapes and dtypes of a network's inputs."""
    lines = [f"{i.name} {units.shape(i.shape)} {i.dtype}" for i in tensors[:INPUTS_SHOWN]]
    if len(tensors) > INPUTS_SHOWN:
        lines.append(f"and {len(tensors) - INPUTS_SHOWN} more")
    return [Fact("input", line) for line in lines or ["none"]]


def coverage(profile: Profile) -> list[Fact]:
    """How many operators the totals include, which sizes were guessed, and what is missing."""
    free = sum(op.free for op in profile.ops)
    uncounted = sum(profile.uncounted.values())
    lines = [Fact("operators", f"{len(profile.ops) - free - uncounted} counted, {free} free (views)")]
    if profile.estimated:
        dependent = sum(profile.estimated.values())
        guesses = units.times(profile.guesses)
        depend = "1 operator depends" if dependent == 1 else f"{dependent} operators depend"
        lines.append(Fact("estimate", f"sizes guessed by {guesses}; {depend} on them", "estimate"))
    for loop in profile.ended_loops:
        line = f"{loop.source.file}:{loop.source.line}" if loop.source else "an unknown line"
        rounds = f"ended after {loop.rounds} rounds (--max-iterations): its condition is unknown"
        lines.append(Fact("loop", f"{visible(line)} {rounds}", "estimate"))
    if uncounted:
        kinds = units.times(profile.uncounted)
        lines.append(Fact("UNCOUNTED", f"no cost rule for {kinds}: the totals leave them out", "uncounted"))
    return lines


def what_first(what_ifs: WhatIfs | None) -> Iterator[Fact]:
    """The changes that save most, best first, or that none is worth it; nothing without a device."""
    for line in str(what_ifs).splitlines() if what_ifs else ():
        yield Fact(DO_FIRST, line)
