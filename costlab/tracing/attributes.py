"""Attributes of operators that costs rest on and that no argument states: read from shapes, or from known values."""

from collections.abc import Callable
from typing import Any

import torch

from costlab.core.cost.attention import share_of_window
from costlab.tracing.autocast import HALVES
from costlab.tracing.calls import Call
from costlab.tracing.tensor_table import TensorRecord

Attributes = Callable[[Call], bool]


def masked_share(call: Call) -> bool:
    """`computed_share` of a causal mask: a fused kernel computes no score above the diagonal."""
    if call.attrs.get("is_causal"):
        shapes = {name: record.shape for name, record in call.inputs}
        call.attrs["computed_share"] = share_of_window(shapes["query"][-2], shapes["key"][-2], None, 0)
    return False


def sequence_scores(call: Call) -> bool:
    """`scores` of attention over sequences of different lengths, and the share that a window leaves of them.

    Returns:
        Whether they are an estimate: the lengths are unknown, and all sequences taken as long as the longest.
    """
    records = dict(call.inputs)
    heads = records["query"].shape[-2]
    queries, keys = (lengths(records, call.attrs, side) for side in ("q", "k"))
    pairs = list(zip(queries or (), keys or (), strict=False))
    known = queries is not None and keys is not None
    if not pairs:
        shape, other = records["query"].shape, records["key"].shape
        packed = len(shape) == 3
        most_q, most_k = call.attrs.get("max_q"), call.attrs.get("max_k")
        pairs = [(most_q or shape[0], most_k or other[0])] if packed else [(shape[1], other[1])] * shape[0]
        if packed and most_q:
            pairs *= max(shape[0] // most_q, 1)
        known = not packed
    call.attrs["scores"] = heads * sum(q * k for q, k in pairs)
    left, right = window(call.attrs)
    if (left, right) != (None, None) and call.attrs["scores"]:
        inside = sum(q * k * share_of_window(q, k, left, right) for q, k in pairs)
        call.attrs["computed_share"] = heads * inside / call.attrs["scores"]
    return not known


def window(attrs: dict[str, Any]) -> tuple[int | None, int | None]:
    """How many keys left and right of its own position a query attends to; None for all of them."""
    left, right = attrs.get("window_size_left"), attrs.get("window_size_right")
    if attrs.get("window_size"):
        size = attrs["window_size"]
        left, right = size if isinstance(size, list) else (size, size)
    left, right = (None if size is None or size < 0 else size for size in (left, right))
    return left, 0 if attrs.get("is_causal") or attrs.get("custom_mask_type") else right


def lengths(records: dict[str, TensorRecord], attrs: dict[str, Any], side: str) -> list[int] | None:
    """The lengths of the sequences, from their start positions; None if unknown."""
    names = (f"cum_seq_{side}", f"cu_seqlens_{side}", f"cu_seq_{side}")
    starts = next((records[name] for name in names if name in records), None)
    if starts is None or starts.storage.abstract:
        return None
    numbers: torch.Tensor = starts.tensor.diff()
    return [int(n) for n in numbers.tolist()]


def image_layout(call: Call) -> bool:
    """`channels_last` of a convolution in half precision whose image lies so in memory: kernels make no copy of it."""
    spec = call.records[0].spec
    if spec.dtype not in HALVES or len(spec.shape) < 4:
        return False
    if spec.stride[1] == 1 and spec.shape[1] > 1 and max(spec.shape[2:]) > 1:
        call.attrs["channels_last"] = True
    return False


ATTRIBUTES: dict[str, Attributes] = {
    "conv2d": image_layout,
    "scaled_dot_product_attention": masked_share,
    **dict.fromkeys(
        (
            "_flash_attention_forward",
            "_flash_attention_forward_no_dropout_inplace",
            "_efficient_attention_forward",
            "_cudnn_attention_forward",
            "torch_attn::_varlen_attn",
        ),
        sequence_scores,
    ),
}
