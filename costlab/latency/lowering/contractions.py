"""Convolutions, matrix products and attention: the sizes of the products that a kernel computes."""

from __future__ import annotations

from math import prod

from costlab.latency.layouts import is_channels_last
from costlab.latency.lowering.kernels import WORK, Kernel
from costlab.latency.lowering.site import Site

MULTIPLE = 8  # matrix units take channels in multiples of this without padding


def convolution(kernel: Kernel, site: Site) -> list[Kernel]:
    """[n, i, p] or [i, p] with weight [o, i/g, k...]: n p rows, o/g columns and sums of k i/g for each of g groups."""
    op = site.op
    weight, groups = op["weight"].shape, op.attrs.get("groups", 1)
    channels = 1 - len(weight)  # the channel dimension, counted from the end: there may be no batch
    outputs, taps = op.output.shape[channels], prod(weight[2:])
    columns, summands = outputs / groups, float(weight[1] * taps)
    if "transpose" in op.kind:
        columns, summands = weight[1], op["input"].shape[channels] / groups
    if groups == 1:
        work = "convolution"
    else:
        work = "depthwise_convolution" if weight[1] == 1 and columns <= 2 else "grouped_convolution"
    last = site.config.channels_last or is_channels_last(site.inputs[0].layout, op.inputs[0].shape)
    sized = kernel._replace(
        work=WORK[work],
        m=op.output.numel / outputs,
        n=columns,
        k=summands,
        products=groups,
        taps=taps,
        slow=not last,
        misaligned=weight[1] % MULTIPLE != 0 or columns % MULTIPLE != 0,
    )
    return [sized]


def matmul(kernel: Kernel, site: Site) -> list[Kernel]:
    """[.., m, k] x [.., k, n]; with a constant matrix, all rows belong to a single product."""
    op = site.op
    if op.kind == "linear" and len(op["weight"].shape) == 2:
        columns, summands = op["weight"].shape
        rows, products, work = op["input"].numel / summands, 1.0, "matmul"
    else:
        shape = op.output.shape or (1,)
        summands = max(1, round(kernel.flops / 2 / max(1, op.output.numel)))
        columns, rows = shape[-1], float(shape[-2] if len(shape) > 1 else 1)
        products, work = op.output.numel / max(1, rows * columns), "batched_matmul"
        if len(op.inputs) > 1 and op.inputs[1].role == "parameter" and op.kind != "einsum":
            rows, products, work = rows * products, 1.0, "matmul"
    misaligned = columns % MULTIPLE != 0 or summands % MULTIPLE != 0
    return [kernel._replace(work=WORK[work], m=rows, n=columns, k=summands, products=products, misaligned=misaligned)]


def recurrent(kernel: Kernel, site: Site) -> list[Kernel]:
    """All steps of a recurrent layer as one kernel."""
    return [kernel._replace(work=WORK["recurrent"])]


def attention(kernel: Kernel, site: Site) -> list[Kernel]:
    """q [n, h, l, e] and k [n, h, s, e]: l rows and s columns for each of n h heads, by a fused kernel if possible."""
    if not is_fused(site):
        return unfused_attention(kernel, site)
    op = site.op
    query, key, value = op["query"], op["key"], op["value"]
    fused = kernel._replace(
        work=WORK["attention"],
        m=query.shape[-2],
        n=key.shape[-2],
        k=query.shape[-1],
        products=op.output.numel / (query.shape[-2] * value.shape[-1]),
        slow=op.find("attn_mask") is not None,
    )
    return [fused]


def is_fused(site: Site) -> bool:
    """Fused attention kernels of eager PyTorch take four dimensions."""
    return len(site.op["query"].shape) == 4 or site.config.compiled


def score_bytes(kernel: Kernel, site: Site) -> float:
    """Bytes of the attention scores."""
    op = site.op
    scores = op.output.numel // op["value"].shape[-1] * op["key"].shape[-2]
    return scores * (kernel.written / op.output.elements)


def unfused_attention(kernel: Kernel, site: Site) -> list[Kernel]:
    """PyTorch's math path: scale queries and keys, multiply, softmax, multiply by a copy of the values."""
    op = site.op
    query, key, value = op["query"], op["key"], op["value"]
    size = kernel.written / op.output.elements
    rows, columns, depth, width = query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1]
    count = op.output.numel // width * columns
    scores, queries = count * size, query.numel * size

    def step(work: str, read: float, written: float) -> Kernel:
        return kernel._replace(
            work=WORK[work], flops=0.0, read=read, written=written, window=read + written, constant=0.0
        )

    def product(read: float, written: float, n: int, k: int, flops: float) -> Kernel:
        moved = step("batched_matmul", read, written)
        return moved._replace(m=rows, n=n, k=k, products=count / (rows * columns), flops=flops)

    return [
        step("element_wise", queries, queries),
        step("element_wise", key.numel * size, key.numel * size),
        step("copy", value.numel * size, value.numel * size),
        product(2 * queries, scores, n=columns, k=depth, flops=2.0 * count * depth),
        step("softmax", scores, scores),
        product(scores + queries, kernel.written, n=width, k=columns, flops=2.0 * count * width),
    ]
