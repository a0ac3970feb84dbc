"""Cost formulas of attention: fused kernels, sequences of different lengths, block masks."""

from math import prod

from costlab.core.cost.algebra import Cost, traffic
from costlab.core.graph import Op


def attention(op: Op) -> Cost:
    """q [n, h, l, e], k [n, h, s, e], v [n, h, s, f]: scores l s e, then l s f; softmax 3 a score, a mask 1.

    The full product, also under a causal mask: `computed_share` says what part of it a kernel computes. The scores
    never count as memory access: a fused kernel keeps them on the chip.
    """
    q, k, v = op["query"], op["key"], op["value"]
    rows = prod(op.output.shape[:-1]) if 0 not in k.shape[:-2] else 0  # n h l; without keys, torch returns zeros
    masked = 1 if op.find("attn_mask") or op.find("attn_bias") else 0
    return with_scores(op, rows * k.shape[-2], q.shape[-1] + v.shape[-1], masked)


def counted_attention(op: Op) -> Cost:
    """Attention whose tracer counted the scores: over sequences of different lengths, or the blocks of a mask."""
    scores = op.attrs["scores"]
    return with_scores(op, scores, op["query"].shape[-1] + op["value"].shape[-1], 0)


def with_scores(op: Op, scores: int, width: int, masked: int) -> Cost:
    """Every score takes `width` multiply-accumulates, of a query with a key and of a weight with a value."""
    return traffic(
        op,
        mult_adds=scores * width,
        element_wise_ops=scores * (3 + masked),
        activations=op.output.numel,
        writes=[(op.output.elements, op.output)],
    )


def computed_share(op: Op) -> float:
    """The part of an attention's scores that a fused kernel computes: below 1 under a causal or sliding-window mask."""
    share: float = op.attrs.get("computed_share", 1.0)
    return share


def share_of_window(queries: int, keys: int, left: int | None, right: int | None) -> float:
    """The part of [queries, keys] scores that lies in a window of so many keys left and right of each query.

    None has no limit; a causal mask is `right=0`. Queries and keys are aligned at their first elements.
    """
    total = 0
    for i in range(queries):
        first = 0 if left is None else max(i - left, 0)
        last = keys - 1 if right is None else min(i + right, keys - 1)
        total += max(last - first + 1, 0)
    return total / (queries * keys) if queries * keys else 1.0
