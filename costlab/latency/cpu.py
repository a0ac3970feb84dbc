"""The equations of a CPU: the seconds of a kernel on its memory and on its vector units (docs/latency.md)."""

from collections.abc import Mapping

import numpy as np

from costlab.latency.device import Device
from costlab.latency.precision import FLOATS
from costlab.latency.workload import Workload

Array = np.ndarray
TILES = ((128, 64), (64, 64), (32, 32), (16, 16), (4, 16))  # rows, columns
WHOLE_WAVES = 8  # with fewer waves of tiles, cores idle in the last one
LARGE_DEPTHWISE = 25  # taps
TILED = ("matmul", "batched_matmul", "convolution", "grouped_convolution")
CONVOLUTIONS = ("convolution", "grouped_convolution", "depthwise_convolution")
PRODUCTS = ("matmul", "batched_matmul", "attention", "recurrent")
MAPPED = 32 * 2**20  # bytes from which glibc maps a buffer anew each time (DEFAULT_MMAP_THRESHOLD_MAX)
PAGE = 4096  # bytes
LANES = 16  # channels of a strided sum that a thread takes at once
OPERATIONS = {  # parameter for the vector slots of one operation; others take "operation"
    "normalisation": "norm_operation",
    "copy": "copied_element",
    "concatenation": "copied_element",
    "gather": "copied_element",
    "pooling": "pooled_element",
    "interpolation": "pooled_element",
    "layout": "reordered_element",
}
VECTOR = ("element_wise", "batch_norm", "normalisation", "softmax", "pooling", "reduction", "copy", "concatenation",
          "gather", "interpolation", "fourier", "layout")  # fmt: skip
SLOW = {"normalisation": "strided_norm_operation", "pooling": "planar_pooled_element"}  # where `Kernel.slow` says so


