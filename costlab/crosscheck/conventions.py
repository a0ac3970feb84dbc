"""The published rules by which fvcore, thop and ptflops count: one table per tool, from what it looks at to a formula.

fvcore looks at operators; thop and ptflops look at modules by their exact type, ptflops also at functions of
`torch.nn.functional`. Anything that is not in a tool's table counts zero. Read in fvcore 0.1.5.post20221221,
thop 0.1.1.post2209072238 and ptflops 0.7.5.
"""

from collections.abc import Callable, Iterator
from itertools import product
from math import prod

from costlab.core.graph import Op, Tensor

Formula = Callable[[Op], int]
ModuleRules = dict[tuple[str, str], Formula]  # by type of module and kind of operator


class StopsError(Exception):
    """The tool fails with an error at this operator."""


def inputs(times: int) -> Formula:
    """`times` per element of the first input."""
    return lambda op: times * op.inputs[0].numel


def outputs(times: int) -> Formula:
    """`times` per output element."""
    return lambda op: times * op.output.numel


def normalisation(with_weight: int, without: int) -> Formula:
    """A number per input element, which depends on whether there is a weight."""
    return lambda op: (with_weight if op.find("weight") else without) * op.inputs[0].numel


def convolution(op: Op) -> int:
    """Batch x weight x output positions; input positions if transposed."""
    where = op["input"] if op.kind.startswith("conv_transpose") else op.output
    positions = where.numel // where.shape[-len(op["weight"].shape) + 1]
    return positions * op["weight"].numel


def biased(formula: Formula) -> Formula:
    """`formula`, plus one per output element if there is a bias."""
    return lambda op: formula(op) + (op.output.numel if op.find("bias") else 0)


def linear(op: Op) -> int:
    """Input elements x output features."""
    return op["input"].numel * op["weight"].shape[0]


def product_of(left: str, right: str) -> Formula:
    """Elements of the left matrices x columns of the right ones: a batch of the right side alone is missed."""
    return lambda op: op[left].numel * op[right].shape[-1]


def cell(op: Op) -> int:
    """One step of a recurrent cell: its two linear layers."""
    return op["input"].shape[0] * (op["w_ih"].numel + op["w_hh"].numel)


def attention(op: Op) -> int:
    """q, scaled; q k and softmax, scores v: n h l e + n h l s (e + 1 + v)."""
    q, k, v = op["query"], op["key"], op["value"]
    scores = q.numel // q.shape[-1] * k.shape[-2]
    return q.numel + scores * (q.shape[-1] + 1 + v.shape[-1])


# fvcore (fvcore/nn/flop_count.py, jit_handles.py).


def fvcore_convolution(op: Op) -> int:
    """Zero if the padding is a string, which is another operator (`_convolution_mode`)."""
    return 0 if isinstance(op.attrs.get("padding"), str) else convolution(op)


def fvcore_norm(op: Op) -> int:
    """5 per element with a weight, else 4. Fails outside 2 to 5 dimensions."""
    if not 2 <= len(op.inputs[0].shape) <= 5:
        raise StopsError
    return normalisation(5, 4)(op)


def fvcore_batch_norm(op: Op) -> int:
    """2 per element with a weight, else 1; in train mode like the other norms."""
    return fvcore_norm(op) if op.attrs.get("training") else normalisation(2, 1)(op)


def fvcore_matmul(op: Op) -> int:
    """Fails if the right side is a vector."""
    if len(op["other"].shape) < 2:
        raise StopsError
    return product_of("self", "other")(op)


