"""How much of its peaks a device reaches: named parameters, and the equations that turn kernels into seconds.

docs/latency.md derives the equations; PARAMETERS says what each number means and where it may lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from costlab.latency.devices import Device
from costlab.latency.lowering import WORK, Kernels
from costlab.latency.precision import FLOATS

Array = np.ndarray


PEAK, BANDWIDTH = "peak FLOP/s", "memory bandwidth"


class Parameter(NamedTuple):
    """A fitted number: where a fit starts, the range that makes physical sense, and what it is."""

    start: float
    low: float
    high: float
    meaning: str


def share(start: float, of: str) -> Parameter:
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

TILES = {  # results of one tile: rows, columns
    "cuda": ((256, 128), (128, 128), (128, 64), (64, 64), (64, 32), (128, 32)),
    "cpu": ((128, 64), (64, 64), (32, 32), (16, 16), (4, 16)),
}
STEP = {"cuda": 32, "cpu": 1}  # summands that are padded to
WHOLE_WAVES = 8  # fewer waves of tiles than this leave units idle at the end
LARGE_KERNEL, LARGE_KERNEL_CHANNELS_LAST = 25, 49  # taps
GAPLESS = 1e-6  # seconds of the shortest kernel in generated code
PIXELS_A_UNIT = 1024
BOUNDS = ("compute", "memory", "launch")
CONTRACTIONS = ("matmul", "batched_matmul", "convolution", "grouped_convolution")
BANDWIDTHS = (
    "batch_norm", "normalisation", "softmax", "pooling", "reduction", "gather", "interpolation",
)  # fmt: skip
OPERATIONS = {  # what an operation of a kind of work costs
    "normalisation": "norm_operation",
    "copy": "copied_element",
    "gather": "copied_element",
    "pooling": "pooled_element",
    "interpolation": "pooled_element",
}


@dataclass(frozen=True)
class Terms:
    """Seconds of each kernel by what bounds it, and together."""

    compute: Array
    memory: Array
    launch: Array  # the shortest time of a kernel, or its start
    seconds: Array


def generated(efficiency: Mapping[str, float]) -> dict[str, float]:
    """The parameters of code that a compiler generates, from those of eager running.

    All that moves data is as fast as an element-wise kernel, images need not be rewritten around a convolution, and
    small kernels follow each other without a gap.
    """
    same = (*BANDWIDTHS, "copy", "transposing_copy")
    return {
        **efficiency,
        **dict.fromkeys(same, efficiency["bandwidth"]),
        "layout_passes": 0.0,
        "kernel_seconds": min(GAPLESS, efficiency["kernel_seconds"]),
    }


def whole_seconds(device: Array | float, kernels: Array | int, e: Mapping[str, float], gpu: bool) -> Array | float:
    """A forward pass: a GPU works off what the host starts ahead of it, and the slower of the two decides."""
    host = kernels * e["launch_seconds"] if gpu else 0.0
    return (device**4 + host**4) ** 0.25 + e["start_seconds"]


class Model:
    """The equations for the kernels of a network on a device; what no parameter changes is worked out once."""

    def __init__(self, kernels: Kernels, device: Device, batch: float | Array = 1.0):
        """`batch` scales the traced batch; an array has a value for each kernel."""
        self.kernels, self.device = kernels, device
        self.gpu = device.type != "cpu"
        scale = np.where(kernels.batched, batch, 1.0)
        per_product = np.isin(kernels.work, (WORK["batched_matmul"], WORK["attention"]))
        self.m = np.where(per_product, kernels.m, kernels.m * scale)
        self.products = np.where(per_product, kernels.products * scale, kernels.products)
        self.flops = kernels.flops * scale
        self.read, self.written = kernels.read * scale, kernels.written * scale
        self.operations, self.transcendental = kernels.operations * scale, kernels.transcendental * scale
        self.window = kernels.window * batch
        self.weights = np.sum(kernels.constant)
        self.at = {name: np.flatnonzero(kernels.work == number) for name, number in WORK.items()}
        tile_type = "cuda" if self.gpu else "cpu"
        self.step = STEP[tile_type]
        self.tiles = {name: self._tiles(self.at[name], TILES[tile_type]) for name in CONTRACTIONS}
        peaks = np.array([device.peak_flops(dtype) for dtype in FLOATS])
        if self.gpu:  # cuDNN computes float32 convolutions in TF32; matrix products stay in float32
            peaks[0] = device.vector_flops.get("float32", peaks[0])
        self.peak = peaks[kernels.dtype]
        if self.gpu:
            convolutions = np.isin(kernels.work, (WORK["convolution"], WORK["grouped_convolution"]))
            tf32 = device.peak_flops("tfloat32")
            self.peak = np.where(convolutions & (kernels.dtype == 0), tf32, self.peak)
        self.vector = device.vector_flops["float32"] / 4  # results a second: half of the multiply-adds
        last = "L2" if self.gpu else "L3"
        self.cache = device.cache_bytes(last) + (0 if self.gpu else device.cache_bytes("L2"))

    def _tiles(self, at: Array, shapes: tuple[tuple[int, int], ...]) -> Array:
        """Waves of tiles, times the results of a tile: [kernels, shapes]."""
        units = self.device.units
        columns = []
        for rows, width in shapes:
            tiles = np.ceil(self.m[at] / rows) * np.ceil(self.kernels.n[at] / width) * self.products[at]
            waves = tiles / units
            columns.append(np.where(waves < WHOLE_WAVES, np.ceil(waves), waves + 0.5 * self.gpu))
        return np.array(columns).T.reshape(len(at), len(shapes))

    def seconds(self, e: Mapping[str, float], network: Array, networks: int, weights: Array) -> Array:
        """Seconds of whole networks, when kernel i belongs to `network[i]`, which has weights[i] bytes of weights."""
        device = np.bincount(network, self.terms(e, weights).seconds, networks)
        launches = np.bincount(network, minlength=networks)
        return np.asarray(whole_seconds(device, launches, e, self.gpu))

    def terms(self, e: Mapping[str, float], whole: Array | float | None = None) -> Terms:
        """Seconds of every kernel. `whole` is the bytes of weights of its network, by default of all kernels."""
        k = self.kernels
        keeps = e["cache_share"] * self.cache
        fast = self.device.bandwidth * e["cache_speed"]

        def moved(amount: Array, window: Array) -> Array:
            resident = 1 / (1 + (window / keeps) ** 2) if keeps else 0.0
            return amount * ((1 - resident) / self.device.bandwidth + resident / fast)

        fresh = self.written if self.gpu else np.where(k.in_place, 0.0, self.written)  # a CPU finds it in its caches
        activations = moved(self.read, self.window) + moved(fresh, fresh)
        kept = e["weight_cache_share"] * self.cache
        in_cache = 1 / (1 + ((self.weights if whole is None else whole) / kept) ** 2) if kept and not self.gpu else 0.0
        constant = k.constant * ((1 - in_cache) / self.device.bandwidth + in_cache / fast)
        compute, memory = np.zeros(len(k)), activations + constant
        for name in CONTRACTIONS:
            self._contraction(name, e, activations, constant, compute, memory)
        self._depthwise(e, activations, constant, memory)
        self._attention(e, compute, memory)
        at = self.at["recurrent"]
        compute[at] = self.flops[at] / (self.peak[at] * e["recurrent"])
        self._traffic(e, compute, memory)
        p = e["overlap"]
        busy = np.maximum(compute, memory)
        both = busy * ((compute / np.maximum(busy, 1e-30)) ** p + (memory / np.maximum(busy, 1e-30)) ** p) ** (1 / p)
        launch = np.full(len(k), e["kernel_seconds"] + (0.0 if self.gpu else e["launch_seconds"]))
        return Terms(compute, memory, launch, both + launch)

    def _contraction(
        self, name: str, e: Mapping[str, float], activations: Array, constant: Array, compute: Array, memory: Array
    ) -> None:
        k, at = self.kernels, self.at[name]
        if not len(at):
            return
        nchw = k.slow[at] & (name in ("convolution", "grouped_convolution"))
        shares: Array | float = e[name]
        prologue: Array | float = e.get(f"{name}_prologue", 1.0)
        pointwise = (k.taps[at] == 1) & (name == "convolution")
        if "convolution" in name:
            shares = np.where(nchw, e[name], e[f"channels_last_{name}"])
        if name == "convolution":
            one = np.where(nchw, e["pointwise_convolution"], e["channels_last_pointwise_convolution"])
            shares = np.where(pointwise, one, shares)
            prologue = np.where(nchw, e["convolution_prologue"], e["channels_last_convolution_prologue"])
        shapes = TILES["cuda" if self.gpu else "cpu"]
        per_tile = np.array([2 * r * c * (1 + e["tile_overhead"] * (1 / r + 1 / c)) for r, c in shapes])
        steps = np.ceil(k.k[at] / self.step) * self.step + prologue
        work = (self.tiles[name] * per_tile).min(axis=1)
        compute[at] = work * steps / (self.peak[at] / self.device.units * shares)
        compute[at] *= np.where(k.misaligned[at] & self.gpu, 1 + e["misaligned"], 1)
        kin = "convolution" if "convolution" in name else "matmul"
        weight: Array | float = e["weight_bandwidth"]
        if kin == "convolution":
            weight = np.where(pointwise, e["pointwise_weight_bandwidth"], e["convolution_weight_bandwidth"])
        memory[at] = activations[at] / e[f"{kin}_bandwidth"] + constant[at] / weight
        memory[at] += np.where(nchw, 2 * e["layout_passes"] * activations[at], 0.0)

    def _depthwise(self, e: Mapping[str, float], activations: Array, constant: Array, memory: Array) -> None:
        k, at = self.kernels, self.at["depthwise_convolution"]
        taps, nchw = k.taps[at], k.slow[at]
        small = np.where(nchw, e["depthwise_tap"], e["channels_last_depthwise_tap"])
        large = np.where(nchw, e["large_depthwise_tap"], e["channels_last_large_depthwise_tap"])
        is_large = taps > np.where(nchw, LARGE_KERNEL, LARGE_KERNEL_CHANNELS_LAST)
        again = self.written[at] / self.device.bandwidth * np.where(is_large, large, small) * (taps - 1)
        reached = np.where(nchw, e["depthwise_bandwidth"], e["channels_last_depthwise_bandwidth"])
        memory[at] = (activations[at] + constant[at] + again) / reached

    def _attention(self, e: Mapping[str, float], compute: Array, memory: Array) -> None:
        k, at = self.kernels, self.at["attention"]
        pad = e["attention_padding"] / 2
        padded = (1 + pad / np.maximum(self.m[at], 1)) * (1 + pad / np.maximum(k.n[at], 1)) * (1 + 8 / k.k[at])
        masked = np.where(k.slow[at], 1 + e["attention_mask"], 1)
        compute[at] = self.flops[at] * padded * masked / (self.peak[at] * e["attention"])
        memory[at] /= e["matmul_bandwidth"]

    def _traffic(self, e: Mapping[str, float], compute: Array, memory: Array) -> None:
        k, at = self.kernels, self.at
        memory[at["element_wise"]] /= e["bandwidth"]
        memory[at["fourier"]] /= e["reduction"]
        for name in BANDWIDTHS:
            memory[at[name]] /= e[name]
        memory[at["copy"]] /= np.where(k.slow[at["copy"]], e["transposing_copy"], e["copy"])
        i = at["interpolation"]
        waves = np.ceil(k.taps[i] / (self.device.units * PIXELS_A_UNIT))
        images = self.written[i] / np.where(k.dtype[i] == 0, 4, 2) / np.maximum(k.taps[i], 1)  # one for every channel
        serial = e["serial_seconds"] * images * waves
        memory[i] += np.where((k.taps[i] > 0) & self.gpu, serial, 0.0)
        for name in (*BANDWIDTHS, "element_wise", "copy", "fourier"):
            i = at[name]
            each: Array | float = e[OPERATIONS.get(name, "operation")]
            if name == "normalisation":
                each = np.where(k.slow[i], e["strided_norm_operation"], each)
            compute[i] = (self.operations[i] * each + self.transcendental[i] * e["transcendental"]) / self.vector
