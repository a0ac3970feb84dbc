"""Random networks: `random_network(rng)` draws nested, shared, branching programs over every family of operators.

A network grows step by step on small real tensors: a step is drawn, tried on values made so far, and kept where torch
accepts it. `rng` may be a `random.Random` or what hypothesis' `st.randoms()` draws, which shrinks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST = 3000  # elements of any value
REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, AssertionError, KeyError, ZeroDivisionError)
Function = Callable[..., Any]  # an nn.Module or a plain function of values
Maker = Callable[[Random, Tensor], Function | None]  # a step for that value; None where it does not fit


class Block(nn.Module):
    """A program: every step takes values by position and appends its results; the last few are given back."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, Function, tuple[int, ...]]] = []
        self.results: tuple[int, ...] = ()
        self.shape = "tuple"

    def add(self, name: str, function: Function, operands: tuple[int, ...]) -> None:
        if isinstance(function, nn.Module):
            self.add_module(f"{name}_{len(self.steps)}", function)
        self.steps.append((name, function, operands))

    def forward(self, *given: Tensor) -> Any:
        values = list(given)
        for _, function, operands in self.steps:
            values += tensors_of(function(*(values[i] for i in operands)))
        results = [values[i] for i in self.results]
        if self.shape == "dict":
            return {f"out_{i}": value for i, value in enumerate(results)}
        return results[0] if self.shape == "tensor" else tuple(results)

    def extra_repr(self) -> str:
        return "\n".join(f"{name}{operands}" for name, _, operands in self.steps)


@dataclass(frozen=True)
class Drawn:
    """A random network with inputs for it."""

    network: Block
    inputs: tuple[Tensor, ...]
    steps: tuple[str, ...]
    dynamic: bool  # sizes rest on values, which the meta device does not have


def random_network(rng: Random, most: int = 14) -> Drawn:
    """A network of 1 to `most` steps, those of nested blocks not counted, in eval mode."""
    inputs = [draw(rng) for draw in rng.sample([image, sequence, tokens, volume, matrix], rng.randint(1, 2))]
    names: list[str] = []
    shared: list[tuple[str, nn.Module]] = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = [value.clone() for value in inputs]
        network = grown(rng, values, rng.randint(1, most), 0, names, shared)
    if rng.random() < 0.3:
        network.register_parameter("spare", nn.Parameter(torch.zeros(3)))
    return Drawn(network.eval(), tuple(inputs), tuple(names), not DYNAMIC.keys().isdisjoint(names))


def grown(
    rng: Random, values: list[Tensor], steps: int, depth: int, names: list[str], shared: list[tuple[str, nn.Module]]
) -> Block:
    """A block of so many steps; `values` gets its results appended, as its forward would have them."""
    block = Block()
    for _ in range(steps):
        chosen = rng.random()
        if chosen < 0.12 and depth < 2:
            nested(rng, block, values, depth, names, shared)
        elif chosen < 0.2 and shared:
            name, module = rng.choice(shared)
            attempt(block, values, name, module, (position(rng, values),), names)
        else:
            drawn(rng, block, values, names, shared)
    last = len(values)
    block.results = tuple(sorted({last - 1, *(rng.randrange(last) for _ in range(rng.randint(0, 2)))}))
    block.shape = rng.choice(["tuple", "dict", "tensor"])
    return block


def nested(
    rng: Random, block: Block, values: list[Tensor], depth: int, names: list[str], shared: list[tuple[str, nn.Module]]
) -> None:
    """A block inside the block."""
    operands = tuple(position(rng, values) for _ in range(rng.randint(1, 2)))
    inside = [values[i] for i in operands]
    child = grown(rng, inside, rng.randint(1, 5), depth + 1, names, shared)
    kept = child.results[:1] if child.shape == "tensor" else child.results
    values += [inside[i] for i in kept]
    block.add("block", child, operands)
    if len(operands) == 1:
        shared.append(("block", child))


def drawn(
    rng: Random, block: Block, values: list[Tensor], names: list[str], shared: list[tuple[str, nn.Module]]
) -> None:
    """A step of some kind on some values; nothing where no attempt fits."""
    for _ in range(30):
        first, second = position(rng, values), position(rng, values)
        table: dict[str, Any] = rng.choice(TABLES)
        name = rng.choice(list(table))
        pair = table is PAIRS
        try:
            function = table[name](rng, values[first], *([values[second]] if pair else []))
        except REFUSALS:  # no layer is made for nothing
            continue
        if function is None:
            continue
        if isinstance(function, nn.Module):
            function.eval()
        if attempt(block, values, name, function, (first, second) if pair else (first,), names):
            if isinstance(function, nn.Module) and not pair:
                shared.append((name, function))
            return


