"""What following an advice saves in seconds: the whole network predicted as it is, less the same with the change.

Everything but the operators of the change stays as it was, so a saving is of one place alone. On a GPU that waits for
the host a faster operator saves little, and one operator less saves its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from costlab.core.fusion import CONSTANT, capped, storage_sizes
from costlab.core.profile import Profile
from costlab.guidelines.model import Change
from costlab.latency.devices import Device
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import WORK, Kernel, KernelTable, lower_with_replacements
from costlab.latency.roofline import RooflineModel, whole_seconds


def seconds_saved(
    profile: Profile, view: Profile, changes: Sequence[Change], device: Device, compiled: bool
) -> list[float]:
    """What each change saves of a forward pass at the traced batch, alone; negative where it costs time.

    Args:
        view: what `changes` count positions in: `profile` or a fusion of it.
        compiled: generated code runs it, as with fusion "pointwise" of `predict`.
    """
    config = ExecutionConfig(device, fusion="pointwise" if compiled else "none")
    kernels, replaced = lower_with_replacements(profile, view, config, [change.replaced for change in changes])
    before: dict[int, list[Kernel]] = {}  # by position
    for kernel in kernels:
        before.setdefault(kernel.op, []).append(kernel)
    sizes = storage_sizes(view.trace)
    after: list[Kernel] = []
    owner: list[int] = []  # the number of the change that each of them belongs to
    for number, (change, found) in enumerate(zip(changes, replaced, strict=True)):
        for level in change.merged:
            found = found + side_by_side(view, level, before, sizes)
        after += found
        owner += [number] * len(found)

    efficiency = config.efficiency
    model = RooflineModel(KernelTable(kernels, len(view.ops)), device)
    other = RooflineModel(KernelTable(after, len(view.ops)), device)
    seconds = np.bincount(model.kernels.op, model.terms(efficiency).seconds, len(view.ops))
    starts = np.bincount(model.kernels.op, minlength=len(view.ops))
    touched = [[*c.removed, *c.replaced, *chain.from_iterable(c.merged)] for c in changes]
    numbers = np.array(owner, dtype=int)
    came = np.bincount(numbers, other.terms(efficiency, model.weights).seconds, len(changes))
    started = np.bincount(numbers, minlength=len(changes))
    busy = seconds.sum() + came - [seconds[positions].sum() for positions in touched]
    launches = starts.sum() + started - [starts[positions].sum() for positions in touched]
    whole = whole_seconds(seconds.sum(), starts.sum(), efficiency, model.gpu)
    return [float(whole - changed) for changed in np.asarray(whole_seconds(busy, launches, efficiency, model.gpu))]


def side_by_side(
    view: Profile, level: Sequence[int], kernels: Mapping[int, Sequence[Kernel]], sizes: dict[int, tuple[int, int]]
) -> list[Kernel]:
    """The kernels of operators as those of one: one for each kind of work, as pooling cannot be part of a product.

    The time of a depthwise convolution grows with its taps, so each size of them has one of its own. What several of
    the operators read is read once, what they write is written.
    """
    forms: dict[tuple[int, float], list[Kernel]] = {}
    for kernel in (kernel for m in level for kernel in kernels.get(m, ())):
        taps = kernel.taps if kernel.work == WORK["depthwise_convolution"] else 0
        forms.setdefault((kernel.work, taps), []).append(kernel)
    return [joined(found, read_once(view, found, sizes)) for found in forms.values()]


def read_once(view: Profile, kernels: Sequence[Kernel], sizes: dict[int, tuple[int, int]]) -> float:
    """The share of what kernels read that is left where each value is read once; copies each have their own."""
    fragments = {k.op for k in kernels if k.flops or k.work == WORK["pooling"]}
    reads = [t for position in fragments for t in view.ops[position].inputs if t.role not in CONSTANT]
    return capped(reads, sizes)[1] / sum(t.bytes for t in reads) if any(t.bytes for t in reads) else 1.0


def joined(kernels: Sequence[Kernel], once: float) -> Kernel:
    """Kernels as one in the form of the largest: more products where it has several of them, else a wider one.

    It reads the share `once` of what they read.
    """
    largest = max(kernels, key=lambda k: (k.flops, k.read + k.written))
    flops, read = sum(k.flops for k in kernels), sum(k.read for k in kernels)
    grown = flops / largest.flops if largest.flops else 1.0
    several = largest.products > 1
    return largest._replace(
        n=largest.n if several else largest.n * grown,
        products=largest.products * grown if several else largest.products,
        flops=flops,
        operations=sum(k.operations for k in kernels),
        transcendental=sum(k.transcendental for k in kernels),
        read=read * once,
        written=sum(k.written for k in kernels),
        window=sum(k.read * k.window for k in kernels) / read if read else 0.0,
        constant=sum(k.constant for k in kernels),
    )