def fvcore_einsum(op: Op) -> int:
    """Half of numpy's FLOPs on the optimal path, rounded to four digits; two equations have products instead."""
    import numpy as np

    shapes = [t.shape for t in op.each("tensors")]
    equation = op.attrs["equation"].replace(" ", "")
    letters = dict.fromkeys(c for c in equation if c.isalpha())
    renamed = equation.translate({ord(c): 97 + i for i, c in enumerate(letters)})
    if renamed == "abc,abd->acd":
        return prod(shapes[0]) * shapes[-1][-1]
    if renamed == "abc,adc->adb":
        return prod(shapes[0]) * shapes[-1][1]
    report = np.einsum_path(equation, *(np.broadcast_to(0.0, s) for s in shapes), optimize="optimal")[1]
    flops = next(line for line in report.splitlines() if "optimized flop" in line.lower())
    return int(float(flops.partition(":")[2]) // 2)


# thop and ptflops.


def layers(op: Op) -> Iterator[list[Tensor]]:
    """w_ih, w_hh and the biases of each layer of a recurrent operator in one direction, or of a cell."""
    if op.kind.endswith("_cell"):
        yield [t for t in op.inputs if t.name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        return
    weights = op.each("params")
    step = len(weights) // op.attrs["num_layers"]
    for first in range(0, len(weights), step):
        yield weights[first : first + step // directions(op)]


def directions(op: Op) -> int:
    """2 if bidirectional, else 1."""
    return 2 if op.attrs.get("bidirectional") else 1


def rows(op: Op) -> int:
    """Steps x batch of a recurrent operator; packed sequences count as if all were as long as the longest."""
    if op.kind.endswith("_cell"):
        return op["input"].shape[0]
    if op.find("data"):
        state = op.find("hx") or op["hx.0"]
        return op["batch_sizes"].numel * state.shape[-2]
    return prod(op["input"].shape[:2])


def thop_recurrent(gates: int, products: int) -> Formula:
    """h (i + h) + h per gate, 2 h more with biases; then `products` element-wise products of size h."""

    def formula(op: Op) -> int:
        cost = 0
        for layer, (w_ih, w_hh, *others) in enumerate(layers(op)):
            h = w_hh.shape[0] // gates
            i = directions(op) * h if layer else w_ih.shape[1]
            cost += gates * (h * (i + h) + h + (2 * h if biases(others) else 0)) + products * h
        return rows(op) * directions(op) * cost

    return formula


def ptflops_recurrent(gates: int, products: int) -> Formula:
    """Both weights, both biases, and `products` element-wise products of size h. Fails on packed sequences."""

    def formula(op: Op) -> int:
        if op.find("data"):
            raise StopsError
        cost = 0
        for w_ih, w_hh, *others in layers(op):
            cost += w_ih.numel + w_hh.numel + biases(others) + products * w_hh.shape[0] // gates
        return rows(op) * directions(op) * cost

    return formula


def biases(weights: list[Tensor]) -> int:
    """Elements of the biases of a layer."""
    return sum(t.numel for t in weights if len(t.shape) == 1)


def thop_convolution(op: Op) -> int:
    """Output elements x input channels per group x kernel, for transposed convolutions as well."""
    return op.output.numel * (op["input"].shape[1] // op.attrs["groups"]) * prod(op["weight"].shape[2:])


def thop_softmax(op: Op) -> int:
    """Of n elements: n exponentials, n - 1 additions, n divisions."""
    features = op.inputs[0].shape[op.attrs["dim"]]
    return op.inputs[0].numel // features * (3 * features - 1)


def thop_adaptive_average(op: Op) -> int:
    """Additions over the mean window and one division per output element."""
    window = prod(i / o for i, o in zip(op.inputs[0].shape[2:], op.output.shape[2:], strict=True))
    return int((window + 1) * op.output.numel)


def ptflops_convolution(op: Op) -> int:
    """With a bias; the first dimension is taken to be the batch and the second the channels."""
    where = op["input"] if op.kind.startswith("conv_transpose") else op.output
    batch = op["input"].shape[0]
    bias = batch * prod(op.output.shape[1:]) if op.find("bias") else 0
    return batch * prod(where.shape[2:]) * op["weight"].numel + bias


def deformed_convolution(op: Op) -> int:
    """A convolution with 24 more operations per tap, 25 with a mask."""
    positions = op["input"].shape[0] * prod(op.output.shape[2:])
    extra = prod(op["weight"].shape[2:]) * (25 if op.attrs["use_mask"] else 24)
    return ptflops_convolution(op) + positions * extra


# The tables.

FVCORE: dict[str, Formula] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), fvcore_convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), convolution),
    "linear": linear,
    "addmm": product_of("mat1", "mat2"),
    "mm": product_of("self", "mat2"),
    "bmm": product_of("self", "mat2"),
    "matmul": fvcore_matmul,
    "einsum": fvcore_einsum,
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), cell),
    "batch_norm": fvcore_batch_norm,
    "layer_norm": fvcore_norm,
    "group_norm": fvcore_norm,
    "instance_norm": fvcore_norm,
    "adaptive_avg_pool2d": inputs(1),
    "upsample_nearest2d": outputs(1),
    "upsample_bilinear2d": outputs(4),
    "grid_sampler": outputs(4),
}