def attempt(
    block: Block, values: list[Tensor], name: str, function: Function, operands: tuple[int, ...], names: list[str]
) -> bool:
    """Add the step where torch accepts it and its results are of use."""
    try:
        results = list(tensors_of(function(*(values[i] for i in operands))))
    except REFUSALS:
        return False
    if not results or any(t.numel() > MOST for t in results):
        return False
    values += results
    block.add(name, function, operands)
    names.append(name)
    return True


def position(rng: Random, values: list[Tensor]) -> int:
    """A value, rather one of the latest."""
    return max(rng.randrange(len(values)) for _ in range(rng.randint(1, 2)))


def tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from tensors_of(member)


# Inputs.


def image(rng: Random) -> Tensor:
    return torch.randn(rng.choice([1, 2]), rng.choice([1, 2, 4, 6]), rng.randint(3, 9), rng.randint(3, 9))


def sequence(rng: Random) -> Tensor:
    return torch.randn(rng.choice([1, 2, 3]), rng.randint(2, 6), rng.choice([2, 4, 6, 8]))


def volume(rng: Random) -> Tensor:
    return torch.randn(1, rng.choice([2, 4]), rng.randint(2, 4), rng.randint(3, 5), rng.randint(3, 5))


def matrix(rng: Random) -> Tensor:
    return torch.randn(rng.randint(2, 6), rng.choice([2, 3, 4, 8]))


def tokens(rng: Random) -> Tensor:
    return torch.randint(0, 5, (rng.randint(1, 3), rng.randint(2, 6)))


# Layers.


def divisor(rng: Random, *numbers: int) -> int:
    """A common divisor."""
    common = gcd(*numbers)
    return rng.choice([d for d in range(1, common + 1) if common % d == 0])


def convolution(rank: int, transposed: bool = False) -> Maker:
    layer: Any = getattr(nn, f"Conv{'Transpose' if transposed else ''}{rank}d")

    def make(rng: Random, x: Tensor) -> Function | None:
        if x.dim() != rank + 2:
            return None
        inputs, outputs = x.shape[1], rng.choice([1, 2, 4, 6, x.shape[1]])
        kernel = tuple(rng.randint(1, 3) for _ in range(rank))
        options: dict[str, Any] = {"groups": divisor(rng, inputs, outputs), "bias": rng.random() < 0.5}
        stride, padding, dilation = rng.choice([1, 1, 2]), rng.choice([0, 1, 2]), rng.choice([1, 1, 2])
        if transposed:
            extra = rng.randrange(max(stride, dilation))
            return layer(inputs, outputs, kernel, stride, padding, extra, dilation=dilation, **options)
        if rng.random() < 0.2:
            options["padding_mode"] = rng.choice(["reflect", "replicate", "circular"])
        if stride == 1 and rng.random() < 0.2:
            return layer(inputs, outputs, kernel, padding="same", dilation=dilation, **options)
        return layer(inputs, outputs, kernel, stride, padding, dilation, **options)

    return make


def last(layer: Callable[[Random, int], nn.Module], *ranks: int) -> Maker:
    """A layer made for the last dimension."""
    return lambda rng, x: layer(rng, x.shape[-1]) if x.dim() in (ranks or range(1, 7)) else None


def channels(layer: Callable[[Random, int], nn.Module], *ranks: int) -> Maker:
    """A layer made for dimension 1."""
    return lambda rng, x: layer(rng, x.shape[1]) if x.dim() in ranks else None


def recurrent(layer: Any) -> Maker:
    def make(rng: Random, x: Tensor) -> Function | None:
        if x.dim() != 3:
            return None
        options: dict[str, Any] = {"proj_size": 2} if layer is nn.LSTM and rng.random() < 0.3 else {}
        if layer is nn.RNN:
            options["nonlinearity"] = rng.choice(["tanh", "relu"])
        return layer(
            x.shape[-1],
            rng.choice([3, 4]),
            rng.randint(1, 2),
            bias=rng.random() < 0.7,
            batch_first=rng.random() < 0.5,
            bidirectional=rng.random() < 0.4,
            **options,
        )

    return make


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.attention(x, x, x, need_weights=x.shape[1] % 2 == 0)[0]


def encoder(rng: Random, width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, divisor(rng, width), 8, batch_first=True, norm_first=rng.random() < 0.5)


def pooling(name: str, rank: int) -> Maker:
    def make(rng: Random, x: Tensor) -> Function | None:
        if x.dim() not in (rank + 1, rank + 2):
            return None
        layer = getattr(nn, f"{name}Pool{rank}d")
        if name.startswith("Adaptive"):
            return layer(tuple(rng.randint(1, 4) for _ in range(rank)))
        kernel = rng.choice([2, 3, *([(3, 2, 2)[:rank]] if rank > 1 else [])])
        options: dict[str, Any] = {"ceil_mode": rng.random() < 0.3}
        if name == "Max":
            options |= {"dilation": rng.choice([1, 2]), "return_indices": rng.random() < 0.2}
        elif name == "Avg":
            options["count_include_pad"] = rng.random() < 0.5
        else:
            return layer(2, kernel, rng.choice([1, 2]), **options)
        return layer(kernel, rng.choice([None, 1, 2]), rng.choice([0, 1]), **options)

    return make


