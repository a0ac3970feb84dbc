"""Which floating-point type a value has when a network runs under `torch.autocast`.

A profile is traced in the network's own type. Autocast computes contractions in the lower precision and some operators
in float32; everything else takes the widest type it is given (PyTorch documentation, "CUDA Op-Specific Behavior").
"""

from __future__ import annotations

from collections.abc import Iterable

from costlab.core.cost import FAMILIES, FAMILY_OF
from costlab.core.graph import Op, Tensor

FLOATS = ("float32", "float16", "bfloat16")
LOWERED = frozenset(("prelu",)).union(
    *(FAMILIES[family] for family in ("convolution", "matmul", "attention", "recurrent"))
)
NORMS = frozenset(("layer_norm", "group_norm", "rms_norm"))
RAISED = NORMS | frozenset(  # these are handed a copy in float32
    "pow reciprocal rsqrt exp expm1 log log2 log10 log1p tan sinh cosh acos asin erfinv softplus cdist norm"
    " cosine_similarity binary_cross_entropy_with_logits square logsumexp upsample_nearest1d upsample_nearest2d"
    " upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d".split()
)
WRITES_FLOAT32 = frozenset("softmax log_softmax sum prod cumsum cumprod vector_norm".split())  # and read what there is


def dtypes(ops: Iterable[Op], lower: str | None, half_norms: bool = False) -> dict[int, str]:
    """The type of every value, by storage, where it is not the traced one.

    Args:
        lower: the lower precision of autocast; None where it is off.
        half_norms: layer and group norm stay in the lower precision, as fused kernels outside autocast keep them.
    """
    found: dict[int, str] = {}
    if lower is None:
        return found
    for op in ops:
        if op.free:
            continue
        inputs = [t for t in op.inputs if t.dtype in FLOATS]
        written = type_written(op, inputs, found, lower, half_norms)
        read = {t.storage for t in op.inputs}
        found.update((t.storage, written) for t in op.outputs if t.dtype in FLOATS and t.storage not in read)
    return found


def type_written(op: Op, inputs: list[Tensor], found: dict[int, str], lower: str, half_norms: bool) -> str:
    """The type of what an operator writes."""
    if op.kind in LOWERED or (half_norms and op.kind in NORMS):
        return lower
    if op.kind in RAISED or op.kind in WRITES_FLOAT32:
        return "float32"
    if op.kind == "batch_norm":
        return found.get(inputs[0].storage, inputs[0].dtype)
    deciding = [t for t in inputs if t.shape] or inputs  # a number does not widen a tensor
    types = {found.get(t.storage, t.dtype) for t in deciding}
    return lower if types == {lower} else "float32"


def type_read(op: Op, lower: str | None, half_norms: bool) -> str | None:
    """The type in which autocast hands an operator its inputs; None where it takes them as they are."""
    if lower is None:
        return None
    if op.kind in LOWERED or (half_norms and op.kind in NORMS):
        return lower
    return "float32" if op.kind in RAISED else None


def family(op: Op) -> str:
    """The family of an operator; one that no rule knows counts as element-wise."""
    return FAMILY_OF.get(op.kind, "element_wise")
