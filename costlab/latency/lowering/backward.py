"""Kernels of the backward pass: those of the forward pass with their operands exchanged, and gradients of norms.

y = x w has two gradients. That of x is a product like the forward one, of the gradient of y and w; that of w sums over
the whole batch. How much longer each takes than a forward kernel of its sizes is a parameter (`FACTORS`).
"""

from collections.abc import Callable
from math import prod

from costlab.core.graph import Op, Tensor
from costlab.core.temporaries import MULTIPLE, padded
from costlab.latency.layouts import is_channels_last
from costlab.latency.lowering.contractions import layout_kernel
from costlab.latency.lowering.kernels import FACTOR, WORK, Kernel
from costlab.latency.lowering.optimizer import optimizer_step
from costlab.latency.lowering.site import Site
from costlab.latency.lowering.traffic import data_movement, row_length
from costlab.latency.precision import FLOATS

Lowering = Callable[[Kernel, Site], list[Kernel]]
LARGE_TAPS = 25  # of a depthwise kernel: cuDNN has its own for up to 5 x 5
STAGED = frozenset("slice_backward select_backward diagonal_backward".split())  # zeros first, then a copy into them
REDUCTIONS = frozenset("sum mean".split())


def convolution_backward(kernel: Kernel, site: Site) -> list[Kernel]:
    """The gradients of input, weight and bias that `output_mask` asks for, each a kernel and its layout passes."""
    op = site.op
    wanted = (op.attrs.get("output_mask") or [True, True, True])[:3]
    gradient, input = site.operand("grad_output"), site.operand("input")
    weight, groups = op["weight"], op.attrs.get("groups", 1)
    last = site.config.channels_last or is_channels_last(input.layout, input.tensor.shape)
    depthwise = groups > 1 and weight.shape[1] == 1
    products = sum(wanted[:2])
    shared = kernel._replace(
        flops=kernel.flops / max(products, 1),
        products=groups,
        taps=prod(weight.shape[2:]),
        slow=depthwise and not last,
        constant=0.0,
        written=0.0,
    )
    kind = "depthwise_" if depthwise else "grouped_" if groups > 1 else ""
    work = WORK[f"{kind}convolution"]
    if depthwise and shared.taps > LARGE_TAPS:
        kind = "large_depthwise_"
    passes = not (last or depthwise or not site.config.gpu or is_plain(op))
    kernels: list[Kernel] = []
    if wanted[0]:
        moved = shared._replace(read=gradient.bytes, written=input.bytes, constant=weight.bytes, window=kernel.window)
        sized = input_gradient(moved._replace(work=work, factor=FACTOR[f"{kind}input_gradient"]), op, site.config.gpu)
        kernels += around(sized, passes, [gradient.bytes], [input.bytes])
    if wanted[1]:
        moved = shared._replace(read=gradient.bytes + input.bytes, constant=weight.bytes)
        sized = weight_gradient(moved._replace(work=work, factor=FACTOR[f"{kind}weight_gradient"]), op, site.config.gpu)
        kernels += around(sized, passes, [gradient.bytes, input.bytes], [])
    if wanted[2]:
        kernels.append(bias_gradient(kernel, gradient.tensor, gradient.bytes))
    return kernels


def input_gradient(kernel: Kernel, op: Op, gpu: bool) -> Kernel:
    """A product with a row for every pixel of the input; the pixels that a stride leaves out are not summed."""
    input, groups = op["input"], op.attrs.get("groups", 1)
    channels = input.shape[1 - len(op["weight"].shape)]
    columns, summands = channels / groups, kernel.flops / 2 / max(input.numel, 1)
    return sized(kernel, gpu, m=input.numel / channels, n=columns, k=summands)


def weight_gradient(kernel: Kernel, op: Op, gpu: bool) -> Kernel:
    """A product with an entry for every weight, summed over the pixels of the whole batch."""
    weight, groups = op["weight"], op.attrs.get("groups", 1)
    rows, columns = weight.shape[0] / groups, float(prod(weight.shape[1:]))
    return sized(kernel, gpu, m=rows, n=columns, k=kernel.flops / 2 / max(weight.numel, 1))


def sized(kernel: Kernel, gpu: bool, m: float, n: float, k: float) -> Kernel:
    """A kernel with the sizes of its product, padded as matrix units need them."""
    if gpu and kernel.work != WORK["depthwise_convolution"]:
        n, k = padded(n), padded(k)
    return kernel._replace(m=m, n=n, k=k)


def is_plain(op: Op) -> bool:
    """Whether a contiguous convolution is a matrix product as it stands: 1 x 1, each row of pixels aligned."""
    weight, pixels = op["weight"].shape, prod(op["grad_output"].shape[2:])
    still = set(op.attrs.get("stride", [1])) == {1} and set(op.attrs.get("padding", [0])) == {0}
    return prod(weight[2:]) == 1 and op.attrs.get("groups", 1) == 1 and still and pixels % MULTIPLE == 0


def around(kernel: Kernel, passes: bool, before: list[int], after: list[int]) -> list[Kernel]:
    """A kernel with the layout passes of the images that it reads and writes."""
    if not passes:
        return [kernel]
    copies = [layout_kernel(kernel, float(amount)) for amount in (*before, *after)]
    return [*copies[: len(before)], kernel, *copies[len(before) :]]


def bias_gradient(kernel: Kernel, gradient: Tensor, amount: float) -> Kernel:
    """The sum of a gradient over everything but its channels."""
    return kernel._replace(
        work=WORK["reduction"],
        factor=FACTOR["reduction_gradient"],
        flops=0.0,
        operations=gradient.numel,
        k=gradient.numel / max(gradient.shape[1], 1),
        read=amount,
        written=0.0,
        constant=0.0,
    )