class Rows(nn.Module):
    """A table of embeddings, looked up by integers of any size."""

    def __init__(self, table: nn.Module, size: int) -> None:
        super().__init__()
        self.table = table
        self.size = size

    def forward(self, x: Tensor) -> Any:
        return self.table(x.long().remainder(self.size))


class Tied(nn.Module):
    """A table that is a linear layer's weight as well."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(7, width)
        self.out = nn.Linear(width, 7)
        self.out.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.table(x.long().remainder(7)))


class Scaled(nn.Module):
    """Reads a parameter as a view, and a buffer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, width))
        self.register_buffer("shift", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.view(-1) + self.shift


class Counting(nn.Module):
    """Changes a buffer of its own, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen = x
        return x * self.calls


def normalised(rng: Random, width: int) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(width, rng.choice([2, 3])))


ACTIVATIONS = (
    "ReLU ReLU6 SiLU GELU Mish ELU CELU SELU LeakyReLU Hardswish Hardsigmoid Hardtanh Sigmoid Tanh Softplus Softsign"
    " LogSigmoid Hardshrink Softshrink Tanhshrink Identity Dropout AlphaDropout"
).split()
IN_PLACE = "ReLU ReLU6 SiLU ELU CELU SELU LeakyReLU Hardswish Hardsigmoid Hardtanh Mish Dropout".split()

LAYERS: dict[str, Maker] = {
    **{f"conv{rank}d": convolution(rank) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": convolution(rank, transposed=True) for rank in (1, 2, 3)},
    "linear": last(lambda rng, n: nn.Linear(n, rng.choice([1, 2, 4, 6]), bias=rng.random() < 0.7)),
    "normalised": last(normalised),
    **{layer.__name__: recurrent(layer) for layer in (nn.LSTM, nn.GRU, nn.RNN)},
    "lstm_cell": last(lambda rng, n: nn.LSTMCell(n, 3), 2),
    "gru_cell": last(lambda rng, n: nn.GRUCell(n, 3), 2),
    "rnn_cell": last(lambda rng, n: nn.RNNCell(n, 3, nonlinearity=rng.choice(["tanh", "relu"])), 2),
    "self_attention": last(lambda rng, n: SelfAttention(n, divisor(rng, n)), 3),
    "encoder": last(encoder, 3),
    "batch_norm": lambda rng, x: {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(
        x.dim(), nn.Identity
    )(x.shape[1] if x.dim() > 1 else 1, affine=rng.random() < 0.7),
    "instance_norm": channels(lambda rng, n: nn.InstanceNorm2d(n, affine=rng.random() < 0.5), 4),
    "group_norm": channels(lambda rng, n: nn.GroupNorm(divisor(rng, n), n), 2, 3, 4, 5),
    "layer_norm": last(lambda rng, n: nn.LayerNorm(n, elementwise_affine=rng.random() < 0.7)),
    "rms_norm": last(lambda rng, n: nn.RMSNorm(n)),
    "local_response_norm": channels(lambda rng, n: nn.LocalResponseNorm(2), 4),
    **{
        f"{name}_pool{rank}d": pooling(name, rank)
        for name in ("Max", "Avg", "LP", "AdaptiveAvg", "AdaptiveMax")
        for rank in (1, 2, 3)
    },
    "activation": lambda rng, x: getattr(nn, rng.choice(ACTIVATIONS))(),
    "activation in place": lambda rng, x: getattr(nn, rng.choice(IN_PLACE))(inplace=True),
    "prelu": channels(lambda rng, n: nn.PReLU(rng.choice([1, n])), 2, 3, 4, 5),
    "glu": last(lambda rng, n: nn.GLU()),
    "embedding": lambda rng, x: Rows(nn.Embedding(5, rng.choice([2, 4])), 5),
    "embedding_bag": lambda rng, x: Rows(nn.EmbeddingBag(5, 3, mode=rng.choice(["sum", "mean", "max"])), 5),
    "tied": lambda rng, x: Tied(rng.choice([2, 4])),
    "scaled": last(lambda rng, n: Scaled(n)),
    "counting": lambda rng, x: Counting(),
    "pixel_shuffle": lambda rng, x: nn.PixelShuffle(2) if rng.random() < 0.5 else nn.PixelUnshuffle(2),
    "channel_shuffle": channels(lambda rng, n: nn.ChannelShuffle(divisor(rng, n)), 4),
    "upsample": lambda rng, x: interpolation(rng, x),
    "pad": lambda rng, x: padding(rng, x),
    "unfold": lambda rng, x: nn.Unfold(2, stride=rng.choice([1, 2])) if x.dim() == 4 else None,
}


def interpolation(rng: Random, x: Tensor) -> Function | None:
    modes = {3: ["nearest", "linear"], 4: ["nearest", "bilinear", "bicubic", "area"], 5: ["nearest", "trilinear"]}
    if x.dim() not in modes or not x.numel():  # of nothing, torch takes it apart on the meta device alone
        return None
    mode = rng.choice(modes[x.dim()])
    corners = {"align_corners": rng.random() < 0.5} if "linear" in mode or "cubic" in mode else {}
    if rng.random() < 0.5:
        return nn.Upsample(scale_factor=rng.choice([2, 1.5, 0.5]), mode=mode, **corners)
    size = tuple(rng.randint(2, 6) for _ in range(x.dim() - 2))
    return lambda x: F.interpolate(x, size, mode=mode, **corners)


def padding(rng: Random, x: Tensor) -> Function:
    mode = rng.choice(["constant", "reflect", "replicate", "circular"])
    sides = [rng.randint(0, 2) for _ in range(2 * rng.randint(1, min(3, max(x.dim() - 2, 1))))]
    return lambda x: F.pad(x, sides, mode=mode)


# Functions of one value.


def dim_of(rng: Random, x: Tensor) -> int:
    return rng.randrange(-x.dim(), x.dim()) if x.dim() else 0


def along(function: Callable[[Tensor, int], Any]) -> Maker:
    """A function along some dimension."""

    def make(rng: Random, x: Tensor) -> Function:
        dim = dim_of(rng, x)
        return lambda x: function(x, dim)

    return make


def call(*functions: Function) -> Maker:
    """One of several functions."""
    return lambda rng, x: rng.choice(functions)


def named(words: str) -> Maker:
    """One of torch's functions by name."""
    return lambda rng, x: getattr(torch, rng.choice(words.split()))


def some(x: Tensor, dim: int, count: int = 3) -> Tensor:
    """Indices into a dimension."""
    return torch.arange(count) % x.shape[dim]


def places(x: Tensor) -> Tensor:
    """Indices of the shape of x that point at the first row."""
    return torch.zeros(x.shape, dtype=torch.long)


def sliced(rng: Random, x: Tensor) -> Function | None:
    if not x.dim():
        return None
    dim, start, step = rng.randrange(x.dim()), rng.randint(0, 1), rng.choice([1, 1, 2])
    key = (slice(None),) * dim + (slice(start, None, step),)
    return lambda x: x[key]


def permuted(rng: Random, x: Tensor) -> Function:
    order = rng.sample(range(x.dim()), x.dim())
    return lambda x: x.permute(order)


def reshaped(rng: Random, x: Tensor) -> Function:
    first = divisor(rng, x.numel())
    shape = rng.choice([(-1,), (first, -1), (1, first, -1), (first, -1, 1)])
    return rng.choice([lambda x: x.reshape(shape), lambda x: x.view(shape)])


def repeated(rng: Random, x: Tensor) -> Function:
    times = [rng.randint(1, 2) for _ in range(x.dim())]
    return lambda x: x.repeat(times)


def expanded(rng: Random, x: Tensor) -> Function:
    copies = rng.randint(1, 3)
    return lambda x: x.unsqueeze(0).expand(copies, *x.shape)


def reduction(rng: Random, x: Tensor) -> Function:
    function = getattr(torch, rng.choice("sum mean amax amin prod logsumexp var std norm all any".split()))
    dim, keep = dim_of(rng, x), rng.random() < 0.5
    return lambda x: function(x, dim=dim, keepdim=keep)


def spectrum(rng: Random, x: Tensor) -> Function:
    name = rng.choice("fft ifft rfft irfft hfft ihfft fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn".split())
    return getattr(torch.fft, name)


def written(function: Callable[[Tensor], Any]) -> Maker:
    """A function that changes its argument and gives back nothing of use."""

    def step(x: Tensor) -> Tensor:
        function(x)
        return x

    return lambda rng, x: step if x.dim() else None


def assign(x: Tensor) -> None:
    x[0] = x[-1]


def assign_rows(x: Tensor) -> None:
    x[some(x, 0, 2)] = 1


def convert(rng: Random, x: Tensor) -> Function:
    dtype = rng.choice([torch.float32] * 4 + [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool])
    return lambda x: x.to(dtype)


UNARY = (
    "abs neg sign floor ceil round trunc frac sqrt rsqrt reciprocal exp exp2 expm1 log log2 log10 log1p sin cos tan"
    " asin acos atan sinh cosh tanh asinh acosh atanh erf erfc erfinv sigmoid logit square relu selu celu isnan isinf"
    " isfinite logical_not bitwise_not nan_to_num signbit sinc i0 lgamma digamma deg2rad rad2deg positive conj_physical"
    " sgn angle real"
)

FUNCTIONS: dict[str, Maker] = {
    "unary": named(UNARY),
    "unary again": named(UNARY),
    "unary in place": lambda rng, x: getattr(torch, rng.choice("relu_ tanh_ sigmoid_ neg_ abs_ exp_ cos_".split())),
    "number": call(
        lambda x: x + 1,
        lambda x: 2 * x,
        lambda x: 1 - x,
        lambda x: x / 3,
        lambda x: x**2,
        lambda x: 2**x,
        lambda x: x // 2,
        lambda x: x % 3,
        lambda x: x > 0,
        lambda x: x.clamp(-1, 1),
        lambda x: x.clamp_min(0),
    ),
    "number in place": call(lambda x: x.add_(1), lambda x: x.mul_(2), lambda x: x.clamp_(-1, 1), lambda x: x.div_(2)),
    "softmax": along(torch.softmax),
    "log_softmax": along(torch.log_softmax),
    "softmin": along(lambda x, dim: F.softmin(x, dim)),
    "reduction": reduction,
    "reduction of all": named("sum mean max min prod var std norm logsumexp argmax median any all count_nonzero trace"),
    "arg": along(lambda x, dim: torch.argmax(x, dim)),
    "max with indices": along(lambda x, dim: torch.max(x, dim)),
    "statistics": along(lambda x, dim: torch.var_mean(x, dim)),
    "cumulative": along(lambda x, dim: torch.cumsum(x, dim)),
    "cumulative product": along(lambda x, dim: torch.cumprod(x, dim)),
    "cumulative max": along(lambda x, dim: torch.cummax(x, dim)),
    "sort": along(lambda x, dim: torch.sort(x, dim)),
    "argsort": along(lambda x, dim: torch.argsort(x, dim)),
    "topk": along(lambda x, dim: torch.topk(x, 2, dim)),
    "kthvalue": along(lambda x, dim: torch.kthvalue(x, 1, dim)),
    "renormalised": along(lambda x, dim: F.normalize(x, dim=dim)),
    "slice": sliced,
    "slice again": sliced,
    "permute": permuted,
    "reshape": reshaped,
    "flatten": call(lambda x: x.flatten(1), torch.ravel, lambda x: x.unflatten(-1, (-1, 2))),
    "transpose": call(lambda x: x.mT, lambda x: x.transpose(0, -1), lambda x: x.movedim(0, -1), lambda x: x.t()),
    "contiguous": call(lambda x: x.contiguous(), lambda x: x.clone(), lambda x: x.detach()),
    "squeeze": call(lambda x: x.squeeze(), lambda x: x.unsqueeze(-1), lambda x: x[None], lambda x: x[..., None]),
    "expand": expanded,
    "repeat": repeated,
    "interleave": along(lambda x, dim: x.repeat_interleave(2, dim)),
    "tile": call(lambda x: x.tile(2), lambda x: torch.stack([x, x])),
    "roll": along(lambda x, dim: x.roll(1, dim)),
    "flip": along(lambda x, dim: x.flip(dim)),
    "rotate": call(torch.rot90, torch.fliplr, torch.flipud),
    "chunk": along(lambda x, dim: x.chunk(2, dim)),
    "split": along(lambda x, dim: x.split(2, dim)),
    "split in sizes": along(lambda x, dim: x.split([1, x.shape[dim] - 1], dim)),
    "tensor_split": along(lambda x, dim: torch.tensor_split(x, 2, dim)),
    "unbind": along(lambda x, dim: x.unbind(dim)[:3]),
    "select": along(lambda x, dim: x.select(dim, -1)),
    "narrow": along(lambda x, dim: x.narrow(dim, 0, 1)),
    "windows": along(lambda x, dim: x.unfold(dim, 2, 1)),
    "strided": call(lambda x: x.as_strided((2, 2), (1, 1))),
    "diagonal": call(torch.diagonal, torch.diag_embed, torch.tril, torch.triu),
    "convert": convert,
    "complex": call(torch.view_as_complex, torch.view_as_real, lambda x: torch.complex(x, x), torch.conj_physical),
    "spectrum": spectrum,
    "fold": call(lambda x: F.fold(x, (3, 3), (2, 2))),
    "quantised": call(lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize()),
    "fake_quantize": call(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255)),
    "one_hot": call(lambda x: F.one_hot(x.long() % 4, 4)),
    "created": call(
        lambda x: x + torch.ones_like(x),
        lambda x: x * torch.arange(x.shape[-1]),
        lambda x: x + x.new_zeros(x.shape),
        lambda x: x + torch.full_like(x, 2),
        lambda x: x @ torch.eye(x.shape[-1]),
        lambda x: x * torch.rand_like(x),
        lambda x: x + torch.linspace(0, 1, x.shape[-1]),
        lambda x: x * torch.tensor(2.0),
    ),
    "gather": along(lambda x, dim: x.gather(dim, places(x))),
    "take": call(lambda x: x.take(places(x)), lambda x: torch.take_along_dim(x, places(x), 0)),
    "index_select": along(lambda x, dim: x.index_select(dim, some(x, dim))),
    "index": call(
        lambda x: x[some(x, 0)],
        lambda x: x[:, some(x, 1)],
        lambda x: x[some(x, 0)[:, None], some(x, 1)],
        lambda x: x[..., some(x, -1)],
        lambda x: x[torch.arange(x.shape[0]) % 2 == 0],
    ),
    "scatter": along(lambda x, dim: x.scatter(dim, places(x), x)),
    "scatter_add": along(lambda x, dim: x.scatter_add(dim, places(x), x)),
    "scatter_reduce": along(lambda x, dim: x.scatter_reduce(dim, places(x), x, "amax")),
    "index_add": along(lambda x, dim: x.index_add(dim, some(x, dim, x.shape[dim]), x)),
    "index_copy": along(lambda x, dim: x.index_copy(dim, some(x, dim, x.shape[dim]), x)),
    "index_fill": along(lambda x, dim: x.index_fill(dim, some(x, dim, 2), 0)),
    "index_put": call(lambda x: x.index_put((some(x, 0, 2),), torch.zeros((), dtype=x.dtype), accumulate=True)),
    "masked_fill": call(lambda x: x.masked_fill(x > 0, 0), lambda x: torch.where(x > 0, x, 0)),
    "masked_scatter": call(lambda x: x.masked_scatter(x > 0, torch.ones_like(x))),
    "assign": written(assign),
    "assign rows": written(assign_rows),
    "fill": written(lambda x: x[:1].fill_(2)),
    "zero": written(lambda x: x[..., :1].zero_()),
    "copy": written(lambda x: x[:1].copy_(x[-1:])),
    "in place on a view": written(lambda x: x[..., :1].mul_(2)),
    "in place on a transposed view": written(lambda x: x.transpose(0, -1).add_(1)),
    "einsum": call(
        lambda x: torch.einsum("...ij->...ji", x),
        lambda x: torch.einsum("...i,...i->...", x, x),
        lambda x: torch.einsum("bij,bkj->bik", x, x),
        lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
        lambda x: torch.einsum("ij,kj,kl->il", x, x, x),
    ),
    "gram": call(lambda x: x @ x.mT, lambda x: x.mT @ x, lambda x: torch.baddbmm(x @ x.mT, x, x.mT)),
    "vectors": call(
        lambda x: F.linear(x, x[0]),
        lambda x: x @ x[0],
        lambda x: x[0] @ x.mT,
        lambda x: torch.outer(x, x),
        lambda x: torch.dot(x, x),
    ),
    "attention": call(
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: F.scaled_dot_product_attention(x, x[..., :2, :], x[..., :2, :], torch.zeros(x.shape[-2], 2)),
    ),
    "attention by hand": call(lambda x: torch.softmax(x @ x.mT / x.shape[-1] ** 0.5, -1) @ x),
    "distances": call(lambda x: torch.cdist(x, x), lambda x: F.cosine_similarity(x, x[:1])),
    "grid": call(
        lambda x: F.grid_sample(
            x, F.affine_grid(torch.ones(x.shape[0], 2, 3), list(x.shape), align_corners=False), align_corners=False
        )
    ),
    "gates": call(lambda x: x.sigmoid() * x, lambda x: torch.addcmul(x, x, x), lambda x: torch.lerp(x, x + 1, 0.5)),
    "norms": call(lambda x: F.layer_norm(x, x.shape[1:]), lambda x: F.instance_norm(x), lambda x: x / x.norm()),
    "search": call(lambda x: torch.bucketize(x, torch.arange(3.0)), lambda x: torch.searchsorted(torch.arange(3.0), x)),
    "meshgrid": call(lambda x: torch.meshgrid(x[:2], x[:2], indexing="ij")),
    "block_diag": call(lambda x: torch.block_diag(x, x)),
    "unpooled": call(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)),
    "sampled": call(
        lambda x: x + torch.randint(0, 3, x.shape),
        lambda x: x * torch.randn(x.shape),
        lambda x: x * torch.rand(2, 1),
        lambda x: x[torch.randperm(x.shape[0])],
        lambda x: x + torch.randn_like(x),
        lambda x: torch.bernoulli(x * 0),
        lambda x: x + torch.randint_like(x, 3),
        lambda x: x + torch.empty_like(x).normal_(),
        lambda x: x + torch.empty(x.shape).uniform_(),
        lambda x: F.rrelu(x),
        lambda x: F.dropout(x, 0.5),
        lambda x: F.dropout1d(x, 0.5),
        lambda x: F.alpha_dropout(x, 0.5, training=True),
    ),
    "created again": call(
        lambda x: x + torch.zeros_like(x),
        lambda x: x + x.new_ones(x.shape[-1:]),
        lambda x: x * x.new_full((1,), 2),
        lambda x: x * torch.full(x.shape, 3.0),
        lambda x: x.new_empty(x.shape).copy_(x),
        lambda x: torch.polar(x, x),
        lambda x: x * torch.hann_window(x.shape[-1]),
        lambda x: x * torch.hamming_window(x.shape[-1]),
        lambda x: x * torch.blackman_window(x.shape[-1]),
        lambda x: x + torch.logspace(0, 1, x.shape[-1]),
        lambda x: x[tuple(torch.tril_indices(2, 2))],
        lambda x: x[tuple(torch.triu_indices(2, 2))],
        lambda x: torch.heaviside(x, torch.zeros(())),
        lambda x: torch.empty_strided((2, 2), (2, 1)).fill_(x.shape[0]),
    ),
    "integers": call(
        lambda x: x & 1,
        lambda x: x | 2,
        lambda x: x ^ x,
        lambda x: x << 1,
        lambda x: x >> 1,
        lambda x: torch.bincount(x.ravel(), minlength=9)[:9],
        lambda x: torch.isin(x, torch.arange(3)),
        lambda x: (x > 1).logical_xor(x < 3),
        lambda x: x.cumsum(-1) - 1,
    ),
    "statistics again": call(
        torch.aminmax,
        torch.nansum,
        torch.nanmean,
        torch.nanmedian,
        torch.std_mean,
        torch.mode,
        torch.equal,
        lambda x: torch.quantile(x, 0.5),
        lambda x: torch.nanquantile(x, 0.5),
        lambda x: torch.cummin(x, 0),
        lambda x: torch.logcumsumexp(x, 0),
        lambda x: torch.histc(x, 4),
        lambda x: torch.argmin(x, 0),
        lambda x: torch.linalg.vector_norm(x, 2, -1),
        lambda x: torch.linalg.matrix_norm(x),
    ),
    "arithmetic again": call(
        lambda x: torch.addcdiv(x, x, x + 2),
        lambda x: torch.addr(torch.outer(x, x), x, x),
        torch.special.entr,
        lambda x: torch.addmv(x @ x[0], x, x[0]),
        lambda x: torch.xlogy(x, x),
        lambda x: torch.fmax(x, x.flip(0)),
        lambda x: torch.fmin(x, x),
        lambda x: torch.vdot(x, x),
        lambda x: torch.cross(x, x, -1),
        lambda x: x.clamp_max(1),
        lambda x: F.threshold(x, 0.1, 0),
        lambda x: torch.mv(x, x[0]),
        lambda x: torch.linalg.cross(x, x),
        lambda x: torch.float_power(x, 2),
        lambda x: torch.kron(x, x),
    ),
    "moved": call(
        lambda x: x.swapaxes(0, -1),
        lambda x: x.moveaxis(0, -1),
        lambda x: x.T,
        lambda x: x.mH,
        torch.atleast_1d,
        lambda x: x.hsplit(2),
        lambda x: x.vsplit(2),
        torch.diag,
        torch.vander,
        torch.combinations,
        lambda x: torch.cartesian_prod(x, x),
        lambda x: x.broadcast_to((2, *x.shape)),
        lambda x: x.type_as(x.double()),
        lambda x: x.reshape_as(x.clone()),
        lambda x: x.conj().imag,
        lambda x: torch.select_scatter(x, x[0], 0, 0),
        lambda x: torch.slice_scatter(x, x[:1], 0, 0, 1),
        lambda x: torch.diagonal_scatter(x, x.diagonal()),
        lambda x: x.index_reduce(0, torch.arange(len(x)), x, "prod"),
        lambda x: x.put(places(x), x),
    ),
    "nothing": call(lambda x: x[:0], lambda x: x[..., :0]),
    "packed": call(lambda x: packed(x)),
    "losses": call(
        lambda x: F.mse_loss(x, x),
        lambda x: F.l1_loss(x, x, reduction="none"),
        lambda x: F.smooth_l1_loss(x, x),
        lambda x: F.cross_entropy(x, torch.zeros(x.shape[0], dtype=torch.long)),
        lambda x: F.binary_cross_entropy_with_logits(x, x),
        lambda x: F.kl_div(x, x),
        lambda x: F.huber_loss(x, x),
    ),
}