class CpuModel:
    """Kernels on a CPU; all that does not depend on fitted parameters is computed once."""

    def __init__(self, work: Workload, device: Device):
        self.work, self.device = work, device
        k = work.kernels
        peaks = np.array([device.peak_flops(dtype) for dtype in FLOATS])
        self.peak = peaks[k.dtype] * device.slowest_unit
        self.vector = device.vector_flops["float32"] * device.slowest_unit / 4  # results/s: half of the multiply-adds
        self.waves = {name: self._waves(name) for name in TILED}
        self.cache = device.cache_bytes("L2") + device.cache_bytes("L3")
        self.idle = self._idle()

    def _waves(self, name: str) -> Array:
        """Waves of tiles over the cores for each tile size: [kernels, sizes]."""
        work, at = self.work, self.work.at[name]
        waves = [np.ceil(work.m[at] / r) * np.ceil(work.kernels.n[at] / c) * work.products[at] for r, c in TILES]
        waves = [tiles / self.device.units for tiles in waves]
        return np.array([np.where(w < WHOLE_WAVES, np.ceil(w), w) for w in waves]).T.reshape(len(at), len(TILES))

    def memory(self, e: Mapping[str, float], weights: Array | float) -> Array:
        """Seconds at the bandwidth of memory, and of the caches for what is still in them; output overwrites both.

        Args:
            weights: bytes of weights of a kernel's network; they stay in the caches between passes if they fit.
        """
        k, work, at = self.work.kernels, self.work, self.work.at
        keeps, kept = e["cache_share"] * self.cache, e["weight_cache_share"] * self.cache
        slow, fast = self.device.bandwidth, self.device.bandwidth * e["cache_speed"]

        def moved(amount: Array, window: Array) -> Array:
            resident = 1 / (1 + (window / keeps) ** 2) if keeps else 0.0
            return amount * ((1 - resident) / slow + resident / fast)

        fresh = np.where(k.in_place, 0.0, work.written)
        activations = moved(work.read, work.window) + moved(fresh, fresh)
        in_cache = 1 / (1 + (weights / kept) ** 2) if kept else 0.0
        constant = k.constant * ((1 - in_cache) / slow + in_cache / fast)
        seconds = activations + constant
        for name in TILED:
            i = at[name]
            family = "convolution" if "convolution" in name else "matmul"
            weight: Array | float = e["weight_bandwidth"]
            if family == "convolution":
                pointwise = (k.taps[i] == 1) & (name == "convolution")
                weight = np.where(pointwise, e["pointwise_weight_bandwidth"], e["convolution_weight_bandwidth"])
            seconds[i] = activations[i] / e[f"{family}_bandwidth"] + constant[i] / weight
        i = at["depthwise_convolution"]
        tap = np.where(k.taps[i] > LARGE_DEPTHWISE, e["large_depthwise_tap"], e["depthwise_tap"])
        seconds[i] = (seconds[i] + work.written[i] / slow * tap * (k.taps[i] - 1)) / e["depthwise_bandwidth"]
        seconds[at["attention"]] /= e["matmul_bandwidth"]
        seconds[at["element_wise"]] /= e["bandwidth"]
        seconds[at["reduction"]] *= self.idle
        return seconds + self._mapping(e)

    def _mapping(self, e: Mapping[str, float]) -> Array:
        """Seconds in which the system maps and clears large buffers: outputs, and weights that oneDNN reorders."""
        k, work = self.work.kernels, self.work
        reordered = np.zeros(len(k))
        for name in ("convolution", "grouped_convolution"):
            reordered[work.at[name]] = k.constant[work.at[name]]
        written = np.where(k.in_place, 0.0, work.written)
        mapped = np.where(reordered > MAPPED, reordered, 0.0)
        mapped += np.where(written > MAPPED, written, 0.0) * e["mapped_outputs"]
        return mapped / PAGE * e["page_seconds"]

    def matrix(self, e: Mapping[str, float]) -> Array:
        """Seconds of contractions, in tiles."""
        k, work, at = self.work.kernels, self.work, self.work.at
        seconds = np.zeros(len(k))
        per_tile = np.array([2 * r * c * (1 + e["tile_overhead"] * (1 / r + 1 / c)) for r, c in TILES])
        for name in TILED:
            i = at[name]
            share: Array | float = e[name]
            if name == "convolution":
                share = np.where(k.taps[i] == 1, e["pointwise_convolution"], e["convolution"])
            steps = work.k[i] + e.get(f"{name}_prologue", 1.0)
            tiles = (self.waves[name] * per_tile).min(axis=1, initial=np.inf)
            seconds[i] = tiles * steps / (self.peak[i] / self.device.units * share)
        i = at["attention"]
        half = e["attention_padding"] / 2
        padded = (1 + half / np.maximum(work.m[i], 1)) * (1 + half / np.maximum(k.n[i], 1)) * (1 + 8 / k.k[i])
        seconds[i] = work.flops[i] * padded / (self.peak[i] * e["attention"])
        i = at["recurrent"]
        seconds[i] = work.flops[i] / (self.peak[i] * e["recurrent"])
        return seconds

    def launch(self, e: Mapping[str, float]) -> Array:
        """Seconds to launch each kernel: oneDNN looks up a convolution for the sizes first, plain loops do not."""
        shares = np.full(len(self.work.kernels), e["movement_launch"])
        shares[self.work.of_work(*PRODUCTS)] = e["product_launch"]
        shares[self.work.of_work(*CONVOLUTIONS)] = 1.0
        threads = e["single_thread_launch"] if self.device.units == 1 else 1.0
        return e["launch_seconds"] * threads * shares

    def _idle(self) -> Array:
        """How many times as long strided sums take because only the threads that have channels of their own work."""
        k, i = self.work.kernels, self.work.at["reduction"]
        chunks = np.ceil(self.work.operations[i] / np.maximum(k.k[i], 1) / LANES)
        return np.where(k.slow[i], np.maximum(self.device.units / np.maximum(chunks, 1), 1.0), 1.0)

    def issue(self, e: Mapping[str, float]) -> Array:
        """Seconds of arithmetic outside contractions, and of moving elements one by one."""
        k, work = self.work.kernels, self.work
        seconds = np.zeros(len(k))
        for name in VECTOR:
            i = work.at[name]
            each: Array | float = e[OPERATIONS.get(name, "operation")]
            if name in SLOW:
                each = np.where(k.slow[i], e[SLOW[name]], each)
            seconds[i] = (work.operations[i] * each + work.transcendental[i] * e["transcendental"]) / self.vector
        seconds[work.at["reduction"]] *= self.idle
        return seconds
