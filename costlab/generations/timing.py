"""Seconds of one step on a device, and what they are spent on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.generations.engines import Engine
from costlab.generations.weights import PACKED
from costlab.latency._predict import predict_with
from costlab.latency.device import Device
from costlab.latency.execution import ExecutionConfig

PARTS = ("compute", "weights", "cache", "activations", "launches", "communication")
CACHE_SHARE = 0.8  # of a device's bandwidth that attention of one token reaches, split along the cache
ATTENTION = ("scaled_dot_product_attention", "flex_attention")


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
    communication: float = 0.0,
    computes: str | None = None,
) -> StepTime:
    """Predict one step.

    Args:
        profile: a step at its batch, with its weights as they are stored.
        batch: sequences.
        communication: seconds of exchange with other devices.
        computes: the narrower type in which products with stored weights are computed, where the device has it.
    """
    if engine.cache_in_place:
        profile = without_cache_copies(profile)
    config = ExecutionConfig(device, fusion=engine.fusion)
    prediction = predict_with(profile, config)
    view = profile.fused(engine.fusion)
    by_name = {op.name: op for op in view.ops}
    read = {op.name: cost.bytes_accessed for op, cost in zip(view.ops, view.costs, strict=True) if cost is not None}
    parts = dict.fromkeys(PARTS, 0.0)
    faster = narrower(device, computes)
    for name, seconds in prediction.by_op.items():
        part = part_of(by_name[name], prediction.bound[name])
        if reads_one_token(by_name[name]):
            part, seconds = "cache", read[name] / (CACHE_SHARE * device.bandwidth)
        is_packed = part == "compute" and any(t.role == "parameter" and t.dtype == PACKED for t in by_name[name].inputs)
        parts[part] += seconds * engine.device_factor / (faster if is_packed else 1.0)
    device_seconds = sum(parts.values())
    host = batch * engine.sequence_seconds
    total = device_seconds + host
    if engine.launches:
        operators = sum(not op.free for op in profile.ops)
        host = operators * (device.launch_seconds + engine.operator_seconds)
        total = (device_seconds**4 + host**4) ** 0.25
        parts["launches"] = max(parts["launches"], host if host > device_seconds else 0.0)
    else:
        parts["launches"] += host
    parts["communication"] = communication
    return StepTime(total + communication, parts)


def reads_one_token(op: Op) -> bool:
    """Whether an operator is attention of one query a sequence, which kernels split along the cache."""
    return op.kind in ATTENTION and op["query"].shape[-2] == 1


def narrower(device: Device, computes: str | None) -> float:
    """How much faster the matrix units of a device are in a narrower type than in bfloat16; 1 where they lack it."""
    peaks = device.matrix_flops
    if computes is None or computes not in peaks or "bfloat16" not in peaks:
        return 1.0
    return peaks[computes] / peaks["bfloat16"]


def part_of(op: Op, bound: str) -> str:
    """What an operator's time is spent on."""
    if bound == "launch":
        return "launches"
    if bound in ("compute", "matrix"):
        return "compute"
    if op.kind in ATTENTION or reads_cache(op):
        return "cache"
    return "weights" if any(t.role == "parameter" and len(t.shape) > 1 for t in op.inputs) else "activations"


def reads_cache(op: Op) -> bool:
    """Whether an operator reads a tensor that was there before the step."""
    return any(t.role == "input" and t.dtype not in ("int64", "int32", "bool") for t in op.inputs)


def without_cache_copies(profile: Profile) -> Profile:
    """A step whose concatenations of the cache with new keys and values are free."""
    ops = tuple(replace(op, free=True) if op.kind == "cat" and reads_cache(op) else op for op in profile.ops)
    return replace(profile, trace=replace(profile.trace, ops=ops))
