"""Shape rules for what autograd runs: the parts that it takes operators into, and their gradients (see `shapes`)."""

from collections.abc import Callable, Sequence

import torch

from costlab.tracing.shapes import Result, convolution, empty, like, ordinary, uniform

WIDE = (torch.float32, torch.float64)  # statistics of these have the same type


def plain_convolution(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Result:
    """As `convolution`, which is not transposed."""
    if transposed:
        return NotImplemented
    return convolution(input, weight, bias, stride, padding, dilation, groups)


def convolution_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> Result:
    """Gradients of the shapes of input, weight and bias, as far as they are wanted."""
    if not (uniform(grad_output, input, weight) and all(map(ordinary, (grad_output, input, weight)))):
        return NotImplemented
    shapes = input.shape, weight.shape, bias_sizes or weight.shape[:1]
    return tuple(empty(shape, input) if wanted else None for shape, wanted in zip(shapes, output_mask, strict=True))


def batch_norm(
    input: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
    *rest: float,
) -> Result:
    """[n, c, ...] -> [n, c, ...] with mean and deviation [c], in the type of the weight."""
    if not (training and ordinary(input) and input.dim() >= 2 and weight is not None and weight.dtype in WIDE):
        return NotImplemented
    return empty(input.shape, input), *(empty(input.shape[1:2], weight) for _ in range(2))


def batch_norm_backward(
    grad_out: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    save_mean: torch.Tensor | None,
    save_invstd: torch.Tensor | None,
    train: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> Result:
    """Gradients of the shapes of input, weight and bias, as far as they are wanted."""
    if not (ordinary(grad_out) and ordinary(input) and weight is not None):
        return NotImplemented
    vectors = (empty(input.shape[1:2], weight) if wanted else None for wanted in output_mask[1:])
    return empty(input.shape, input) if output_mask[0] else None, *vectors


def layer_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> Result:
    """[..., *normalized_shape] -> the same, with mean and deviation [..., 1, ...]."""
    rank = len(normalized_shape)
    if not (ordinary(input) and uniform(input, weight, bias) and input.dtype in WIDE):
        return NotImplemented
    rows = *input.shape[: input.dim() - rank], *[1] * rank
    return empty(input.shape, input), empty(rows, input), empty(rows, input)


def layer_norm_backward(
    grad_out: torch.Tensor,
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    mean: torch.Tensor,
    rstd: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    output_mask: Sequence[bool],
) -> Result:
    """Gradients of the shapes of input, weight and bias, as far as they are wanted."""
    if not (ordinary(grad_out) and ordinary(input) and uniform(grad_out, input, weight, bias)):
        return NotImplemented
    shapes = input.shape, normalized_shape, normalized_shape
    return tuple(empty(shape, input) if wanted else None for shape, wanted in zip(shapes, output_mask, strict=True))


def like_both(grad_output: torch.Tensor, other: torch.Tensor, *rest: object, **named: object) -> Result:
    """An element-wise gradient of the shape of both arguments."""
    if grad_output.shape != other.shape or not (uniform(grad_output, other) and ordinary(other)):
        return NotImplemented
    return like(grad_output)


def added_product(bias: torch.Tensor, rows: torch.Tensor, matrix: torch.Tensor, **named: object) -> Result:
    """[o], [m, k], [k, o] -> [m, o]."""
    fits = rows.dim() == matrix.dim() == 2 and rows.shape[1] == matrix.shape[0] and rows.numel() * matrix.numel() > 0
    if not (fits and uniform(bias, rows, matrix) and bias.is_floating_point()) or bias.shape != matrix.shape[1:]:
        return NotImplemented
    return empty((rows.shape[0], matrix.shape[1]), rows)


def fused_attention(kernel: str) -> Callable[..., Result]:
    """What torch's kernel returns, with an output in the order of its dimensions, as attention has it in a trace."""

    def rule(*args: object, **named: object) -> Result:
        output, *rest = getattr(torch.ops.aten, kernel)(*args, **named)
        return empty(output.shape, output), *rest

    return rule


FUSED = ("_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention")
ACTIVATIONS = "threshold hardtanh hardswish hardsigmoid leaky_relu silu sigmoid tanh gelu mish"

BACKWARD_SHAPES: dict[str, Callable[..., Result]] = {
    "aten::convolution": plain_convolution,
    "aten::convolution_backward": convolution_backward,
    "aten::native_batch_norm": batch_norm,
    "aten::native_batch_norm_backward": batch_norm_backward,
    "aten::native_layer_norm": layer_norm,
    "aten::native_layer_norm_backward": layer_norm_backward,
    "aten::addmm": added_product,
    **{f"aten::{kernel}": fused_attention(kernel) for kernel in FUSED},
    **{f"aten::{kind}_backward": like_both for kind in ACTIVATIONS.split()},
}
