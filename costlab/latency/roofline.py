"""The extended roofline model: the equations that turn kernels into seconds (derived in docs/latency.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from costlab.latency.device import Device
from costlab.latency.efficiency import BANDWIDTHS
from costlab.latency.lowering.kernels import WORK, KernelTable
from costlab.latency.precision import FLOATS

Array = np.ndarray


TILES = {  # tile sizes: rows, columns
    "cuda": ((256, 128), (128, 128), (128, 64), (64, 64), (64, 32), (128, 32)),
    "cpu": ((128, 64), (64, 64), (32, 32), (16, 16), (4, 16)),
}
STEP = {"cuda": 32, "cpu": 1}  # multiple to which sums are padded
WHOLE_WAVES = 8  # with fewer waves of tiles, units idle in the last one
LARGE_KERNEL, LARGE_KERNEL_CHANNELS_LAST = 25, 49  # taps
PIXELS_A_UNIT = 1024
BOUNDS = ("compute", "memory", "launch")
CONTRACTIONS = ("matmul", "batched_matmul", "convolution", "grouped_convolution")
OPERATIONS = {  # parameter for the cost of one operation; others take "operation"
    "normalisation": "norm_operation",
    "copy": "copied_element",
    "gather": "copied_element",
    "pooling": "pooled_element",
    "interpolation": "pooled_element",
}


@dataclass(frozen=True)
class Terms:
    """Seconds of each kernel, by bound and in total."""

    compute: Array
    memory: Array
    launch: Array  # minimum time of a kernel, or its launch
    seconds: Array


def whole_seconds(device: Array | float, kernels: Array | int, e: Mapping[str, float], gpu: bool) -> Array | float:
    """Seconds of a forward pass: the CPU launches kernels ahead of the GPU; the slower decides."""
    host = kernels * e["launch_seconds"] if gpu else 0.0
    return (device**4 + host**4) ** 0.25 + e["start_seconds"]


class RooflineModel:
    """The kernels of a network on a device; all that does not depend on fitted parameters is computed once."""

    def __init__(self, kernels: KernelTable, device: Device, batch: float | Array = 1.0):
        """`batch` is a multiple of the traced batch; an array holds one value for each kernel."""
        self.kernels, self.device = kernels, device
        self.gpu = device.is_gpu
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
        self.vector = device.vector_flops["float32"] / 4  # results/s: half of the multiply-adds
        last = "L2" if self.gpu else "L3"
        self.cache = device.cache_bytes(last) + (0 if self.gpu else device.cache_bytes("L2"))

    def _tiles(self, at: Array, shapes: tuple[tuple[int, int], ...]) -> Array:
        """Waves of tiles over the units for each tile size: [kernels, sizes]."""
        units = self.device.units
        columns = []
        for rows, width in shapes:
            tiles = np.ceil(self.m[at] / rows) * np.ceil(self.kernels.n[at] / width) * self.products[at]
            waves = tiles / units
            columns.append(np.where(waves < WHOLE_WAVES, np.ceil(waves), waves + 0.5 * self.gpu))
        return np.array(columns).T.reshape(len(at), len(shapes))

    def seconds(self, e: Mapping[str, float], network: Array, networks: int, weights: Array) -> Array:
        """Seconds of several networks: kernel i belongs to `network[i]`, which has `weights[i]` bytes of weights."""
        device = np.bincount(network, self.terms(e, weights).seconds, networks)
        launches = np.bincount(network, minlength=networks)
        return np.asarray(whole_seconds(device, launches, e, self.gpu))

    def terms(self, e: Mapping[str, float], whole: Array | float | None = None) -> Terms:
        """Seconds of every kernel. `whole`: bytes of weights of its network; default: of all kernels."""
        k = self.kernels
        keeps = e["cache_share"] * self.cache
        fast = self.device.bandwidth * e["cache_speed"]

        def moved(amount: Array, window: Array) -> Array:
            resident = 1 / (1 + (window / keeps) ** 2) if keeps else 0.0
            return amount * ((1 - resident) / self.device.bandwidth + resident / fast)

        fresh = self.written if self.gpu else np.where(k.in_place, 0.0, self.written)  # a CPU overwrites caches
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
        """Convolutions and matrix products, computed in tiles."""
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
        family = "convolution" if "convolution" in name else "matmul"
        weight: Array | float = e["weight_bandwidth"]
        if family == "convolution":
            weight = np.where(pointwise, e["pointwise_weight_bandwidth"], e["convolution_weight_bandwidth"])
        memory[at] = activations[at] / e[f"{family}_bandwidth"] + constant[at] / weight
        memory[at] += np.where(nchw, 2 * e["layout_passes"] * activations[at], 0.0)

    def _depthwise(self, e: Mapping[str, float], activations: Array, constant: Array, memory: Array) -> None:
        """Depthwise convolutions: traffic that grows with the kernel's taps."""
        k, at = self.kernels, self.at["depthwise_convolution"]
        taps, nchw = k.taps[at], k.slow[at]
        small = np.where(nchw, e["depthwise_tap"], e["channels_last_depthwise_tap"])
        large = np.where(nchw, e["large_depthwise_tap"], e["channels_last_large_depthwise_tap"])
        is_large = taps > np.where(nchw, LARGE_KERNEL, LARGE_KERNEL_CHANNELS_LAST)
        again = self.written[at] / self.device.bandwidth * np.where(is_large, large, small) * (taps - 1)
        reached = np.where(nchw, e["depthwise_bandwidth"], e["channels_last_depthwise_bandwidth"])
        memory[at] = (activations[at] + constant[at] + again) / reached

    def _attention(self, e: Mapping[str, float], compute: Array, memory: Array) -> None:
        """Fused attention, computed in padded blocks."""
        k, at = self.kernels, self.at["attention"]
        pad = e["attention_padding"] / 2
        padded = (1 + pad / np.maximum(self.m[at], 1)) * (1 + pad / np.maximum(k.n[at], 1)) * (1 + 8 / k.k[at])
        masked = np.where(k.slow[at], 1 + e["attention_mask"], 1)
        compute[at] = self.flops[at] * padded * masked / (self.peak[at] * e["attention"])
        memory[at] /= e["matmul_bandwidth"]

    def _traffic(self, e: Mapping[str, float], compute: Array, memory: Array) -> None:
        """Kernels that move data, and their arithmetic on the vector units."""
        k, at = self.kernels, self.at
        memory[at["element_wise"]] /= e["bandwidth"]
        memory[at["fourier"]] /= e["reduction"]
        for name in BANDWIDTHS:
            memory[at[name]] /= e[name]
        memory[at["copy"]] /= np.where(k.slow[at["copy"]], e["transposing_copy"], e["copy"])
        i = at["interpolation"]
        waves = np.ceil(k.taps[i] / (self.device.units * PIXELS_A_UNIT))
        images = self.written[i] / np.where(k.dtype[i] == 0, 4, 2) / np.maximum(k.taps[i], 1)  # one for each channel
        serial = e["serial_seconds"] * images * waves
        memory[i] += np.where((k.taps[i] > 0) & self.gpu, serial, 0.0)
        for name in (*BANDWIDTHS, "element_wise", "copy", "fourier"):
            i = at[name]
            each: Array | float = e[OPERATIONS.get(name, "operation")]
            if name == "normalisation":
                each = np.where(k.slow[i], e["strided_norm_operation"], each)
            compute[i] = (self.operations[i] * each + self.transcendental[i] * e["transcendental"]) / self.vector
