"""Kernels that move data: element-wise operators, norms, pooling, copies, and the extra passes that PyTorch inserts."""

from collections.abc import Sequence
from math import prod

from costlab.core.fusion import GROUP
from costlab.core.graph import ITEM_BYTES, Op, Tensor
from costlab.latency.layouts import Layout, innermost, is_channels_last, is_contiguous, significant
from costlab.latency.lowering.kernels import WORK, Kernel
from costlab.latency.lowering.site import Operand, Site
from costlab.latency.precision import FLOATS, family

WORK_OF_FAMILY = {  # families of cost rules whose operators are one kernel that moves data; others are element-wise
    "normalisation": "normalisation",
    "softmax": "softmax",
    "pooling": "pooling",
    "reduction": "reduction",
    "copy": "copy",
    "indexing": "gather",
    "interpolation": "interpolation",
    "fourier": "fourier",
}
TRANSCENDENTAL = frozenset("gelu silu sigmoid tanh softmax exp mish softplus erf elu pow log sin cos".split())
PLANAR = ("pooling", "interpolation")  # work that takes longer on images in NCHW
UNROLLED = 8  # summands that a thread adds one after the other (Inductor's unroll_reductions_threshold)
CONSTANT = ("parameter", "buffer", "constant")
COPIES = ("reshape", "contiguous", "flatten")  # copy only if the layout of their input requires it


def data_movement(kernel: Kernel, site: Site) -> list[Kernel]:
    """An operator without products: its time is that of its traffic, or of its arithmetic where that takes longer."""
    op, inputs = site.op, site.inputs
    work = "batch_norm" if op.kind == "batch_norm" else WORK_OF_FAMILY.get(family(op), "element_wise")
    if op.kind.startswith("adaptive_avg_pool") and prod(op.output.shape[2:]) == 1:
        work = "reduction"  # computed as a mean
    if work == "batch_norm" and site.config.compiled and site.config.gpu:
        work = "element_wise"
    if op.kind in ("cat", "stack"):
        work = "concatenation"
    heavy = sum(m.output.numel for m in site.members if m.outputs and m.kind in TRANSCENDENTAL)
    operations = op.output.numel if work in ("copy", "concatenation", "gather") else site.cost.element_wise_ops
    taps, slow = 0.0, False
    planar = work in PLANAR and not is_channels_last(inputs[0].layout, inputs[0].tensor.shape)
    if work == "pooling":
        slow = planar
    elif work == "interpolation" and planar:
        serial = op.kind.startswith(("upsample_bilinear", "upsample_bicubic")) and not site.config.compiled
        taps = float(prod(op.output.shape[2:])) if serial else 0.0
    elif work == "copy" and op.kind in COPIES:
        slow = is_transposing(inputs[0].layout, inputs[0].tensor)
    elif work == "reduction":
        slow = innermost(inputs[0].layout, inputs[0].tensor.shape) not in reduced_dims(op)
        if row_length(op, work, operations) <= UNROLLED and (slow or site.config.compiled):
            work, slow = "element_wise", False
    elif work == "normalisation":
        slow = op.kind == "group_norm" or not is_contiguous(inputs[0].layout, inputs[0].tensor.shape)
    elif work == "element_wise":
        slow = is_irregular(site)
    length = row_length(op, work, operations)
    if work == "batch_norm" and len(op.output.shape) > 2 and not is_channels_last(inputs[0].layout, op.output.shape):
        length = prod(op.output.shape[2:])
    sized = kernel._replace(
        work=WORK[work], k=length, operations=max(operations - heavy, 0), transcendental=heavy, taps=taps, slow=slow
    )
    if op.kind == "pad" and not site.config.compiled:  # filled as a whole before the input is copied into it
        return [kernel._replace(work=WORK["element_wise"], read=0.0, constant=0.0, window=0.0), sized]
    dims = op.attrs.get("dims")
    if op.kind == "roll" and isinstance(dims, (list, tuple)) and not site.config.compiled:
        return [sized] * max(len(dims), 1)  # PyTorch rolls one dimension after the other
    return [sized]


def reduced_dims(op: Op) -> set[int]:
    """The dimensions that an operator sums over; those of the image for pooling."""
    rank = len(op.inputs[0].shape)
    if "dim" not in op.attrs and family(op) == "pooling":
        return set(range(2, rank))
    dims = op.attrs.get("dim")
    found = dims if isinstance(dims, (list, tuple)) else range(rank) if dims is None else (dims,)
    return {d % rank for d in found if isinstance(d, int) and rank}


