"""Results of operators without asking torch, whose meta kernels are Python and take up to milliseconds a signature.

Each function takes what its operator takes and returns tensors on the meta device with the shape, strides and dtype
that torch would give them, or NotImplemented wherever the arguments are not of the ordinary kind: floating point, one
dtype, in the order of their dimensions. Then torch is asked, which also knows what is wrong with them.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from costlab.tracing.recurrent_shapes import RECURRENT_SHAPES

Result = Any  # a tensor, several, or NotImplemented


def like(input: torch.Tensor, *rest: Any, **named: Any) -> Result:
    """An element-wise operator on one tensor, and numbers."""
    if not ordinary(input) or any(isinstance(v, torch.Tensor) for v in itertools.chain(rest, named.values())):
        return NotImplemented
    return empty(input.shape, input)


def broadcast(input: torch.Tensor, other: Any, **named: Any) -> Result:
    """An element-wise operator on two tensors of which one has the shape of the result, or on a tensor and a number."""
    if not isinstance(other, torch.Tensor):
        return like(input, **named)
    larger, smaller = (
        (input, other) if input.dim() >= other.dim() and input.numel() >= other.numel() else (other, input)
    )
    if not (ordinary(input) and ordinary(other) and input.dtype == other.dtype and expands(smaller, larger)):
        return NotImplemented
    return empty(larger.shape, input)


def in_place(rule: Callable[..., Result]) -> Callable[..., Result]:
    """The same operator writing to its first argument."""

    def written(input: torch.Tensor, *rest: Any, **named: Any) -> Result:
        result = rule(input, *rest, **named)
        return input if result is not NotImplemented and result.shape == input.shape else NotImplemented

    return written


def of_rank(rank: int, rule: Callable[..., Result]) -> Callable[..., Result]:
    """The same operator for a first argument of so many dimensions only."""
    return lambda input, *rest, **named: rule(input, *rest, **named) if input.dim() == rank else NotImplemented


def convolution(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Result:
    """[n, c1, *s], [c2, c1 / groups, *k] -> [n, c2, (s + 2 padding - dilation (k - 1) - 1) // stride + 1]."""
    n, rank = weight.shape[0], weight.dim() - 2
    if not (
        uniform(input, weight, bias)
        and ordinary(input)
        and input.dim() == weight.dim()
        and input.shape[1] == weight.shape[1] * groups > 0
        and n % groups == 0
        and (bias is None or bias.shape == (n,))
    ):
        return NotImplemented
    steps = (spread(value, rank) for value in (stride, padding, dilation))
    sizes = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(input.shape[2:], weight.shape[2:], *steps, strict=True)
    ]
    return empty((input.shape[0], n, *sizes), input) if min(sizes) > 0 else NotImplemented


def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Result:
    """[..., c1], [c2, c1] -> [..., c2]."""
    if not (
        uniform(input, weight, bias)
        and ordinary(input)
        and weight.dim() == 2
        and input.dim() >= 2
        and input.shape[-1] == weight.shape[1]
        and (bias is None or bias.shape == weight.shape[:1])
    ):
        return NotImplemented
    return empty((*input.shape[:-1], weight.shape[0]), input)


def batch_norm(
    input: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    training: bool,
    *rest: Any,
) -> Result:
    """[n, c, ...] -> [n, c, ...] with the statistics of training, each of [c]."""
    vectors = [v for v in (weight, bias, mean, variance) if v is not None]
    if training or mean is None or variance is None or input.dim() < 2 or not uniform(input, *vectors):
        return NotImplemented
    return like(input) if all(v.shape == input.shape[1:2] for v in vectors) else NotImplemented


def layer_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    *rest: Any,
) -> Result:
    """[..., *normalized_shape] -> the same."""
    shape = tuple(normalized_shape)
    fits = shape and tuple(input.shape[-len(shape) :]) == shape
    if not fits or not uniform(input, weight, bias) or any(v is not None and v.shape != shape for v in (weight, bias)):
        return NotImplemented
    return like(input)


