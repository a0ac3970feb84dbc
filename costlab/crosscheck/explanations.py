"""Why other counters say something else: one table, each entry with the condition that an operator must meet.

An explanation holds for one operator with certain numbers, never for a kind as such: what it does not hold for stays
unexplained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from costlab.core.cost import einsum_terms
from costlab.core.graph import Op

CONVENTION = "convention"  # the tool counts something else on purpose
BLIND_SPOT = "blind spot"  # the tool leaves out work that it would count if it saw it
ESTIMATE = "estimate"  # sizes depend on values: costlab guesses them, the tool ran on random ones
FAILED = "tool failed"
UNEXPLAINED = "unexplained"

ROUNDING = 5e-4  # relative error of a number printed with four digits

CELLS = "lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"

Condition = Callable[[Op, int, int], bool]  # an operator, our mult-adds, what the tool is expected to count


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why `tool` counts `kinds` differently, where `holds`."""

    tool: str
    kinds: frozenset[str]
    cause: str
    why: str
    holds: Condition
    listed: bool = False  # the tool must itself list these calls as unknown to it


def not_a_mult_add(op: Op, ours: int, theirs: int) -> bool:
    """costlab has it among the element-wise operations."""
    return ours == 0


def nothing(op: Op, ours: int, theirs: int) -> bool:
    return theirs == 0


def by_a_vector(op: Op, ours: int, theirs: int) -> bool:
    return theirs == 0 and len(op["other"].shape) == 1


def repeats_left_side(op: Op, ours: int, theirs: int) -> bool:
    """The right matrices have a batch that the left ones are repeated over."""
    rows = prod(op["self"].shape[:-1])
    return ours * rows == theirs * prod(op.output.shape[:-1]) and theirs < ours


def of_rounding(op: Op, ours: int, theirs: int) -> bool:
    return abs(theirs - ours) <= ROUNDING * ours


def whole_product(op: Op, ours: int, theirs: int) -> bool:
    return len(op.each("tensors")) <= 2 and abs(theirs - all_dimensions(op)) <= ROUNDING * all_dimensions(op)


def half_a_product(op: Op, ours: int, theirs: int) -> bool:
    half = all_dimensions(op) / 2
    return ours == 0 and len(op.each("tensors")) == 2 and abs(theirs - half) <= ROUNDING * half + 1


def all_dimensions(op: Op) -> int:
    """The product of all dimensions of an einsum."""
    terms, _ = einsum_terms(op.attrs["equation"], [t.shape for t in op.each("tensors")])
    sizes: dict[str, int] = {}
    for term in terms:
        for dim, size in term.items():
            sizes[dim] = max(size, sizes.get(dim, 1))
    return prod(sizes.values())


def elsewhere(op: Op, ours: int, theirs: int) -> bool:
    return theirs == ours


def in_better_order(op: Op, ours: int, theirs: int) -> bool:
    return len(op.each("tensors")) > 2 and (theirs < ours or ours == 0)


def padded_in_words(op: Op, ours: int, theirs: int) -> bool:
    return theirs == 0 and isinstance(op.attrs.get("padding"), str)


def why(
    tool: str, kinds: str, cause: str, reason: str, holds: Condition = not_a_mult_add, listed: bool = False
) -> Explanation:
    return Explanation(tool, frozenset(kinds.split()), cause, reason, holds, listed)


EXPLANATIONS = (
    why("fvcore", "batch_norm", CONVENTION, "counts 2 an element, 1 without weights"),
    why("fvcore", "layer_norm group_norm instance_norm", CONVENTION, "counts 5 an element, 4 without weights"),
    why("fvcore", "adaptive_avg_pool2d", CONVENTION, "counts 1 an input element"),
    why("fvcore", "upsample_nearest2d", CONVENTION, "counts 1 an output element"),
    why("fvcore", "upsample_bilinear2d grid_sampler", CONVENTION, "counts 4 an output element"),
    why("fvcore", "einsum", CONVENTION, "rounds to four digits", of_rounding),
    why("fvcore", "einsum", CONVENTION, "counts half an operation an element where nothing is summed", half_a_product),
    why("fvcore", "einsum", CONVENTION, "counts all dimensions, also those not contracted", whole_product),
    why("fvcore", "einsum", CONVENTION, "assumes the best order, torch contracts from the left", in_better_order),
    why(
        "fvcore",
        "conv1d conv2d conv3d",
        BLIND_SPOT,
        "does not know padding in words",
        padded_in_words,
        listed=True,
    ),
    why("fvcore", CELLS, CONVENTION, "counts the two linear layers inside", elsewhere),
    why("fvcore", "matmul", BLIND_SPOT, "misses the batch of the right matrices", repeats_left_side),
    why(
        "fvcore",
        "scaled_dot_product_attention lstm gru rnn_tanh rnn_relu"
        " baddbmm addbmm mv dot vdot addmv grouped_mm bilinear deform_conv2d",
        BLIND_SPOT,
        "has no formula for it",
        nothing,
        listed=True,
    ),
    why(
        "torch",
        "mv dot vdot addmv addbmm grouped_mm bilinear deform_conv2d",
        BLIND_SPOT,
        "has no formula for it",
        nothing,
        listed=True,
    ),
    why("torch", "matmul", BLIND_SPOT, "has no formula for a product with a vector", by_a_vector, listed=True),
)


UNUSED = why("fvcore", "", BLIND_SPOT, "its tracer drops what no output depends on", nothing)

# The names of operators that a tool lists as unknown, where they are not those that costlab has.
LISTED_AS = dict.fromkeys(("conv1d", "conv2d", "conv3d"), "_convolution_mode")

# Where a tool files under another family what costlab has as one operator.
FILED_UNDER = {("fvcore", kind): "matmul" for kind in CELLS.split()}


def explanation(tool: str, op: Op, ours: int, theirs: int) -> Explanation | None:
    """The first entry of the table that holds for one operator."""
    for entry in EXPLANATIONS:
        if entry.tool == tool and op.kind in entry.kinds and entry.holds(op, ours, theirs):
            return entry
    return None