def packed(x: Tensor) -> Any:
    """Sequences of lengths 1 to l, packed and padded again."""
    lengths = torch.arange(x.shape[0]) % x.shape[1] + 1
    rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return nn.utils.rnn.pad_packed_sequence(rows, batch_first=True)


# Functions of two values.


def both(*functions: Callable[[Tensor, Tensor], Any]) -> Callable[[Random, Tensor, Tensor], Function]:
    return lambda rng, x, y: rng.choice(functions)


def joined(rng: Random, x: Tensor, y: Tensor) -> Function | None:
    fitting = [d for d in range(x.dim()) if x.dim() == y.dim() and x.select(d, 0).shape == y.select(d, 0).shape]
    if not fitting:
        return None
    dim = rng.choice(fitting)
    return lambda x, y: torch.cat([x, y, x], dim)


def product(*functions: Callable[[Tensor, Tensor], Any]) -> Callable[[Random, Tensor, Tensor], Function | None]:
    """Of one dtype: where there is nothing to multiply, torch does not look."""
    return lambda rng, x, y: rng.choice(functions) if x.dtype == y.dtype else None


def attended(rng: Random, x: Tensor, y: Tensor) -> Function | None:
    """Of one width: where there is nothing to attend to, torch does not look."""
    return (lambda x, y: F.scaled_dot_product_attention(x, y, y)) if x.shape[-1:] == y.shape[-1:] else None


