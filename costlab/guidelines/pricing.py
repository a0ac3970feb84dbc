"""The seconds that fixes save: the predicted latency of the network as it is, less that of the network with the fix.

Operators outside the fix stay as they are: a saving is that of one fix alone. On a GPU that waits for the CPU to launch
kernels, a faster operator saves little, and a removed one saves its launch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from costlab.core.fusion import CONSTANT, capped, storage_sizes
from costlab.core.profile import Profile
from costlab.guidelines.model import Fix
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import WORK, Kernel, KernelTable, lower_with_replacements
from costlab.latency.roofline import RooflineModel, whole_seconds


def seconds_saved(profile: Profile, view: Profile, fixes: Sequence[Fix], config: ExecutionConfig) -> list[float]:
    """Seconds of one forward pass that each fix saves alone; negative if it costs time.

    Args:
        profile: the network as traced.
        view: `profile` or a fusion of it: what positions in `fixes` refer to.
        fixes: what to change.
        config: how the network runs, at the traced batch.
    """
    kernels, replaced = lower_with_replacements(profile, view, config, [fix.replaced for fix in fixes])
    by_position: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        by_position.setdefault(kernel.op, []).append(kernel)
    sizes = storage_sizes(view.trace)
    added = [
        [*new, *chain.from_iterable(merge_operators(view, level, by_position, sizes) for level in fix.merged)]
        for fix, new in zip(fixes, replaced, strict=True)
    ]
    before = RooflineModel(KernelTable(kernels, len(view.ops)), config.device)
    after = RooflineModel(KernelTable([*chain.from_iterable(added)], len(view.ops)), config.device)
    seconds = np.bincount(before.kernels.op, before.terms(config.efficiency).seconds, len(view.ops))
    launches = np.bincount(before.kernels.op, minlength=len(view.ops))
    owner = np.repeat(np.arange(len(fixes)), [len(new) for new in added])  # the fix of each added kernel
    added_seconds = np.bincount(owner, after.terms(config.efficiency, before.weights).seconds, len(fixes))
    dropped = [[*fix.removed, *fix.replaced, *chain.from_iterable(fix.merged)] for fix in fixes]
    fixed = whole_seconds(
        seconds.sum() + added_seconds - [seconds[positions].sum() for positions in dropped],
        launches.sum() + [len(new) for new in added] - np.array([launches[positions].sum() for positions in dropped]),
        config.efficiency,
        config.gpu,
    )
    whole = whole_seconds(seconds.sum(), launches.sum(), config.efficiency, config.gpu)
    return [float(whole - each) for each in np.asarray(fixed)]


def merge_operators(
    view: Profile, level: Sequence[int], kernels: Mapping[int, Sequence[Kernel]], sizes: dict[int, tuple[int, int]]
) -> list[Kernel]:
    """The kernels of independent operators as those of one operator: one kernel for each kind of work.

    Pooling cannot be part of a product, and the time of a depthwise convolution grows with its taps, so kernels of
    other sizes stay apart. What several of the operators read is read once; what they write is written.
    """
    alike: dict[tuple[int, float], list[Kernel]] = {}
    for kernel in (kernel for position in level for kernel in kernels.get(position, ())):
        taps = kernel.taps if kernel.work == WORK["depthwise_convolution"] else 0
        alike.setdefault((kernel.work, taps), []).append(kernel)
    return [merge_kernels(group, share_read_once(view, group, sizes)) for group in alike.values()]


def share_read_once(view: Profile, kernels: Sequence[Kernel], sizes: dict[int, tuple[int, int]]) -> float:
    """The share of the bytes read by kernels that remains if each value is read once. Copies are read apart."""
    fragments = {k.op for k in kernels if k.flops or k.work == WORK["pooling"]}
    reads = [t for position in fragments for t in view.ops[position].inputs if t.role not in CONSTANT]
    return capped(reads, sizes)[1] / sum(t.bytes for t in reads) if any(t.bytes for t in reads) else 1.0


def merge_kernels(kernels: Sequence[Kernel], share: float) -> Kernel:
    """One kernel with the work of several, which reads the `share` of what they read.

    It has the form of the largest: with more products if that has several, else wider.
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
        read=read * share,
        written=sum(k.written for k in kernels),
        window=sum(k.read * k.window for k in kernels) / read if read else 0.0,
        constant=sum(k.constant for k in kernels),
    )