def each_of(types: str, kinds: str, formula: Formula) -> ModuleRules:
    """`formula` for every pair of a type and a kind, both separated by spaces."""
    return dict.fromkeys(product(types.split(), kinds.split()), formula)


CONVOLUTIONS = "conv1d conv2d conv3d"
TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
BATCH_NORMS = "BatchNorm1d BatchNorm2d BatchNorm3d"
INSTANCE_NORMS = "InstanceNorm1d InstanceNorm2d InstanceNorm3d"

THOP: ModuleRules = {
    **each_of("Conv1d Conv2d Conv3d", CONVOLUTIONS, thop_convolution),
    **each_of("ConvTranspose1d ConvTranspose2d ConvTranspose3d", TRANSPOSED, thop_convolution),
    **each_of("Linear", "linear", linear),
    **each_of(BATCH_NORMS + " SyncBatchNorm", "batch_norm", normalisation(4, 2)),
    **each_of(INSTANCE_NORMS, "instance_norm", normalisation(4, 2)),
    **each_of("LayerNorm", "layer_norm", normalisation(4, 2)),
    **each_of("PReLU", "prelu", inputs(1)),
    **each_of("Softmax", "softmax", thop_softmax),
    **each_of("AvgPool1d AvgPool2d AvgPool3d", "avg_pool1d avg_pool2d avg_pool3d", outputs(1)),
    **each_of("AdaptiveAvgPool1d", "adaptive_avg_pool1d", thop_adaptive_average),
    **each_of("AdaptiveAvgPool2d", "adaptive_avg_pool2d", thop_adaptive_average),
    **each_of("AdaptiveAvgPool3d", "adaptive_avg_pool3d", thop_adaptive_average),
    **each_of("Upsample UpsamplingNearest2d", "upsample_nearest1d upsample_nearest2d upsample_nearest3d", outputs(1)),
    **each_of("Upsample", "upsample_linear1d", outputs(5)),
    **each_of("Upsample UpsamplingBilinear2d", "upsample_bilinear2d", outputs(11)),
    **each_of("Upsample", "upsample_bicubic2d", outputs(224 + 35)),
    **each_of("RNN", "rnn_tanh rnn_relu", thop_recurrent(1, 0)),
    **each_of("RNNCell", "rnn_tanh_cell rnn_relu_cell", thop_recurrent(1, 0)),
    **each_of("GRU", "gru", thop_recurrent(3, 4)),
    **each_of("GRUCell", "gru_cell", thop_recurrent(3, 4)),
    **each_of("LSTM", "lstm", thop_recurrent(4, 4)),
    **each_of("LSTMCell", "lstm_cell", thop_recurrent(4, 4)),
}


POOLS = " ".join(
    f"{pool}{d}d" for pool in ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool") for d in "123"
)
POOL_TYPES = " ".join(
    f"{pool}{d}d" for pool in ("MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool") for d in "123"
)
UPSAMPLINGS = (
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d"
    " upsample_trilinear3d upsample_bicubic2d"
)

