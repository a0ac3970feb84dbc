"""How much of its peaks a device reaches: named parameters, fitted to measured times or taken from a similar device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from costlab.errors import CostlabError
from costlab.latency.devices import Device, find_device

PEAK, BANDWIDTH = "peak FLOP/s", "memory bandwidth"


class Parameter(NamedTuple):
    """A fitted number: its start value, its physically plausible range, and its meaning."""

    start: float
    low: float
    high: float
    meaning: str


def share(start: float, of: str) -> Parameter:
    """A parameter that is the attainable share of a peak."""
    high = 1.25 if of.startswith(PEAK) else 1.0  # boards boost above the clock that a peak is given for
    return Parameter(start, 0.005, high, f"attainable share of {of}")


PARAMETERS: dict[str, Parameter] = {
    # Contractions: a tile of m x n results takes (k + prologue) steps.
    "matmul": share(1.0, PEAK),
    "batched_matmul": share(0.8, PEAK),
    "convolution": share(0.9, PEAK),
    "channels_last_convolution": share(0.9, PEAK),
    "pointwise_convolution": share(0.9, PEAK + ", 1 x 1"),
    "channels_last_pointwise_convolution": share(0.9, PEAK + ", 1 x 1"),
    "grouped_convolution": share(0.5, PEAK),
    "channels_last_grouped_convolution": share(0.5, PEAK),
    "attention": share(0.7, PEAK),
    "recurrent": share(0.1, PEAK),
    "matmul_prologue": Parameter(24, 1, 40, "summands that fit into the start and the end of a tile"),
    "batched_matmul_prologue": Parameter(32, 1, 100, "the same for products of activations"),
    "convolution_prologue": Parameter(24, 1, 40, "the same for convolutions"),
    "channels_last_convolution_prologue": Parameter(24, 1, 40, "the same for channels-last convolutions"),
    "tile_overhead": Parameter(12, 0.5, 60, "loads of a tile row or column, in products: small tiles pay more"),
    "attention_padding": Parameter(64, 1, 256, "rows and columns that a block of attention is rounded up by"),
    "attention_mask": Parameter(0.2, 0.01, 3, "extra time of attention with a mask, as a share"),
    "misaligned": Parameter(0.4, 0.01, 4, "extra time of channels that are no multiple of 8, as a share"),
    # Traffic.
    "bandwidth": share(0.9, BANDWIDTH + ", element-wise kernels"),
    "matmul_bandwidth": Parameter(0.9, 0.85, 1.0, f"attainable share of {BANDWIDTH}, contractions"),
    "convolution_bandwidth": Parameter(0.85, 0.75, 1.0, f"attainable share of {BANDWIDTH}, convolutions"),
    "batch_norm": share(0.9, BANDWIDTH),
    "normalisation": share(0.6, BANDWIDTH),
    "softmax": share(0.7, BANDWIDTH),
    "pooling": share(0.5, BANDWIDTH),
    "reduction": share(0.7, BANDWIDTH),
    "copy": share(0.7, BANDWIDTH),
    "transposing_copy": share(0.3, BANDWIDTH + ", copies across dimensions"),
    "gather": share(0.4, BANDWIDTH),
    "interpolation": share(0.4, BANDWIDTH),
    "layout_passes": Parameter(0.4, 0.005, 1.5, "rewrites of input and output that an NCHW convolution makes"),
    "depthwise_bandwidth": share(0.8, BANDWIDTH + ", depthwise convolutions"),
    "channels_last_depthwise_bandwidth": share(0.6, BANDWIDTH + ", channels-last depthwise convolutions"),
    "depthwise_tap": Parameter(0.1, 0.0005, 10, "traffic of one more tap, in outputs"),
    "large_depthwise_tap": Parameter(0.5, 0.0005, 10, "the same for kernels larger than 5 x 5"),
    "channels_last_depthwise_tap": Parameter(0.02, 0.0005, 10, "the same in channels-last"),
    "channels_last_large_depthwise_tap": Parameter(0.8, 0.0005, 10, "channels-last kernels larger than 7 x 7"),
    "cache_share": Parameter(0.65, 0.02, 4, "share of the last-level cache that keeps what was just written"),
    "cache_speed": Parameter(2.5, 1, 40, "bandwidth of the last-level cache, in memory bandwidths"),
    "weight_cache_share": Parameter(0.65, 0.02, 4, "share of the last-level cache that keeps the network's weights"),
    "weight_bandwidth": share(0.9, BANDWIDTH + ", weights of matrix products"),
    "convolution_weight_bandwidth": Parameter(0.9, 0.005, 3, f"share of {BANDWIDTH}, weights of convolutions"),
    "pointwise_weight_bandwidth": Parameter(0.9, 0.005, 3, f"share of {BANDWIDTH}, weights of 1 x 1 convolutions"),
    # Arithmetic outside contractions, where it is not hidden behind traffic: slots of one result of the vector units.
    "operation": Parameter(1, 0.001, 400, "vector slots of an element-wise operation"),
    "transcendental": Parameter(4, 0.001, 600, "vector slots of an exponential, error function or the like"),
    "norm_operation": Parameter(1, 0.001, 400, "vector slots of an operation of a norm"),
    "strided_norm_operation": Parameter(1, 0.001, 600, "vector slots of an operation of a norm over strided channels"),
    "copied_element": Parameter(1, 0.001, 600, "vector slots of an element that is copied"),
    "pooled_element": Parameter(1, 0.001, 400, "vector slots of an element that is pooled or interpolated"),
    # Starting.
    "kernel_seconds": Parameter(3e-6, 1e-8, 4e-6, "shortest time of a kernel on the device"),
    "launch_seconds": Parameter(5e-6, 1e-7, 1e-4, "host time of starting one kernel"),
    "start_seconds": Parameter(1e-5, 1e-8, 3e-3, "time of a forward pass besides its kernels"),
    # Fixed, not fitted.
    "overlap": Parameter(8, 1, 8, "exponent p of (compute^p + memory^p)^(1/p): 1 adds, large takes the larger"),
    "serial_seconds": Parameter(3e-7, 3e-7, 3e-7, "one step of NCHW bilinear upsampling: a memory latency"),
    "half_norms": Parameter(0, 0, 1, "1 where norms keep the lower precision under autocast"),
}
START = {name: parameter.start for name, parameter in PARAMETERS.items()}
DIVISORS = {name for name, p in PARAMETERS.items() if PEAK in p.meaning or BANDWIDTH in p.meaning} | {"overlap"}

REFERENCES = {  # whose parameters a device without a fit of its own takes
    "cuda": {"eager": "rtx3090", "compiled": "rtx4090"},
    "mps": {"eager": "rtx3090", "compiled": "rtx4090"},
    "cpu": {"eager": "i9-10940x", "compiled": "i9-10940x"},
}
GAPLESS = 1e-6  # shortest kernel of compiler-generated code, in seconds
BANDWIDTHS = (
    "batch_norm", "normalisation", "softmax", "pooling", "reduction", "gather", "interpolation",
)  # fmt: skip


def generated(efficiency: Mapping[str, float]) -> dict[str, float]:
    """The parameters of compiler-generated code, derived from those of eager execution.

    Every data movement is as fast as an element-wise kernel, convolutions need no layout conversion, and small kernels
    follow each other without gaps.
    """
    return {
        **efficiency,
        **dict.fromkeys((*BANDWIDTHS, "copy", "transposing_copy"), efficiency["bandwidth"]),
        "layout_passes": 0.0,
        "kernel_seconds": min(GAPLESS, efficiency["kernel_seconds"]),
    }


def efficiency_of(device: Device, mode: str) -> dict[str, float]:
    """The parameters of a device in "eager" or "compiled" mode: its own, else those of its reference device.

    Raises:
        CostlabError: the device file names an unknown parameter or an unknown reference.
    """
    own = own_efficiency(device, mode)
    if own is not None:
        return own
    reference = find_device(str(device.efficiency.get("reference") or REFERENCES[device.type][mode]))
    return own_efficiency(reference, mode) or own_efficiency(reference, "compiled") or dict(START)


def own_efficiency(device: Device, mode: str) -> dict[str, float] | None:
    """The parameters in the device's own file, with defaults for those it leaves out; None if it has none."""
    if mode in device.efficiency:
        return with_defaults(device.efficiency[mode], device)
    if mode == "compiled" and "eager" in device.efficiency:
        return generated(with_defaults(device.efficiency["eager"], device))
    return None


def with_defaults(table: Any, device: Device) -> dict[str, float]:
    """The fitted numbers of a device file on top of the defaults. Raises CostlabError for an invalid one."""
    unknown = sorted(set(table) - START.keys()) if isinstance(table, Mapping) else ["efficiency"]
    if unknown:
        raise CostlabError(f"device {device.name}: unknown parameter {unknown[0]!r}; docs/latency.md lists them")
    for name, value in table.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not (value > 0 or (value == 0 and name not in DIVISORS)):
            least = "above 0" if name in DIVISORS else "of 0 or more"
            raise CostlabError(f"device {device.name}: parameter {name} must be a number {least}, got {value!r:.60}")
    return {**START, **{name: float(value) for name, value in table.items()}}