def row_length(op: Op, work: str, operations: float) -> float:
    """Elements that are normalised, summed or pooled together; 0 for other work."""
    shape = op.inputs[0].shape if op.inputs else ()
    if work == "normalisation":
        groups = op.attrs.get("num_groups")
        return prod(shape[1:]) / groups if groups else float(prod(op.attrs.get("normalized_shape", shape[-1:])))
    if work == "softmax" and shape and isinstance(op.attrs.get("dim"), int):
        return float(shape[op.attrs["dim"]])
    if work == "pooling":
        return operations / max(op.output.numel, 1)
    return op.inputs[0].numel / max(op.output.numel, 1) if work == "reduction" else 0.0


def is_irregular(site: Site) -> bool:
    """Whether an element-wise kernel computes an index for every element: operands of other shapes, types or orders."""
    large = [o for o in site.inputs if o.tensor.numel > 1]
    shape = site.op.output.shape
    return any(
        o.tensor.shape != shape or o.batched != site.batched or o.tensor.elements != o.tensor.numel
        or o.dtype != large[0].dtype
        or significant(o.layout, shape) != significant(large[0].layout, shape)
        for o in large
    )  # fmt: skip


def is_no_op(op: Op, layouts: Sequence[Layout]) -> bool:
    """Whether a copy in the trace finds its input contiguous on this device, as after attention."""
    return op.kind in COPIES and is_contiguous(layouts[0], op.inputs[0].shape)


def cast(site: Site, operand: Operand, dtype: str) -> list[Kernel]:
    """A copy of an input in another type. Compiled code converts activations where it computes them."""
    position, tensor = site.position, operand.tensor
    before, after = operand.bytes, tensor.elements * ITEM_BYTES[dtype]
    if tensor.role in CONSTANT:
        return [Kernel(position, WORK["element_wise"], constant=before + after, batched=False)]
    if site.config.compiled:
        return []
    kernel = Kernel(
        position,
        WORK["element_wise"],
        operations=tensor.elements,
        read=before,
        written=after,
        window=operand.distance + before,
        batched=operand.batched,
    )
    return [kernel]


def must_copy(site: Site, operand: Operand) -> bool:
    """Whether PyTorch first makes a contiguous copy of an activation."""
    op, tensor = site.op, operand.tensor
    if tensor.role != "activation" or tensor.elements != tensor.numel:
        return False
    if family(op) == "convolution":  # TorchInductor's kernels write each slice of an image densely
        return not (operand.layout.dense or (site.config.compiled and site.config.gpu))
    by_rows = ("layer_norm", "group_norm", "softmax") if not site.config.compiled else ()
    if (op.kind == "linear" and len(tensor.shape) > 2) or op.kind in by_rows:
        return not is_contiguous(operand.layout, tensor.shape)
    if op.kind in ("matmul", "einsum") and len(tensor.shape) > 3:
        return not has_joint_batch(operand.layout, tensor.shape)
    return False


def contiguous_copy(site: Site, operand: Operand) -> Kernel:
    """The copy of an input that is not laid out as a kernel needs it."""
    amount = float(operand.bytes)
    return Kernel(
        site.position,
        WORK["copy"],
        operations=operand.tensor.elements,
        read=amount,
        written=amount,
        window=operand.distance + amount,
        batched=operand.batched,
        slow=family(site.op) != "convolution" and is_transposing(operand.layout, operand.tensor),
    )


def has_bias_kernel(site: Site, copied: bool) -> bool:
    """Whether the bias takes a separate kernel: cuDNN does not add it, nor does a product of a copied matrix."""
    op = site.op
    if op.find("bias") is None or not site.config.gpu:
        return False
    if site.config.compiled:
        fuses = any(r.kind == GROUP or family(r) == "element_wise" for r in site.readers)
        return family(op) == "convolution" and not fuses
    return (family(op) == "convolution" and "fused" not in op.attrs) or (op.kind == "linear" and copied)


def bias_kernel(kernel: Kernel) -> Kernel:
    """An element-wise kernel over the output of `kernel`."""
    written = kernel.written
    return Kernel(
        kernel.op,
        WORK["element_wise"],
        operations=written / ITEM_BYTES[FLOATS[kernel.dtype]],
        read=written,
        written=written,
        window=written,
        batched=kernel.batched,
        slow=True,
    )


def is_transposing(layout: Layout, tensor: Tensor) -> bool:
    """Whether a contiguous copy makes other elements neighbours in memory."""
    shape = tensor.shape
    last = max((d for d in range(len(shape)) if shape[d] != 1), default=None)
    return innermost(layout, shape) != last


def has_joint_batch(layout: Layout, shape: Sequence[int]) -> bool:
    """Whether all dimensions but the last two can be viewed as one, the batch of a product."""
    batch = [d for d in significant(layout, shape) if d < len(shape) - 2]
    place = {d: position for position, d in enumerate(layout.order)}
    inner = min(place[len(shape) - 1], place[len(shape) - 2])
    return batch == sorted(batch) and all(place[d] < inner for d in batch)
