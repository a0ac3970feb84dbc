"""How much of its peaks a device reaches: named parameters, fitted to measured times or taken from a similar device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.devices import find_device

PEAK, BANDWIDTH = "peak FLOP/s", "memory bandwidth"


class Parameter(NamedTuple):
    """A fitted number: its start value, its physically plausible range, and its meaning."""

    start: float
    low: float
    high: float
    meaning: str


def share(start: float, of: str) -> Parameter:
    """A parameter that is the attainable share of a peak."""
    high = 1.25 if of.startswith(PEAK) else 1.0  # boards may boost above the clock that a peak is stated for
    return Parameter(start, 0.005, high, f"attainable share of {of}")


PARAMETERS: dict[str, Parameter] = {
    # Contractions: a tile of m x n results takes k + prologue steps.
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
    "matmul_prologue": Parameter(24, 1, 40, "overhead of starting and finishing a tile, in steps of the sum"),
    "batched_matmul_prologue": Parameter(32, 1, 100, "the same, products of two activations"),
    "convolution_prologue": Parameter(24, 1, 40, "the same, convolutions"),
    "channels_last_convolution_prologue": Parameter(24, 1, 40, "the same, channels-last convolutions"),
    "tile_overhead": Parameter(12, 0.5, 60, "cost of loading a tile's row or column, in results: small tiles pay more"),
    "attention_padding": Parameter(64, 1, 256, "block size to which attention rounds up rows and columns"),
    "attention_mask": Parameter(0.2, 0.01, 3, "extra time of masked attention, as a share"),
    "misaligned": Parameter(0.4, 0.01, 4, "extra time of channels that are not a multiple of 8, as a share"),
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
    "layout_passes": Parameter(0.4, 0.005, 1.5, "layout conversions of input and output by an NCHW convolution"),
    "depthwise_bandwidth": share(0.8, BANDWIDTH + ", depthwise convolutions"),
    "channels_last_depthwise_bandwidth": share(0.6, BANDWIDTH + ", channels-last depthwise convolutions"),
    "depthwise_tap": Parameter(0.1, 0.0005, 10, "traffic of each further kernel tap, in outputs"),
    "large_depthwise_tap": Parameter(0.5, 0.0005, 10, "the same, kernels larger than 5 x 5"),
    "channels_last_depthwise_tap": Parameter(0.02, 0.0005, 10, "the same, channels-last"),
    "channels_last_large_depthwise_tap": Parameter(0.8, 0.0005, 10, "the same, channels-last, larger than 7 x 7"),
    "cache_share": Parameter(0.65, 0.02, 4, "share of the last-level cache that holds recent activations"),
    "cache_speed": Parameter(2.5, 1, 40, "bandwidth of the last-level cache over that of memory"),
    "weight_cache_share": Parameter(0.65, 0.02, 4, "share of the last-level cache that holds the network's weights"),
    "weight_bandwidth": share(0.9, BANDWIDTH + ", weights of matrix products"),
    "convolution_weight_bandwidth": Parameter(0.9, 0.005, 3, f"share of {BANDWIDTH}, weights of convolutions"),
    "pointwise_weight_bandwidth": Parameter(0.9, 0.005, 3, f"share of {BANDWIDTH}, weights of 1 x 1 convolutions"),
    # Arithmetic outside contractions, if traffic does not hide it: slots for one result of the vector units.
    "operation": Parameter(1, 0.001, 400, "vector slots of an element-wise operation"),
    "transcendental": Parameter(4, 0.001, 600, "vector slots of a transcendental function"),
    "norm_operation": Parameter(1, 0.001, 400, "vector slots of a norm's operation"),
    "strided_norm_operation": Parameter(1, 0.001, 600, "vector slots of a norm's operation over strided channels"),
    "copied_element": Parameter(1, 0.001, 600, "vector slots of a copied element"),
    "pooled_element": Parameter(1, 0.001, 400, "vector slots of a pooled or interpolated element"),
    # Launching.
    "kernel_seconds": Parameter(3e-6, 1e-8, 4e-6, "minimum time of a kernel on the device"),
    "launch_seconds": Parameter(5e-6, 1e-7, 1e-4, "CPU time to launch one kernel"),
    "start_seconds": Parameter(1e-5, 1e-8, 3e-3, "time of a forward pass outside its kernels"),
    # Fixed, not fitted.
    "overlap": Parameter(8, 1, 8, "exponent p of (compute^p + memory^p)^(1/p): 1 is the sum, large p the maximum"),
    "serial_seconds": Parameter(3e-7, 3e-7, 3e-7, "one step of NCHW bilinear upsampling: a memory latency"),
    "half_norms": Parameter(0, 0, 1, "1 if norms keep the lower precision under autocast"),
}
START = {name: parameter.start for name, parameter in PARAMETERS.items()}
DIVISORS = {name for name, p in PARAMETERS.items() if PEAK in p.meaning or BANDWIDTH in p.meaning} | {"overlap"}

REFERENCES = {  # their parameters are used by devices without a fit
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
