"""The equations of a GPU: the seconds of a kernel on memory, matrix units and schedulers (docs/latency.md)."""

from collections.abc import Mapping
from itertools import product

import numpy as np

from costlab.latency.device import Device
from costlab.latency.lowering.kernels import WORK, WORKS
from costlab.latency.precision import FLOATS
from costlab.latency.workload import Workload

Array = np.ndarray
TILES = ((256, 128), (128, 128), (128, 64), (64, 64), (64, 32), (128, 32), (16, 64))  # rows, columns
SPLITS = (1, 2, 4, 8, 16)  # parts of a matrix product's sums, computed apart
STEP = 32  # multiple to which sums are padded
WHOLE_WAVES = 8  # with fewer waves of tiles, multiprocessors idle in the last one
LARGE_DEPTHWISE, LARGE_DEPTHWISE_CHANNELS_LAST = 25, 49  # taps above which no kernel is written for the size
PIXELS_A_UNIT = 1024
TILED = ("matmul", "batched_matmul", "convolution", "grouped_convolution")  # the first of WORKS
SHARES = ("matmul", "batched_matmul", "convolution", "pointwise_convolution")
STARTS = ("matmul", "batched_matmul", "convolution", "vector")
RATES = {  # parameters for a clock and multiprocessor: of regular kernels, of irregular ones (`Kernel.slow`)
    "element_wise": ("element_wise", "irregular_element_wise"),
    "batch_norm": ("batch_norm", "batch_norm"),
    "normalisation": ("normalisation", "strided_normalisation"),
    "softmax": ("softmax", "softmax"),
    "pooling": ("pooling", "pooling"),
    "reduction": ("reduction", "strided_reduction"),
    "copy": ("copy", "transposing_copy"),
    "concatenation": ("concatenation", "concatenation"),
    "gather": ("gather", "gather"),
    "interpolation": ("interpolation", "interpolation"),
    "fourier": ("reduction", "reduction"),
    "layout": ("layout", "layout"),
}
BY_BYTES = ("copy", "concatenation", "gather", "layout")  # their rates are in bytes, those of others in operations
ROWS = {  # cycles of a multiprocessor per row, on top of those per element
    "normalisation": "normalisation_row",
    "softmax": "softmax_row",
    "reduction": "reduction_row",
    "pooling": "pooled_output",
}
LATENCIES = {  # kinds of kernels whose dependent steps add a fixed latency to `kernel_seconds`
    "reducing_seconds": ("batch_norm", "normalisation", "reduction"),
    "product_seconds": ("matmul", "batched_matmul", "convolution", "grouped_convolution", "depthwise_convolution"),
    "attention_seconds": ("attention",),
}
ENERGY = {  # joules a FLOP in large products: of float32 on vector units, of float16 on matrix units
    "pascal": (20e-12, 0.0),
    "volta": (14.6e-12, 2.0e-12),
    "turing": (14.6e-12, 2.0e-12),
    "ampere": (8e-12, 1.2e-12),
    "ada": (3e-12, 0.75e-12),
    "hopper": (3e-12, 0.75e-12),
    "blackwell": (3e-12, 0.5e-12),
}
SCHEDULERS = {"pascal": 2}  # of a multiprocessor; 4 on all other architectures
FULL_WARP = 24  # lanes of a scheduler from which on a multiply-add of a warp takes every slot in which it could issue
WIDEST_COPY = 16  # bytes that a thread copies at once from global to shared memory
POWER_SHARE = 0.85  # of a board's power, for its multiprocessors; the rest goes to memory and leakage


def sustained_flops(device: Device) -> tuple[float, float]:
    """FLOP/s that a board's power allows in large products, on vector and on matrix units; infinite if unknown."""
    vector, matrix = ENERGY.get(device.architecture, (0.0, 0.0))
    budget = POWER_SHARE * device.power if device.power else np.inf
    return (budget / vector if vector else np.inf), (budget / matrix if matrix else np.inf)


def pieces_of_copies(columns: Array, summands: Array, item: Array) -> Array:
    """How many copies matrix units need for each 16 bytes of operands; 1 if rows are whole multiples of 16 bytes.

    A product of odd sizes in float16, such as logits of 50,257 tokens, is fed by copies of 2 bytes, eight times as many
    as one of 50,304 (NVIDIA, Matrix Multiplication Background User's Guide, on dimensions and tensor cores).

    Args:
        columns: n of products [m, k] x [k, n], the length of rows of the right factor and the result.
        summands: k, the length of rows of the left factor.
        item: bytes of an element.
    """
    widest = (WIDEST_COPY / item).astype(int)
    return widest / np.gcd(np.gcd(columns.astype(int), summands.astype(int)), widest)


