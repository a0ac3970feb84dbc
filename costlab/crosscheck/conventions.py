"""What fvcore, thop and ptflops would print for a profile, by each tool's published rules.

One table a tool, from what it looks at to its formula. What a tool's table does not hold, that tool counts as zero.
fvcore looks at operators; thop and ptflops look at modules by their exact type, ptflops also at functions of
`torch.nn.functional`. Read in fvcore 0.1.5.post20221221, thop 0.1.1.post2209072238 and ptflops 0.7.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op, Source, Tensor
from costlab.core.profile import Profile
from costlab.errors import CostlabError

Formula = Callable[[Op], int]


class StopsError(Exception):
    """The tool ends with an error at this operator."""


# Formulas.


def inputs(times: int) -> Formula:
    """`times` for each element of the first input."""
    return lambda op: times * op.inputs[0].numel


def outputs(times: int) -> Formula:
    """`times` for each output element."""
    return lambda op: times * op.output.numel


def normalisation(with_weight: int, without: int) -> Formula:
    """So many for each element, with and without a weight."""
    return lambda op: (with_weight if op.find("weight") else without) * op.inputs[0].numel


def convolution(op: Op) -> int:
    """Batch x weight x output positions, input positions where it is transposed."""
    where = op["input"] if op.kind.startswith("conv_transpose") else op.output
    positions = where.numel // where.shape[-len(op["weight"].shape) + 1]
    return positions * op["weight"].numel


def biased(formula: Formula) -> Formula:
    """`formula`, and one for each output element where there is a bias."""
    return lambda op: formula(op) + (op.output.numel if op.find("bias") else 0)


def linear(op: Op) -> int:
    """Input elements x output features."""
    return op["input"].numel * op["weight"].shape[0]


def product_of(left: str, right: str) -> Formula:
    """Elements of the left matrices x columns of the right ones; a batch that only the right side has is missed."""
    return lambda op: op[left].numel * op[right].shape[-1]


def cell(op: Op) -> int:
    """One step of a recurrent network: its two linear layers."""
    return op["input"].shape[0] * (op["w_ih"].numel + op["w_hh"].numel)


def attention(op: Op) -> int:
    """q, scaled; q k and softmax, scores v: n h l e + n h l s (e + 1 + v)."""
    q, k, v = op["query"], op["key"], op["value"]
    scores = q.numel // q.shape[-1] * k.shape[-2]
    return q.numel + scores * (q.shape[-1] + 1 + v.shape[-1])


# fvcore: one formula an operator (fvcore/nn/flop_count.py, jit_handles.py).


def fvcore_convolution(op: Op) -> int:
    """Nothing for one whose padding is given in words: it is another operator."""
    return 0 if isinstance(op.attrs.get("padding"), str) else convolution(op)


def fvcore_norm(op: Op) -> int:
    """5 an element with a weight, else 4. Stops outside 2 to 5 dimensions."""
    if not 2 <= len(op.inputs[0].shape) <= 5:
        raise StopsError
    return normalisation(5, 4)(op)


def fvcore_batch_norm(op: Op) -> int:
    return fvcore_norm(op) if op.attrs.get("training") else normalisation(2, 1)(op)


def fvcore_matmul(op: Op) -> int:
    """Stops where the right side is a vector."""
    if len(op["other"].shape) < 2:
        raise StopsError
    return product_of("self", "other")(op)


def fvcore_einsum(op: Op) -> int:
    """Half of numpy's FLOPs on its best path, printed with four digits; two equations have a product instead."""
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


# thop and ptflops: one formula a module type and the operator inside it.

ModuleRules = dict[tuple[str, str], Formula]


def each_of(types: str, kinds: str, formula: Formula) -> ModuleRules:
    """`formula` for every type with every kind, both lists of words."""
    return dict.fromkeys(product(types.split(), kinds.split()), formula)


