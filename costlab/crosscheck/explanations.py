"""Why other counters count differently: one table, each entry with the condition that an operator must meet.

An explanation holds for an operator with certain numbers, never for a kind as such: whatever meets no condition stays
unexplained.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from costlab.core.cost import einsum_terms
from costlab.core.graph import Op

CONVENTION = "convention"  # the tool counts something else on purpose
BLIND_SPOT = "blind spot"  # the tool misses work that it would count if it saw it
ESTIMATE = "estimate"  # sizes depend on values: costlab estimates them, the tool ran on random ones
FAILED = "tool failed"
UNEXPLAINED = "unexplained"

ROUNDING = 5e-4  # relative error of a number printed with four digits
CELLS = "lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"

Condition = Callable[[Op, int, int], bool]  # an operator, costlab's mult-adds, the tool's expected count


def not_a_mult_add(op: Op, ours: int, theirs: int) -> bool:
    """costlab counts it among the element-wise operations."""
    return ours == 0


def counts_nothing(op: Op, ours: int, theirs: int) -> bool:
    """The tool counts zero."""
    return theirs == 0


def by_a_vector(op: Op, ours: int, theirs: int) -> bool:
    """The right side of a product is a vector."""
    return theirs == 0 and len(op["other"].shape) == 1


def repeats_left_side(op: Op, ours: int, theirs: int) -> bool:
    """The right matrices have a batch over which the left ones are broadcast."""
    rows = prod(op["self"].shape[:-1])
    return ours * rows == theirs * prod(op.output.shape[:-1]) and theirs < ours


def rounded(op: Op, ours: int, theirs: int) -> bool:
    """The counts agree to four digits."""
    return abs(theirs - ours) <= ROUNDING * ours


def whole_product(op: Op, ours: int, theirs: int) -> bool:
    """The tool counts the product of all dimensions of an einsum of at most two operands."""
    return len(op.each("tensors")) <= 2 and rounded(op, einsum_product(op), theirs)


def half_a_product(op: Op, ours: int, theirs: int) -> bool:
    """The tool counts half the product of all dimensions of an einsum that contracts nothing."""
    half = einsum_product(op) / 2
    return ours == 0 and len(op.each("tensors")) == 2 and abs(theirs - half) <= ROUNDING * half + 1


def einsum_product(op: Op) -> int:
    """The product of all dimensions of an einsum."""
    terms, _ = einsum_terms(op.attrs["equation"], [t.shape for t in op.each("tensors")])
    sizes: dict[str, int] = {}
    for term in terms:
        for dim, size in term.items():
            sizes[dim] = max(size, sizes.get(dim, 1))
    return prod(sizes.values())


def same_count(op: Op, ours: int, theirs: int) -> bool:
    """The counts agree; only the family differs."""
    return theirs == ours


def better_order(op: Op, ours: int, theirs: int) -> bool:
    """An einsum of more than two operands, contracted in a cheaper order."""
    return len(op.each("tensors")) > 2 and (theirs < ours or ours == 0)


def padded_by_name(op: Op, ours: int, theirs: int) -> bool:
    """The padding is a string such as "same"."""
    return theirs == 0 and isinstance(op.attrs.get("padding"), str)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why `tool` counts operators of these kinds differently, if `condition` holds."""

    tool: str
    kinds: str  # separated by spaces
    cause: str
    why: str
    condition: Condition = not_a_mult_add
    listed: bool = False  # the tool must itself list these calls as unsupported


NO_FORMULA = "has no formula for it"

EXPLANATIONS = (
    Explanation("fvcore", "batch_norm", CONVENTION, "counts 2 per element, 1 without weights"),
    Explanation("fvcore", "layer_norm group_norm instance_norm", CONVENTION, "counts 5 per element, 4 without weights"),
    Explanation("fvcore", "adaptive_avg_pool2d", CONVENTION, "counts 1 per input element"),
    Explanation("fvcore", "upsample_nearest2d", CONVENTION, "counts 1 per output element"),
    Explanation("fvcore", "upsample_bilinear2d grid_sampler", CONVENTION, "counts 4 per output element"),
    Explanation("fvcore", "einsum", CONVENTION, "rounds to four digits", rounded),
    Explanation(
        "fvcore", "einsum", CONVENTION, "counts half an operation per element if nothing is summed", half_a_product
    ),
    Explanation("fvcore", "einsum", CONVENTION, "counts all dimensions, also those not contracted", whole_product),
    Explanation(
        "fvcore", "einsum", CONVENTION, "assumes the optimal order, torch contracts from the left", better_order
    ),
    Explanation("fvcore", "conv1d conv2d conv3d", BLIND_SPOT, "does not support padding by name", padded_by_name, True),
    Explanation("fvcore", CELLS, CONVENTION, "counts the two linear layers inside", same_count),
    Explanation("fvcore", "matmul", BLIND_SPOT, "misses the batch of the right matrices", repeats_left_side),
    Explanation(
        "fvcore",
        "scaled_dot_product_attention lstm gru rnn_tanh rnn_relu"
        " baddbmm addbmm mv dot vdot addmv grouped_mm bilinear deform_conv2d",
        BLIND_SPOT,
        NO_FORMULA,
        counts_nothing,
        listed=True,
    ),
    Explanation(
        "torch",
        "mv dot vdot addmv addbmm grouped_mm bilinear deform_conv2d",
        BLIND_SPOT,
        NO_FORMULA,
        counts_nothing,
        listed=True,
    ),
    Explanation("torch", "matmul", BLIND_SPOT, "has no formula for a product with a vector", by_a_vector, listed=True),
)

UNUSED = Explanation("fvcore", "", BLIND_SPOT, "its tracer drops what no output depends on", counts_nothing)

# The names under which a tool lists unsupported operators, if they are not costlab's.
LISTED_AS = dict.fromkeys(("conv1d", "conv2d", "conv3d"), "_convolution_mode")

# The family in which a tool counts what costlab has as one operator.
COUNTED_IN = {("fvcore", kind): "matmul" for kind in CELLS.split()}


def explain(tool: str, op: Op, ours: int, theirs: int) -> Explanation | None:
    """The first entry of the table that holds for an operator."""
    for entry in EXPLANATIONS:
        if entry.tool == tool and op.kind in entry.kinds.split() and entry.condition(op, ours, theirs):
            return entry
    return None