class GpuModel:
    """Kernels on a GPU; all that does not depend on fitted parameters is computed once."""

    def __init__(self, work: Workload, device: Device):
        self.work, self.device = work, device
        k = work.kernels
        self.clock = device.clock * device.boost
        self.cycles = device.units * self.clock  # multiprocessor cycles a second
        self.tiled = work.of_work(*TILED)
        vector = max(device.vector_flops["float32"], device.matrix_flops.get("float32", 0.0)) * device.boost
        *peaks, tf32 = np.array([device.peak_flops(dtype) for dtype in (*FLOATS, "tfloat32")]) * device.boost
        peaks[0] = vector  # matrix products stay in float32; cuDNN computes float32 convolutions in TF32
        convolutions = np.isin(k.work, (WORK["convolution"], WORK["grouped_convolution"]))
        self.peak = np.where(convolutions & (k.dtype == 0), tf32, np.array(peaks)[k.dtype])
        self.on_vector = (self.peak <= vector) & ~(convolutions & ("tfloat32" in device.matrix_flops))
        self.sustained = np.where(self.on_vector, *sustained_flops(device))
        self.item = np.where(k.dtype == 0, 4.0, 2.0)
        lanes = device.vector_flops["float32"] / 2 / device.units / device.clock  # of a multiprocessor
        half_warp = lanes / SCHEDULERS.get(device.architecture, 4) < FULL_WARP
        self.vector_share = "half_warp_vector_share" if half_warp else "vector_share"
        kind = k.work[self.tiled]
        computed = 2 * (work.m * k.n * k.k * work.products)[self.tiled]
        self.has_padding = (kind == WORK["convolution"]) & (work.flops[self.tiled] < 0.999 * computed)
        pointwise = (k.taps[self.tiled] == 1) & (kind == WORK["convolution"])
        self.share = np.where(pointwise, SHARES.index("pointwise_convolution"), np.minimum(kind, WORK["convolution"]))
        self.start = np.where(self.on_vector[self.tiled], STARTS.index("vector"), np.minimum(kind, WORK["convolution"]))
        on_matrix_units = (kind < WORK["convolution"]) & ~self.on_vector[self.tiled]  # cuDNN pads channels
        pieces = pieces_of_copies(k.n[self.tiled], k.k[self.tiled], self.item[self.tiled])
        self.pieces = np.where(on_matrix_units, pieces, 1)
        pixels = pieces_of_copies(k.m[self.tiled], k.m[self.tiled], self.item[self.tiled])
        self.row_pieces = np.where(work.by_image[self.tiled], pixels, self.pieces)
        self._tile()
        self.rates = sorted({name for pair in RATES.values() for name in pair})
        lookup = np.full((len(WORKS), 2), -1)
        for name, pair in RATES.items():
            lookup[WORK[name]] = [self.rates.index(rate) for rate in pair]
        self.rate = lookup[k.work, k.slow.astype(int)]
        self.moving = np.flatnonzero(self.rate >= 0)
        self.issued = work.operations.copy()
        by_bytes = work.of_work(*BY_BYTES)
        self.issued[by_bytes] = (work.read + work.written + k.constant)[by_bytes]
        self.cache = device.cache_bytes("L2")
        self.latencies = {name: work.of_work(*works) for name, works in LATENCIES.items()}

    def _tile(self) -> None:
        """Waves of tiles over the multiprocessors, and steps of each, for every tile and split: [kernels, options]."""
        k, at, work = self.work.kernels, self.tiled, self.work
        splits = np.isin(k.work[at], (WORK["matmul"], WORK["batched_matmul"]))
        waves, steps, self.sides = [], [], []
        for (rows, columns), parts in product(TILES, SPLITS):
            tiles = np.ceil(work.m[at] / rows) * np.ceil(k.n[at] / columns) * work.products[at] * parts
            rounds = tiles / self.device.units
            rounds = np.where(rounds < WHOLE_WAVES, np.ceil(rounds), rounds + 0.5)
            waves.append(rounds if parts == 1 else np.where(splits, rounds, np.inf))
            steps.append(np.ceil(work.k[at] / parts / STEP) * STEP)
            self.sides.append((rows, columns))
        self.waves, self.steps = (np.array(columns).T.reshape(len(at), len(waves)) for columns in (waves, steps))

    def memory(self, e: Mapping[str, float], weights: Array | float) -> Array:
        """Seconds at the bandwidth of memory; what was touched so recently that it is in L2 moves at that of L2."""
        work = self.work
        keeps = e["cache_share"] * self.cache
        slow, fast = self.device.bandwidth * e["stream"], e["l2_bytes"] * self.cycles

        def moved(amount: Array, window: Array) -> Array:
            resident = 1 / (1 + (window / keeps) ** 2) if keeps else 0.0
            return amount * ((1 - resident) / slow + resident / max(fast, slow))

        seconds = moved(work.read, work.window) + moved(work.written, work.written) + work.kernels.constant / slow
        waste = np.array([e.get(f"{name}_traffic", 1.0) for name in self.rates])
        seconds[self.moving] *= waste[self.rate[self.moving]]
        for name in ("depthwise_convolution", "attention"):
            seconds[work.at[name]] *= e[f"{name}_traffic"]
        return seconds + self._serial(e)

    def _serial(self, e: Mapping[str, float]) -> Array:
        """NCHW bilinear upsampling: a thread for each pixel walks over images and channels, one latency at a time."""
        k, i = self.work.kernels, self.work.at["interpolation"]
        seconds = np.zeros(len(k))
        waves = np.ceil(k.taps[i] / (self.device.units * PIXELS_A_UNIT))
        images = self.work.written[i] / self.item[i] / np.maximum(k.taps[i], 1)  # one for each channel
        seconds[i] = np.where(k.taps[i] > 0, e["serial_seconds"] * images * waves, 0.0)
        return seconds

    def matrix(self, e: Mapping[str, float]) -> Array:
        """Seconds of contractions on the matrix units, or on vector units where those compute the type."""
        k, work, at = self.work.kernels, self.work, self.tiled
        start = np.array([e[f"{name}_cycles"] for name in STARTS])[self.start]
        share = np.array([e[name] for name in SHARES])[self.share]
        share *= np.where(self.on_vector[at], e[self.vector_share], 1.0)
        flops = np.minimum(self.peak[at] * share, self.sustained[at]) / self.cycles  # a clock and multiprocessor
        grouped = k.work[at] == WORK["grouped_convolution"]
        flops = np.where(grouped, np.minimum(flops, e["grouped_flops"]), flops)
        flops = np.where(self.has_padding, np.minimum(flops, e["padded_flops"]), flops)
        spatial = self.share == SHARES.index("convolution")
        fast = np.where(self.work.by_image[at], e["image_operand_bytes"], e["operand_bytes"])
        feed = self.item[at] / np.where(spatial, e["convolution_operand_bytes"], fast)
        best, aligned = np.full((2, len(at)), np.inf)
        for option, (rows, columns) in enumerate(self.sides):
            results, pixels = 2 * rows * columns / flops, np.minimum(rows, work.m[at])
            waves, steps = self.waves[:, option], self.steps[:, option]
            step = results + (pixels * self.row_pieces + columns * self.pieces) * feed
            best = np.minimum(best, waves * (steps * step + start))
            aligned = np.minimum(aligned, waves * (steps * (results + (pixels + columns) * feed) + start))
        passes = 2 * (work.read + work.written)[at] / (self.device.bandwidth * e["stream"]) * self.clock
        best = np.where(self.work.by_image[at], np.minimum(best, aligned + passes), best)  # cuDNN takes the faster one
        seconds = np.zeros(len(k))
        seconds[at] = best / self.clock
        i = work.at["attention"]
        seconds[i] = self._padded(e) * work.flops[i] / (self.peak[i] * e["attention"])
        i = work.at["recurrent"]
        seconds[i] = work.flops[i] / (self.peak[i] * e["recurrent"])
        return seconds

    def _padded(self, e: Mapping[str, float]) -> Array:
        """The scores that fused attention computes, in whole blocks, over those it needs."""
        at = self.work.at["attention"]
        half = e["attention_padding"] / 2
        return (1 + half / np.maximum(self.work.m[at], 1)) * (1 + half / np.maximum(self.work.kernels.n[at], 1))

    def launch(self, e: Mapping[str, float]) -> Array:
        """Fixed latency of each kernel in addition to `kernel_seconds`; launches are free, as the CPU runs ahead."""
        seconds = np.zeros(len(self.work.kernels))
        for name, at in self.latencies.items():
            seconds[at] = e[name]
        return seconds

    def issue(self, e: Mapping[str, float]) -> Array:
        """Seconds of the instructions that the schedulers of all multiprocessors issue."""
        k, work, at = self.work.kernels, self.work, self.moving
        cycles = np.zeros(len(k))
        rates = np.array([e[name] for name in self.rates])
        cycles[at] = (self.issued[at] + e["transcendental"] * work.transcendental[at]) / rates[self.rate[at]]
        for name, parameter in ROWS.items():
            i = work.at[name]
            cycles[i] += np.where(k.k[i] > 0, work.operations[i] / np.maximum(k.k[i], 1) * e[parameter], 0.0)
        i = work.at["batch_norm"]
        planes = np.where(k.k[i] > 0, work.written[i] / self.item[i] / np.maximum(k.k[i], 1), 0.0)
        cycles[i] = np.maximum(cycles[i], planes * e["block_cycles"] * self.device.units)  # a block for each plane
        i = work.at["depthwise_convolution"]
        nchw, taps = k.slow[i], k.taps[i]
        small = np.where(nchw, e["depthwise"], e["channels_last_depthwise"])
        large = np.where(nchw, e["large_depthwise"], e["channels_last_large_depthwise"])
        is_large = taps > np.where(nchw, LARGE_DEPTHWISE, LARGE_DEPTHWISE_CHANNELS_LAST)
        cycles[i] = work.flops[i] / 2 / np.where(is_large, large, small)
        i = work.at["attention"]
        scores = work.flops[i] / (4 * np.maximum(k.k[i], 1)) * self._padded(e)
        cycles[i] = scores * (e["score_cycles"] + np.where(k.slow[i], e["mask_cycles"], 0.0))
        return cycles / self.cycles