def layers(op: Op) -> Iterator[list[Tensor]]:
    """The weights of each layer of a recurrent operator, in one direction, or of a cell: w_ih, w_hh and the others."""
    if op.kind.endswith("_cell"):
        yield [t for t in op.inputs if t.name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        return
    weights = op.each("params")
    step = len(weights) // op.attrs["num_layers"]
    for first in range(0, len(weights), step):
        yield weights[first : first + step // directions(op)]


def directions(op: Op) -> int:
    return 2 if op.attrs.get("bidirectional") else 1


def rows(op: Op) -> int:
    """Steps x batch of a recurrent operator; of packed sequences, as if all were as long as the longest."""
    if op.kind.endswith("_cell"):
        return op["input"].shape[0]
    if op.find("data"):
        state = op.find("hx") or op["hx.0"]
        return op["batch_sizes"].numel * state.shape[-2]
    return prod(op["input"].shape[:2])


def thop_recurrent(gates: int, products: int) -> Formula:
    """A gate costs h (i + h) + h, 2 h more with biases; `products` element-wise ones of size h follow."""

    def formula(op: Op) -> int:
        cost = 0
        for layer, (w_ih, w_hh, *others) in enumerate(layers(op)):
            h = w_hh.shape[0] // gates
            i = directions(op) * h if layer else w_ih.shape[1]
            cost += gates * (h * (i + h) + h + (2 * h if biases(others) else 0)) + products * h
        return rows(op) * directions(op) * cost

    return formula


def ptflops_recurrent(gates: int, products: int) -> Formula:
    """Both weights, both biases, and `products` element-wise ones of size h. Stops at packed sequences."""

    def formula(op: Op) -> int:
        if op.find("data"):
            raise StopsError
        cost = 0
        for w_ih, w_hh, *others in layers(op):
            cost += w_ih.numel + w_hh.numel + biases(others) + products * w_hh.shape[0] // gates
        return rows(op) * directions(op) * cost

    return formula


def biases(weights: list[Tensor]) -> int:
    """Elements of the biases among the weights of a layer."""
    return sum(t.numel for t in weights if len(t.shape) == 1)


def thop_convolution(op: Op) -> int:
    """Output elements x input channels of a group x kernel: a transposed one too, over its output."""
    return op.output.numel * (op["input"].shape[1] // op.attrs["groups"]) * prod(op["weight"].shape[2:])


def thop_softmax(op: Op) -> int:
    """Of n elements: n exponentials, n - 1 additions, n divisions."""
    features = op.inputs[0].shape[op.attrs["dim"]]
    return op.inputs[0].numel // features * (3 * features - 1)


def thop_adaptive_average(op: Op) -> int:
    """Additions over the mean window and one division an output element."""
    window = prod(i / o for i, o in zip(op.inputs[0].shape[2:], op.output.shape[2:], strict=True))
    return int((window + 1) * op.output.numel)


def ptflops_convolution(op: Op) -> int:
    """The same with a bias; the first dimension is taken for the batch and the second for channels."""
    where = op["input"] if op.kind.startswith("conv_transpose") else op.output
    batch = op["input"].shape[0]
    bias = batch * prod(op.output.shape[1:]) if op.find("bias") else 0
    return batch * prod(where.shape[2:]) * op["weight"].numel + bias


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


def deformed_convolution(op: Op) -> int:
    """A convolution whose every tap takes 24 operations more, 25 with a mask."""
    positions = op["input"].shape[0] * prod(op.output.shape[2:])
    extra = prod(op["weight"].shape[2:]) * (25 if op.attrs["use_mask"] else 24)
    return ptflops_convolution(op) + positions * extra


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

# ptflops replaces these functions in their namespace: they count wherever they are called, once more inside a module of
# the table above. A profile does not tell `F.softmax(x)` from `x.softmax()`, or `torch.matmul(a, b)` from `a @ b`: all
# are taken for the first. Additions and multiplications are taken for operators, which ptflops does not see.
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

# They keep the function that they call from the day they were built.
HOLD_FUNCTIONS = ("TransformerEncoderLayer", "TransformerDecoderLayer")

# Classes outside torch that ptflops knows, by the end of the file that they are written in.
ELSEWHERE = {"DeformConv2d": "torchvision/ops/deform_conv.py", "Attention": "timm/layers/attention.py"}


def module_types(profile: Profile) -> list[str]:
    """For each operator the type of the module that calls it, where that is a class of torch or of `ELSEWHERE`, or "".

    A subclass is another type, also of the same name. A profile gives for a class of torch the line that calls it, and
    for any other the line that it is written in: this is how they are told apart.
    """
    lines: dict[str, Source] = {}
    for op in profile.ops:
        if op.source is not None:
            lines.setdefault(op.module, op.source)
    known = {}
    for module in profile.trace.modules:
        file = module.source.file if module.source else ""
        own = module.source is None or module.source == lines.get(module.path)
        own = own or (module.type in ELSEWHERE and file.endswith(ELSEWHERE[module.type]))
        known[module.path] = module.type if own else ""
    types = [known.get(op.module, "") for op in profile.ops]
    parts = encoder_parts(profile.ops)
    return [part if owner == "TransformerEncoderLayer" else owner for owner, part in zip(types, parts, strict=True)]


def encoder_parts(ops: tuple[Op, ...]) -> Iterator[str]:
    """The part of nn.TransformerEncoderLayer that calls an operator: its fused path calls none of its modules.

    Linear layers go to the attention up to the one that follows the scores, and after it to nn.Linear.
    """
    attended: dict[str, int] = {}
    for op in ops:
        since = attended.get(op.module, 3)  # linear layers since the scores
        if op.kind == "scaled_dot_product_attention":
            attended[op.module] = 0
            yield "MultiheadAttention"
        elif op.kind == "linear":
            attended[op.module] = since + 1
            yield "Linear" if 1 <= since < 3 else "MultiheadAttention"
        else:
            yield "LayerNorm" if op.kind == "layer_norm" else "TransformerEncoderLayer"


def fvcore(profile: Profile) -> list[int | None]:
    """Its tracer drops what no output depends on."""
    dropped = unused(profile)
    return [0 if op.name in dropped else counted(op, FVCORE.get(op.kind)) for op in profile.ops]


def unused(profile: Profile) -> set[str]:
    """The names of operators whose results do not enter into what the network returns."""
    outputs = set(profile.trace.outputs)
    waiting = [i for i, op in enumerate(profile.ops) if any(t.storage in outputs for t in op.outputs)]
    used = set(waiting)
    while waiting:
        before = set(profile.ops[waiting.pop()].after) - used
        used |= before
        waiting.extend(before)
    return {op.name for i, op in enumerate(profile.ops) if i not in used}


def thop(profile: Profile) -> list[int | None]:
    types = module_types(profile)
    return [counted(op, THOP.get((owner, op.kind))) for op, owner in zip(profile.ops, types, strict=True)]


def ptflops(profile: Profile) -> list[int | None]:
    """Its default backend, `pytorch`. Modules below one that it knows are left out."""
    types = module_types(profile)
    covers = tuple({f"{op.module}." for op, owner in zip(profile.ops, types, strict=True) if owner == "Attention"})
    counts = []
    for op, owner in zip(profile.ops, types, strict=True):
        rule = None if op.module.startswith(covers) else PTFLOPS.get((owner, op.kind))
        function = None if owner in HOLD_FUNCTIONS else PTFLOPS_FUNCTIONS.get(op.kind)
        counts.append(counted(op, rule, function))
    return counts


def counted(op: Op, *formulas: Formula | None) -> int | None:
    """What formulas add up to for one operator; None where the tool stops with an error."""
    try:
        return sum(formula(op) for formula in formulas if formula and not op.free)
    except StopsError:
        return None


CONVENTIONS: dict[str, Callable[[Profile], list[int | None]]] = {"fvcore": fvcore, "thop": thop, "ptflops": ptflops}


@dataclass(frozen=True, slots=True)
class Printed:
    """What a tool would print."""

    tool: str
    families: Mapping[str, int]  # by family of operators, zeros left out
    total: int | None  # None where it stops with an error
    stops_at: str | None  # the name of the operator


def printed(profile: Profile, tool: str) -> Printed:
    """What `tool`, one of `CONVENTIONS`, would print for the whole batch. Raises CostlabError for another tool."""
    if tool not in CONVENTIONS:
        raise CostlabError(f"no convention {tool!r}; there are {', '.join(CONVENTIONS)}")
    families: Counter[str] = Counter()
    stops_at = None
    for op, count in zip(profile.ops, CONVENTIONS[tool](profile), strict=True):
        families[FAMILY_OF.get(op.kind, op.kind)] += count or 0
        if count is None and stops_at is None:
            stops_at = op.name
    return Printed(tool, {f: n for f, n in families.items() if n}, None if stops_at else families.total(), stops_at)