def bilinear(rng: Random, x: Tensor, y: Tensor) -> Function | None:
    return nn.Bilinear(x.shape[-1], y.shape[-1], 3) if x.shape[:-1] == y.shape[:-1] and x.dim() else None


def stateful(rng: Random, x: Tensor, y: Tensor) -> Function | None:
    return nn.GRUCell(x.shape[-1], y.shape[-1]) if x.dim() == y.dim() == 2 and len(x) == len(y) else None


def cross(rng: Random, x: Tensor, y: Tensor) -> Function | None:
    if x.dim() != 3 or y.dim() != 3:
        return None
    layer = nn.MultiheadAttention(x.shape[-1], 1, kdim=y.shape[-1], vdim=y.shape[-1], batch_first=True)
    return CrossAttention(layer)


class CrossAttention(nn.Module):
    def __init__(self, layer: nn.MultiheadAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.layer(x, y, y)


PAIRS: dict[str, Callable[[Random, Tensor, Tensor], Function | None]] = {
    "arithmetic": lambda rng, x, y: getattr(
        torch, rng.choice("add sub mul div maximum minimum fmod remainder pow atan2 hypot copysign logaddexp".split())
    ),
    "residual": lambda rng, x, y: torch.add,
    "compare": lambda rng, x, y: getattr(torch, rng.choice("eq ne lt le gt ge logical_and logical_or".split())),
    "arithmetic in place": both(lambda x, y: x.add_(y), lambda x, y: x.mul_(y), lambda x, y: x.copy_(y)),
    "cat": joined,
    "stack": both(lambda x, y: torch.stack([x, y]), lambda x, y: torch.stack([y, x], -1)),
    "side by side": both(lambda x, y: torch.hstack([x, y]), lambda x, y: torch.vstack([x, y])),
    "matmul": product(torch.matmul, lambda x, y: x @ y.mT, lambda x, y: torch.bmm(x, y.mT), lambda x, y: x.mT @ y),
    "fused products": product(lambda x, y: torch.addmm(x, y, y.mT), lambda x, y: torch.addbmm(x[0], y, y.mT)),
    "tensordot": both(lambda x, y: torch.tensordot(x, y, 1), lambda x, y: torch.einsum("...i,ki->...k", x, y)),
    "bilinear": bilinear,
    "stateful cell": stateful,
    "cross attention": cross,
    "attention": attended,
    "where": both(lambda x, y: torch.where(x > 0, x, y), lambda x, y: torch.lerp(x, y, 0.3)),
    "expand_as": both(
        lambda x, y: x.expand_as(y), lambda x, y: x.contiguous().view_as(y), lambda x, y: x.reshape(y.shape)
    ),
    "assign": both(lambda x, y: x[:1].copy_(y), lambda x, y: x.index_copy(0, torch.arange(len(y)), y)),
    "broadcast": both(torch.broadcast_tensors),
}  # fmt: skip

# Sizes that rest on values; what comes of them has a size of its own again.
DYNAMIC: dict[str, Maker] = {
    "masked_select": call(lambda x: x[x > x.mean()].exp().sum(), lambda x: torch.masked_select(x, x == x).mean()),
    "mask assigned": written(lambda x: x.__setitem__(x > 0, 1)),
    "nonzero": call(lambda x: torch.nonzero(x == x).float().mean(0)),
    "unique": call(lambda x: torch.unique(x).amax(), lambda x: torch.unique_consecutive(x).amin()),
    "item": call(lambda x: x[: int(x.isnan().sum() * 0) + 1].sum(0)),
    "loop": call(lambda x: torch.stack([x + i for i in range(int(x.isnan().sum() * 0) + 2)]).sum(0)),
}

TABLES = [LAYERS] * 8 + [FUNCTIONS] * 8 + [PAIRS] * 5 + [DYNAMIC]
