"""Convolutions, matrix products and attention: the sizes of the products that a kernel computes."""

from math import prod

from costlab.core.cost.attention import computed_share
from costlab.core.graph import ITEM_BYTES
from costlab.core.temporaries import GROUP_TILE, is_plain_product, is_power_of_two, padded
from costlab.latency.layouts import is_channels_last
from costlab.latency.lowering.kernels import WORK, Kernel
from costlab.latency.lowering.site import Site
from costlab.latency.precision import FLOATS

BLOCK = 16  # channels side by side in oneDNN's own layout (nChw16c); with fewer, as in an image, it reads NCHW
RIGHT_FACTORS = ("mat2", "batch2", "other")  # the input of that name, in products that are not called `linear`


def convolution(kernel: Kernel, site: Site) -> list[Kernel]:
    """[n, i, p] or [i, p] with weight [o, i/g, k...]: n p rows, o/g columns and sums of k i/g for each of g groups."""
    op = site.op
    weight, groups = op["weight"].shape, op.attrs.get("groups", 1)
    channels = 1 - len(weight)  # the channel dimension, counted from the end: there may be no batch
    outputs, taps = op.output.shape[channels], prod(weight[2:])
    columns, summands = outputs / groups, float(weight[1])
    if "transpose" in op.kind:
        columns, summands = weight[1], op["input"].shape[channels] / groups
    depthwise = groups > 1 and weight[1] == 1 and columns <= 2
    last = site.config.channels_last or is_channels_last(site.inputs[0].layout, op.inputs[0].shape)
    if site.config.gpu and not depthwise:
        columns, summands = padded(columns), padded(summands)
        if last and groups > 1 and not is_power_of_two(columns):
            columns = padded(columns, GROUP_TILE)
    by_image = site.config.gpu and not last and is_plain_product(op)
    pixels = prod(op.output.shape[channels + 1 :])
    images = op.output.numel / outputs / pixels
    sized = kernel._replace(
        work=WORK["depthwise_convolution" if depthwise else "grouped_convolution" if groups > 1 else "convolution"],
        m=pixels if by_image else images * pixels,
        n=columns,
        k=summands * taps,
        products=images if by_image else groups,
        taps=taps,
        slow=by_image or (depthwise and not last),
    )
    if last or by_image:
        return [sized]
    before, after = (layout_kernel(kernel, elements) for elements in (kernel.read, kernel.written))
    if site.config.gpu:
        return [sized] if depthwise else [before, sized, after]
    if site.config.device.units == 1 and is_plain_product(op):
        return [sized]  # PyTorch leaves it to a matrix product of MKL
    return [sized, after] if op["input"].shape[channels] < BLOCK else [before, sized, after]


def layout_kernel(kernel: Kernel, amount: float) -> Kernel:
    """A pass that copies an image of `amount` bytes from NCHW to the layout of cuDNN or oneDNN, or back."""
    return Kernel(
        kernel.op,
        WORK["layout"],
        operations=amount / ITEM_BYTES[FLOATS[kernel.dtype]],
        read=amount,
        written=amount,
        window=kernel.window if amount == kernel.read else amount,
        batched=kernel.batched,
    )


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
        if any(t.role == "parameter" and t.name in RIGHT_FACTORS for t in op.inputs):
            rows, products, work = rows * products, 1.0, "matmul"
    return [kernel._replace(work=WORK[work], m=rows, n=columns, k=summands, products=products)]


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
        flops=kernel.flops * computed_share(op),
        slow=op.find("attn_mask") is not None,
    )
    return [fused]


def is_fused(site: Site) -> bool:
    """Fused attention kernels of PyTorch take four dimensions; compiled code on GPUs was fitted as if it fused more."""
    return len(site.op["query"].shape) == 4 or (site.config.compiled and site.config.gpu)


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