def group_norm(
    input: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    *rest: Any,
) -> Result:
    """[n, c, ...] -> the same, for c a multiple of the groups."""
    vectors = [v for v in (weight, bias) if v is not None]
    if input.dim() < 3 or num_groups < 1 or input.shape[1] % num_groups or not uniform(input, *vectors):
        return NotImplemented
    return like(input) if all(v.shape == input.shape[1:2] for v in vectors) else NotImplemented


def roll(input: torch.Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Result:
    """Any shape -> the same, for dimensions that there are."""
    rank = input.dim()
    fits = len(shifts) == len(dims) > 0 and all(-rank <= d < rank for d in dims)
    return like(input) if fits else NotImplemented


def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None, *rest: Any) -> Result:
    """Any shape -> the same, along a dimension that there is."""
    return like(input) if dtype is None and -input.dim() <= dim < input.dim() else NotImplemented


def reduction(
    input: torch.Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Result:
    """Any shape -> that of the dimensions left over, of size 1 with `keepdim`."""
    rank = input.dim()
    reduced = {d % rank if rank else d for d in dim or range(rank)}
    if dtype is not None or not ordinary(input) or any(not -rank <= d < rank for d in dim or ()):
        return NotImplemented
    if len(reduced) != len(dim or range(rank)):
        return NotImplemented
    sizes = [1 if i in reduced else size for i, size in enumerate(input.shape) if keepdim or i not in reduced]
    return empty(sizes, input)


def max_pool(
    input: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Result:
    """[n, c, h, w] -> [n, c, h', w'] with (h + 2 padding - dilation (k - 1) - 1) / stride + 1, rounded down or up."""
    if input.dim() != 4 or not ordinary(input):
        return NotImplemented
    kernel, steps, edges, gaps = (tuple(spread(v, 2)) for v in (kernel_size, stride or kernel_size, padding, dilation))
    sizes = [
        pooled(size, k, s, p, d, ceil_mode)
        for size, k, s, p, d in zip(input.shape[2:], kernel, steps, edges, gaps, strict=True)
    ]
    fits = min(sizes) > 0 and all(0 <= 2 * p <= k for p, k in zip(edges, kernel, strict=True))
    return empty((*input.shape[:2], *sizes), input) if fits else NotImplemented


def average_pool(
    input: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    *rest: Any,
) -> Result:
    """As `max_pool` without dilation."""
    return max_pool(input, kernel_size, stride, padding, (1,), ceil_mode)


def pooled(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Windows along one dimension; with `ceil_mode` also the one that starts inside and ends outside."""
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return reach // stride + 1
    windows = -(-reach // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + padding else windows


def adaptive_pool(input: torch.Tensor, output_size: Sequence[int]) -> Result:
    """[n, c, h, w] -> [n, c, *output_size]."""
    if input.dim() != 4 or len(output_size) != 2 or min(output_size) < 1 or not ordinary(input):
        return NotImplemented
    return empty((*input.shape[:2], *output_size), input)


def concatenation(tensors: Sequence[torch.Tensor], dim: int = 0) -> Result:
    """Tensors that differ in one dimension only -> their sizes in it added up."""
    first = tensors[0]
    if not -first.dim() <= dim < first.dim() or not uniform(*tensors) or not all(ordinary(t) for t in tensors):
        return NotImplemented
    others = {(*t.shape[: dim % t.dim()], *t.shape[dim % t.dim() + 1 :]) for t in tensors if t.dim() == first.dim()}
    if len(others) != 1 or any(t.dim() != first.dim() for t in tensors):
        return NotImplemented
    sizes = list(first.shape)
    sizes[dim] = sum(t.shape[dim] for t in tensors)
    return empty(sizes, first)


def product(input: torch.Tensor, other: torch.Tensor) -> Result:
    """[*b, m, k], [*b, k, n] -> [*b, m, n], in whatever layout the factors are."""
    if not (
        input.dim() == other.dim() >= 2
        and input.shape[:-2] == other.shape[:-2]
        and input.shape[-1] == other.shape[-2]
        and uniform(input, other)
        and input.is_floating_point()
        and input.numel() * other.numel() > 0
    ):
        return NotImplemented
    return empty((*input.shape[:-1], other.shape[-1]), input)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Result:
    """[*b, l, e], [*b, s, e], [*b, s, v] -> [*b, l, v]."""
    if attn_mask is not None or enable_gqa or query.dim() < 3 or key.shape[:-1] != value.shape[:-1]:
        return NotImplemented
    scores = product(query, key.mT)
    return NotImplemented if scores is NotImplemented else product(scores, value)


def embedding(weight: torch.Tensor, indices: torch.Tensor, *rest: Any) -> Result:
    """[v, d], [*i] -> [*i, d]."""
    if weight.dim() != 2 or indices.dtype not in (torch.int64, torch.int32) or not ordinary(weight):
        return NotImplemented
    return empty((*indices.shape, weight.shape[1]), weight)


def empty(shape: Sequence[int], of: torch.Tensor) -> torch.Tensor:
    """A contiguous tensor of the dtype of another."""
    return torch.empty(shape, dtype=of.dtype, device="meta")


def ordinary(tensor: torch.Tensor) -> bool:
    """Whether a tensor is of floating point, not empty, and lies in the order of its dimensions, gaps allowed."""
    least = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if stride < least or size == 0:
            return False
        least = size * stride
    return tensor.is_floating_point()


def uniform(*tensors: torch.Tensor | None) -> bool:
    """Whether all tensors have one dtype."""
    return len({t.dtype for t in tensors if t is not None}) == 1


def expands(smaller: torch.Tensor, larger: torch.Tensor) -> bool:
    """Whether `smaller` has the shape of `larger` once its dimensions of 1 are repeated."""
    pairs = zip(reversed(smaller.shape), reversed(larger.shape), strict=False)
    return smaller.dim() <= larger.dim() and all(a in (1, b) for a, b in pairs)


def spread(value: Sequence[int], rank: int) -> Iterable[int]:
    """One number per dimension; a single number applies to all."""
    return value if len(value) == rank else itertools.repeat(value[0], rank)


UNARY = (
    "abs celu clamp cos elu erf exp gelu hardsigmoid hardswish hardtanh leaky_relu log mish neg reciprocal relu relu6"
    " rsqrt selu sigmoid silu sin sqrt square tanh"
)
BINARY = "add sub mul div"

SHAPES: dict[str, Callable[..., Result]] = {
    **{f"aten::{kind}": like for kind in UNARY.split()},
    **{f"aten::{kind}_": in_place(like) for kind in UNARY.split()},
    **{f"aten::{kind}.Tensor": broadcast for kind in BINARY.split()},
    **{f"aten::{kind}_.Tensor": in_place(broadcast) for kind in BINARY.split()},
    "aten::pow.Tensor_Scalar": like,
    "aten::softplus": like,
    **{f"aten::conv{d}d": of_rank(d + 2, convolution) for d in (1, 2, 3)},
    "aten::linear": linear,
    "aten::batch_norm": batch_norm,
    "aten::layer_norm": layer_norm,
    "aten::group_norm": group_norm,
    "aten::roll": roll,
    "aten::softmax.int": softmax,
    "aten::mean.dim": reduction,
    "aten::sum.dim_IntList": reduction,
    "aten::amax": reduction,
    "aten::max_pool2d": max_pool,
    "aten::avg_pool2d": average_pool,
    "aten::adaptive_avg_pool2d": adaptive_pool,
    "aten::cat": concatenation,
    "aten::matmul": product,
    "aten::mm": of_rank(2, product),
    "aten::bmm": of_rank(3, product),
    "aten::scaled_dot_product_attention": attention,
    "aten::embedding": embedding,
    **RECURRENT_SHAPES,
}
