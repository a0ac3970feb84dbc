"""Seconds of one step on a device, and what they are spent on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.generations.cache_kernels import ATTENTION, CacheKernel, has_weights, reads_cache, with_cache_kernels
from costlab.generations.engines import Engine
from costlab.generations.weights import PACKED
from costlab.latency._predict import kernel_table
from costlab.latency.device import Device, Link
from costlab.latency.execution import ExecutionConfig
from costlab.latency.roofline import RooflineModel

PARTS = ("compute", "weights", "cache", "activations", "launches", "scheduling", "communication")
CACHE_SHARE = 0.8  # of a device's peaks that kernels reach on the cache, whose reads they split among all units
HOST = 4  # exponent of the transition between waiting for the device and waiting for Python


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step by what bounds them."""

    seconds: float
    parts: dict[str, float]  # by PARTS

    @property
    def bound(self) -> str:
        """What takes the largest part."""
        return max(self.parts, key=lambda part: self.parts[part])


def timed(
    profile: Profile,
    device: Device,
    engine: Engine,
    batch: int,
    *,
    communication: float = 0.0,
    computes: str | None = None,
    cache_scale: float = 1.0,
) -> StepTime:
    """Predict one step.

    Args:
        profile: a step at its batch, with its weights as they are stored.
        batch: sequences.
        communication: seconds of exchange with other devices.
        computes: the narrower type in which products with stored weights are computed, where the device has it.
        cache_scale: bytes of the stored cache by those of the traced one.
    """
    kernels: list[CacheKernel] = []
    if engine.schedules:
        profile, kernels = with_cache_kernels(profile, batch)
    elif engine.cache_in_place:
        profile = without_cache_copies(profile)
    parts = dict.fromkeys(PARTS, 0.0)
    for part, seconds in (
        *operator_seconds(profile, device, engine, computes, cache_scale),
        *kernel_seconds(kernels, device, cache_scale),
    ):
        parts[part] += seconds * engine.device_factor
    parts["scheduling"] = engine.step_seconds
    total = sum(parts.values())
    if engine.launches:
        host = sum(not op.free for op in profile.ops) * (device.launch_seconds + engine.operator_seconds)
        parts["launches"] = max(parts["launches"], host if host > total else 0.0)
        total = (total**HOST + host**HOST) ** (1 / HOST)
    parts["communication"] = communication
    return StepTime(total + communication, parts)


def operator_seconds(
    profile: Profile, device: Device, engine: Engine, computes: str | None, cache_scale: float
) -> Iterator[tuple[str, float]]:
    """What each operator's time is spent on, and the time."""
    config = ExecutionConfig(device, fusion=engine.fusion)
    view = profile.fused(engine.fusion)
    kernels = kernel_table(profile, view, config)
    terms = RooflineModel(kernels, device).terms(config.efficiency)
    work, launch, memory, issue, matrix = (
        np.bincount(kernels.op, term, kernels.ops)
        for term in (terms.seconds - terms.launch, terms.launch, terms.memory, terms.issue, terms.matrix)
    )
    present = np.unique(kernels.op).tolist()
    counts = merged([view.ops[n] for n in present]) if engine.schedules else np.ones(len(present))
    for n, count in zip(present, counts, strict=True):
        op, cost, seconds = view.ops[n], view.costs[n], float(work[n])
        one = terms.launch.min() if engine.schedules else launch[n]
        part = "compute" if matrix[n] > max(memory[n], issue[n]) else memory_part(op)
        if reads_one_token(op) and cost is not None:
            stored = cost.bytes_accessed - (1 - cache_scale) * (op["key"].bytes + op["value"].bytes)
            part, seconds = "cache", stored / (CACHE_SHARE * device.bandwidth)
        elif reads_cache(op):
            seconds *= cache_scale
        elif op.kind == "embedding" and cost is not None:  # rows of the table, not all of it
            seconds = cost.bytes_accessed / device.bandwidth
        elif part == "compute" and any(t.role == "parameter" and t.dtype == PACKED for t in op.inputs):
            seconds /= narrower(device, computes)
        yield part, seconds
        yield "launches", float(one * count)


def merged(ops: Sequence[Op]) -> list[int]:
    """How many kernels a serving engine launches for each operator: 1, or 0 where another one does its work.

    Layers with the same input are one product, and all between two products or attentions is one kernel.
    """
    counts, inputs, between = [], set[int](), False
    for op in ops:
        if has_weights(op):
            storage = next(t.storage for t in op.inputs if t.role != "parameter")
            counts.append(0 if storage in inputs else 1)
            inputs.add(storage)
        else:
            counts.append(0 if between and op.kind not in ATTENTION else 1)
        between = not has_weights(op) and op.kind not in ATTENTION
    return counts


def kernel_seconds(kernels: list[CacheKernel], device: Device, cache_scale: float) -> Iterator[tuple[str, float]]:
    """What the time of the kernels on the cache is spent on, and the time."""
    for kernel in kernels:
        moved = kernel.cache_bytes * cache_scale / (CACHE_SHARE * device.bandwidth)
        computed = 2 * kernel.mult_adds / (CACHE_SHARE * device.peak_flops("bfloat16"))
        yield ("compute", computed) if computed > moved else ("cache", moved)
        yield "weights", kernel.weight_bytes / device.bandwidth


def reads_one_token(op: Op) -> bool:
    """Whether an operator is attention of one query a sequence, which kernels split along the cache."""
    return op.kind in ATTENTION and op["query"].shape[-2] == 1


def narrower(device: Device, computes: str | None) -> float:
    """How much faster the matrix units of a device are in a narrower type than in bfloat16; 1 where they lack it."""
    peaks = device.matrix_flops
    if computes is None or computes not in peaks or "bfloat16" not in peaks:
        return 1.0
    return peaks[computes] / peaks["bfloat16"]


def memory_part(op: Op) -> str:
    """What the time of an operator is spent on if it is not arithmetic."""
    if op.kind in ATTENTION or reads_cache(op):
        return "cache"
    return "weights" if has_weights(op) else "activations"


def without_cache_copies(profile: Profile) -> Profile:
    """A step whose concatenations of the cache with new keys and values are free."""
    ops = tuple(replace(op, free=True) if op.kind == "cat" and reads_cache(op) else op for op in profile.ops)
    return replace(profile, trace=replace(profile.trace, ops=ops))


def all_reduce_seconds(size: int, calls: int, devices: int, link: Link) -> float:
    """Seconds of `calls` ring all-reduces of `size` bytes together: each byte crosses a link 2 (n - 1) / n times."""
    return calls * link.latency + 2 * (devices - 1) / devices * size / link.bandwidth