def product(kernel: Kernel, site: Site) -> list[Kernel]:
    """[.., m, k] x [.., k, n]: one product, or one for each member of the batch."""
    op = site.op
    shape = op.output.shape
    rows, columns = (float(shape[-2]), float(shape[-1])) if len(shape) > 1 else (1.0, float(prod(shape)))
    count = op.output.numel / max(1.0, rows * columns)
    summands = kernel.flops / 2 / max(op.output.numel, 1)
    kind = "batched_product" if count > 1 else "product_weight" if site.reduces else "product"
    halves = kernel.dtype != FLOATS.index("float32")  # vector units read transposed factors as fast as others
    return [
        kernel._replace(
            work=WORK["matmul" if count == 1 else "batched_matmul"],
            factor=FACTOR[f"{kind}_gradient"] if halves else 0,
            m=rows,
            n=columns,
            k=padded(summands) if site.config.gpu and site.reduces else summands,  # rows of its factors are not k long
            products=count,
        )
    ]


def attention_backward(kernel: Kernel, site: Site) -> list[Kernel]:
    """Five products over the scores, in one kernel."""
    query, key, value = site.op["query"], site.op["key"], site.op["value"]
    heads = query.numel / (query.shape[-2] * query.shape[-1])
    return [
        kernel._replace(
            work=WORK["attention"], factor=FACTOR["attention_gradient"], m=query.shape[-2], n=key.shape[-2],
            k=(query.shape[-1] + value.shape[-1]) / 2, products=heads,
        )
    ]  # fmt: skip


def recurrent_backward(kernel: Kernel, site: Site) -> list[Kernel]:
    """All steps of a recurrent layer as one kernel."""
    return [kernel._replace(work=WORK["recurrent"])]


def moving(work: str, factor: str, times: float = 1.0) -> Lowering:
    """A kernel that moves data, with its kind of work.

    Args:
        times: how often it reads its input; norms sum in a first pass over it.
    """

    def lowered(kernel: Kernel, site: Site) -> list[Kernel]:
        operations = site.cost.element_wise_ops
        length = row_length(site.op, work, operations)
        if work == "normalisation":
            length = length if site.op.find("mean") is None else site.op.inputs[0].numel / max(site.op["mean"].numel, 1)
        return [
            kernel._replace(
                work=WORK[work], factor=FACTOR[factor], operations=operations, read=kernel.read * times, k=length
            )
        ]

    return lowered


def batch_norm(kernel: Kernel, site: Site) -> list[Kernel]:
    """With the statistics of the batch: the input is read for them first."""
    factor = FACTOR["training_batch_norm"]
    return [k._replace(factor=factor, read=2 * k.read, k=0.0) for k in data_movement(kernel, site)]


def reduction(kernel: Kernel, site: Site) -> list[Kernel]:
    """A sum over dimensions that were broadcast, often all but the last."""
    return [k._replace(factor=FACTOR["reduction_gradient"]) for k in data_movement(kernel, site)]


def staged(kernel: Kernel, site: Site) -> list[Kernel]:
    """Zeros, and a copy of the gradient into a part of them."""
    gradient = site.op.inputs[0]
    zeros = kernel._replace(work=WORK["element_wise"], read=0.0, window=0.0)
    copied = kernel._replace(work=WORK["copy"], operations=gradient.numel, written=kernel.read)
    return [zeros, copied]


def cast(kernel: Kernel, site: Site) -> list[Kernel]:
    """An element-wise kernel."""
    return [kernel._replace(work=WORK["element_wise"], operations=site.op.output.numel)]


NORM = moving("normalisation", "normalisation_gradient")
BACKWARD: dict[str, Lowering] = {
    "convolution_backward": convolution_backward,
    **dict.fromkeys("mm bmm addmm baddbmm matmul".split(), product),
    **dict.fromkeys(
        "_scaled_dot_product_flash_attention_backward _scaled_dot_product_efficient_attention_backward"
        " _scaled_dot_product_flash_attention_for_cpu_backward _scaled_dot_product_cudnn_attention_backward".split(),
        attention_backward,
    ),
    **dict.fromkeys("_cudnn_rnn_backward miopen_rnn_backward mkldnn_rnn_layer_backward".split(), recurrent_backward),
    "native_batch_norm_backward": moving("batch_norm", "batch_norm_gradient", 2.0),
    **dict.fromkeys("native_layer_norm_backward native_group_norm_backward _fused_rms_norm_backward".split(), NORM),
    **dict.fromkeys(
        "_softmax_backward_data _log_softmax_backward_data".split(), moving("softmax", "softmax_gradient")
    ),
    **dict.fromkeys(
        "max_pool2d_with_indices_backward max_pool3d_with_indices_backward avg_pool2d_backward avg_pool3d_backward"
        " _adaptive_avg_pool2d_backward adaptive_max_pool2d_backward".split(),
        moving("pooling", "pooling_gradient"),
    ),
    **dict.fromkeys(
        "embedding_dense_backward index_put scatter_add".split(), moving("gather", "")
    ),
    **dict.fromkeys(
        "upsample_bilinear2d_backward upsample_nearest2d_backward upsample_bicubic2d_backward".split(),
        moving("interpolation", ""),
    ),
    **dict.fromkeys(STAGED, staged),
    **dict.fromkeys(REDUCTIONS, reduction),
}  # fmt: skip


def lowering_of(op: Op) -> Lowering | None:
    """How an operator of a training step is lowered; None: as in a forward pass."""
    if op.kind == "to" and op.inputs and op.inputs[0].dtype != op.output.dtype:
        return cast
    if op.phase != "forward":
        return optimizer_step if op.phase == "optimizer" else BACKWARD.get(op.kind)
    if op.kind == "batch_norm" and op.attrs.get("training"):
        return batch_norm
    return None
