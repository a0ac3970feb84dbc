"""Operators written out in others: torch's fused inference paths, and those whose sizes only their parts tell."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from costlab.tracing.memory import set_

Tensor = torch.Tensor


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`nn.MultiheadAttention`'s fast path: q, k, v [n, l, d] -> [n, l, d]; weights [n, l, s] or [n, h, l, s]."""
    if query is key and key is value:
        q, k, v = F.linear(query, qkv_weight, qkv_bias).chunk(3, -1)
    else:
        projections = zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3), strict=True)
        q, k, v = (F.linear(x, w, b) for x, w, b in projections)
    q, k, v = (x.unflatten(-1, (num_head, -1)).transpose(1, 2) for x in (q, k, v))
    if mask is not None and mask_type == 1:  # over keys [n, s]; type 0 is over scores [l, s]
        mask = mask[:, None, None, :]
    weights: Tensor | None = None
    if need_weights:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if mask is not None:
            scores = scores.masked_fill(mask, float("-inf"))
        attended = scores.softmax(-1)
        mixed = attended @ v
        weights = attended.mean(1) if average_attn_weights else attended
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else ~mask)
    return F.linear(mixed.transpose(1, 2).flatten(-2), proj_weight, proj_bias), weights


def transformer_encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """`nn.TransformerEncoderLayer`'s fast path: [n, l, d] -> [n, l, d]."""

    def attend(x: Tensor) -> Tensor:
        projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return multi_head_attention(
            x, x, x, embed_dim, num_heads, *projections, mask=mask, need_weights=False, mask_type=mask_type
        )[0]

    def feed(x: Tensor) -> Tensor:
        hidden = F.linear(x, ffn_weight_1, ffn_bias_1)
        return F.linear(F.gelu(hidden) if use_gelu else F.relu(hidden), ffn_weight_2, ffn_bias_2)

    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), weight, bias, eps)

    if norm_first:
        src = src + attend(norm(src, norm_weight_1, norm_bias_1))
        return src + feed(norm(src, norm_weight_2, norm_bias_2))
    src = norm(src + attend(src), norm_weight_1, norm_bias_1)
    return norm(src + feed(src), norm_weight_2, norm_bias_2)


def places(condition: Tensor) -> list[Tensor]:
    """`torch.where(condition)` and `nonzero(as_tuple=True)`: one tensor of indices a dimension."""
    return list(torch.nonzero(condition).unbind(1))


def split_at(input: Tensor, sections: Tensor, dim: int = 0) -> list[Tensor]:
    """`tensor_split` into as many parts, or at the places, that a tensor tells."""
    numbers = [int(number) for number in sections.reshape(-1)]
    return list(torch.tensor_split(input, numbers if sections.dim() else numbers[0], dim))


REWRITES: dict[str, Callable[..., Any]] = {
    "aten::_native_multi_head_attention": multi_head_attention,
    "aten::nonzero_numpy": places,
    "aten::where": places,  # with a condition alone
    "aten::tensor_split.tensor_indices_or_sections": split_at,
    "aten::set_": set_,
    "aten::set_.source_Storage": set_,
    "aten::set_.source_Storage_storage_offset": set_,
    "aten::set_.source_Tensor": set_,
    "aten::set_.source_Tensor_storage_offset": set_,
    "aten::_transformer_encoder_layer_fwd": transformer_encoder_layer,
}
