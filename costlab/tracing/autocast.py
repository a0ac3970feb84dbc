"""`torch.autocast` in a forward pass: torch casts real weights, but not the activations without data that meet them."""

from __future__ import annotations

from collections.abc import Iterable

import torch

HALVES = (torch.bfloat16, torch.float16)

# Contractions, which every device's autocast computes in the lower precision.
LOWERED = frozenset(
    "convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul mm bmm addmm"
    " addbmm baddbmm einsum scaled_dot_product_attention".split()
)


def lower_precision(dtypes: Iterable[torch.dtype]) -> torch.dtype | None:
    """The dtype of a contraction of these, if autocast has cast some of its arguments; None in any other case."""
    different = {dtype for dtype in dtypes if castable(dtype)}
    return next((dtype for dtype in HALVES if dtype in different), None) if len(different) > 1 else None


def cast_to(dtype: torch.dtype, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as autocast hands it over; one that has the dtype already is itself."""
    return tensor.to(dtype) if castable(tensor.dtype) and tensor.dtype != dtype else tensor


def castable(dtype: torch.dtype) -> bool:
    """Whether autocast changes tensors of this dtype."""
    return dtype.is_floating_point and dtype != torch.float64


def autocasting() -> bool:
    """Whether a `with torch.autocast(...)` is being run: while torch casts, it looks switched off."""
    try:
        return torch.autocast_increment_nesting() > 1
    finally:
        torch.autocast_decrement_nesting()
