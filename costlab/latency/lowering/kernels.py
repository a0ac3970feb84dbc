"""A kernel as numbers, and all kernels of a network as columns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WORKS = (
    "matmul",  # with a constant matrix
    "batched_matmul",  # of two activations, one product for each member of the batch
    "convolution",
    "grouped_convolution",
    "depthwise_convolution",
    "attention",
    "recurrent",
    "element_wise",
    "batch_norm",
    "normalisation",
    "softmax",
    "pooling",
    "reduction",
    "copy",
    "concatenation",
    "gather",
    "interpolation",
    "fourier",
    "layout",  # NCHW to NHWC or back, around a convolution
)
WORK = {name: number for number, name in enumerate(WORKS)}
FACTORS = (  # what kernels of a training step take longer than those of a forward pass with the same work, by this
    "",  # the same
    "training_batch_norm",
    "input_gradient",  # of a convolution
    "weight_gradient",
    "grouped_input_gradient",
    "grouped_weight_gradient",
    "depthwise_input_gradient",
    "depthwise_weight_gradient",
    "large_depthwise_input_gradient",
    "large_depthwise_weight_gradient",
    "product_gradient",
    "product_weight_gradient",
    "batched_product_gradient",
    "attention_gradient",
    "batch_norm_gradient",
    "normalisation_gradient",
    "softmax_gradient",
    "pooling_gradient",
    "reduction_gradient",
)
FACTOR = {name: number for number, name in enumerate(FACTORS)}


class Kernel(NamedTuple):
    """One kernel at the traced batch. Bytes, FLOP and elements are those of its operator in the fused profile."""

    op: int  # position of its operator
    work: int  # position in WORKS
    dtype: int = 0  # of its arithmetic: position in precision.FLOATS
    m: float = 0  # rows [of one product]; grows with the batch
    n: float = 0  # columns
    k: float = 0  # length of the sums; of a norm, softmax or reduction: elements of a row or plane
    products: float = 1  # independent products: groups, heads
    flops: float = 0
    operations: float = 0  # arithmetic outside contractions, without transcendental functions
    transcendental: float = 0  # elements passed to a transcendental function
    read: float = 0  # bytes of activations
    written: float = 0
    window: float = 0  # bytes moved since its inputs were last touched
    constant: float = 0  # bytes of weights, independent of the batch
    taps: float = 0  # of a convolution's kernel; pixels of an interpolated image
    factor: int = 0  # position in FACTORS
    phase: int = 0  # position in core.graph.PHASES
    launches: float = 1  # that the CPU makes for it; part of one if it is run together with others
    batched: bool = True  # grows with the batch
    slow: bool = False  # NCHW; product per image; transposing copy; masked attention; strided norm or sum; broadcast
    in_place: bool = False  # overwrites its input


class KernelTable:
    """All kernels of a network as columns: `table.flops[i]` belongs to kernel i."""

    def __init__(self, rows: Sequence[Kernel] | np.ndarray, ops: int):
        """`rows`: kernels, or an array with a row for each; `ops`: the number of operators they come from."""
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(Kernel._fields))
        self.ops = ops
        self.op, self.work, self.dtype = table[:, :3].T.astype(int)
        (self.m, self.n, self.k, self.products, self.flops, self.operations, self.transcendental) = table[:, 3:10].T
        (self.read, self.written, self.window, self.constant, self.taps) = table[:, 10:15].T
        self.factor, self.phase = table[:, 15:17].T.astype(int)
        self.launches = table[:, 17]
        self.batched, self.slow, self.in_place = table[:, 18:].T.astype(bool)

    def __len__(self) -> int:
        return len(self.op)