PTFLOPS: ModuleRules = {
    **each_of("Conv1d Conv2d Conv3d", CONVOLUTIONS, ptflops_convolution),
    **each_of("ConvTranspose1d ConvTranspose2d ConvTranspose3d", TRANSPOSED, ptflops_convolution),
    **each_of("DeformConv2d", "deform_conv2d", deformed_convolution),
    **each_of("Linear", "linear", biased(linear)),
    **each_of(BATCH_NORMS, "batch_norm", normalisation(2, 1)),
    **each_of(INSTANCE_NORMS, "instance_norm", normalisation(2, 1)),
    **each_of("GroupNorm", "group_norm", normalisation(2, 1)),
    **each_of("LayerNorm", "layer_norm", inputs(1)),
    **each_of("ReLU", "relu", inputs(1)),
    **each_of("ReLU6", "hardtanh", inputs(1)),
    **each_of("PReLU", "prelu", inputs(1)),
    **each_of("ELU", "elu", inputs(1)),
    **each_of("LeakyReLU", "leaky_relu", inputs(1)),
    **each_of("GELU", "gelu", inputs(1)),
    **each_of(POOL_TYPES, POOLS, inputs(1)),
    **each_of("Upsample", UPSAMPLINGS, lambda op: op.output.numel // op.output.shape[0]),
    **each_of("RNN", "rnn_tanh rnn_relu", ptflops_recurrent(1, 1)),
    **each_of("RNNCell", "rnn_tanh_cell rnn_relu_cell", ptflops_recurrent(1, 1)),
    **each_of("GRU", "gru", ptflops_recurrent(3, 7)),
    **each_of("GRUCell", "gru_cell", ptflops_recurrent(3, 7)),
    **each_of("LSTM", "lstm", ptflops_recurrent(4, 10)),
    **each_of("LSTMCell", "lstm_cell", ptflops_recurrent(4, 10)),
    **each_of("MultiheadAttention Attention", "scaled_dot_product_attention", attention),
    **each_of("MultiheadAttention", "linear", biased(linear)),
    **each_of("MultiheadAttention", "bmm", lambda op: product_of("self", "mat2")(op) + op.output.numel),
    **each_of("MultiheadAttention", "matmul", lambda op: product_of("self", "other")(op) + op.output.numel),
    **each_of("MultiheadAttention", "baddbmm", lambda op: product_of("batch1", "batch2")(op) + op.output.numel),
}

# ptflops patches these functions, so they count wherever they are called, a second time inside modules of the table
# above. A profile cannot tell `F.softmax(x)` from `x.softmax()`, or `torch.matmul(a, b)` from `a @ b`: all count as the
# first. Additions and multiplications count as operators (`+`, `*`), which ptflops does not see.
PTFLOPS_FUNCTIONS: dict[str, Formula] = {
    **dict.fromkeys(("relu", "prelu", "elu", "relu6", "gelu", "silu", "softmax"), inputs(1)),
    **dict.fromkeys(POOLS.split(), inputs(1)),
    **dict.fromkeys(UPSAMPLINGS.split(), outputs(1)),
    "matmul": product_of("self", "other"),
    "mm": product_of("self", "mat2"),
    "bmm": product_of("self", "mat2"),
    "addmm": lambda op: product_of("mat1", "mat2")(op) + op["self"].numel,
    "baddbmm": lambda op: product_of("batch1", "batch2")(op) + op["self"].numel,
}

# Modules that bind a function when they are built, so that the patch does not reach them.
BIND_FUNCTIONS = ("TransformerEncoderLayer", "TransformerDecoderLayer")

# Classes outside torch that ptflops counts, by the end of their source file.
OUTSIDE_TORCH = {"DeformConv2d": "torchvision/ops/deform_conv.py", "Attention": "timm/layers/attention.py"}
