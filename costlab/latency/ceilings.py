"""The ceilings of a roofline: what a device can compute at most, and the dtype a network computes in."""

from collections import Counter

from costlab.core.profile import Profile
from costlab.latency.device import Device
from costlab.latency.precision import FLOATS

CEILINGS = ("float32", "tfloat32", "bfloat16", "float16")


def ceilings(device: Device) -> dict[float, list[str]]:
    """Peak FLOP/s, each with the dtypes that reach it; dtypes without units of their own compute in float32."""
    peaks: dict[float, list[str]] = {}
    for dtype in CEILINGS:
        if dtype in device.vector_flops or dtype in device.matrix_flops:
            peaks.setdefault(device.peak_flops(dtype), []).append(dtype)
    return peaks


def main_dtype(profile: Profile) -> str:
    """The floating-point dtype that most mult-adds are computed in."""
    mult_adds: Counter[str] = Counter()
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        if cost and op.outputs and op.output.dtype in FLOATS:
            mult_adds[op.output.dtype] += cost.mult_adds
    return max(mult_adds, key=lambda dtype: mult_adds[dtype], default=FLOATS[0])
