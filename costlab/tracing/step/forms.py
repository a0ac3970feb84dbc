"""How accelerators run composite operators that autograd would otherwise take apart: as one kernel for each direction.

Each function takes the arguments of its operator and calls what torch calls on an NVIDIA GPU, whose derivative is one
operator again. NotImplemented leaves the operator to torch.
"""

from collections.abc import Callable
from typing import Any

import torch

Form = Callable[..., Any]


def dropout(input: torch.Tensor, p: float, train: bool) -> Any:
    """Keeps a mask of one byte an element."""
    return torch.native_dropout(input, p, True)[0] if train and 0 < p < 1 else NotImplemented


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
) -> Any:
    """A fused kernel, unless torch is told to use the math path; it keeps queries, keys, values, output and sums."""
    fused = torch.backends.cuda.flash_sdp_enabled() or torch.backends.cuda.mem_efficient_sdp_enabled()
    if not fused or query.dim() != 4 or query.shape[-1] != key.shape[-1]:
        return NotImplemented
    if enable_gqa and key.shape[-3] != query.shape[-3]:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    half = query.dtype in (torch.float16, torch.bfloat16)
    if attn_mask is None and half and query.shape[-1] == value.shape[-1] <= 256:
        flash = torch.ops.aten._scaled_dot_product_flash_attention
        return flash(query, key, value, dropout_p, is_causal, scale=scale)[0]
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.where(attn_mask, 0.0, float("-inf")).to(query.dtype)
        attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    return efficient(query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale)[0]


def rms_norm(
    input: torch.Tensor, normalized_shape: Any, weight: torch.Tensor | None = None, eps: float | None = None
) -> Any:
    """Keeps one reciprocal a row."""
    return torch.ops.aten._fused_rms_norm(input, normalized_shape, weight, eps)[0]


def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """Reads float16 and writes float32 where autocast asks for that; its gradient is float16 again."""
    if input.dtype != torch.float16 or dtype != torch.float32:
        return NotImplemented
    return torch.ops.aten._softmax(input, dim, True)


def log_softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """The same."""
    if input.dtype != torch.float16 or dtype != torch.float32:
        return NotImplemented
    return torch.ops.aten._log_softmax(input, dim, True)


FORMS: dict[str, Form] = {
    "aten::dropout": dropout,
    "aten::scaled_dot_product_attention": attention,
    "aten::rms_norm": rms_norm,
    "aten::softmax.int": softmax,
    "aten::log_softmax.int": log_softmax,
}
