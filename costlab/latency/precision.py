"""The floating-point type of every value when a network runs under `torch.autocast`.

A profile is traced in the network's own type. Autocast runs contractions in the lower precision and some operators in
float32; all others take the widest type of their inputs (PyTorch documentation, "CUDA Op-Specific Behavior").
"""

from collections.abc import Iterable

from costlab.core.cost import FAMILIES, FAMILY_OF
from costlab.core.graph import Op, Tensor

FLOATS = ("float32", "float16", "bfloat16")
LOWERED = frozenset(("prelu",)).union(
    *(FAMILIES[family] for family in ("convolution", "matmul", "attention", "recurrent"))
)
NORMS = frozenset(("layer_norm", "group_norm", "rms_norm"))
RAISED = NORMS | frozenset(  # autocast casts their inputs to float32
    "pow reciprocal rsqrt exp expm1 log log2 log10 log1p tan sinh cosh acos asin erfinv softplus cdist norm"
    " cosine_similarity binary_cross_entropy_with_logits square logsumexp upsample_nearest1d upsample_nearest2d"
    " upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d".split()
)
WRITES_FLOAT32 = frozenset("softmax log_softmax sum prod cumsum cumprod vector_norm".split())  # from inputs of any type


def dtypes(ops: Iterable[Op], lower: str | None, half_norms: bool = False) -> dict[int, str]:
    """The type of every value that differs from the trace, by storage.

    Args:
        lower: the lower precision of autocast; None without autocast.
        half_norms: layer and group norm stay in the lower precision.
    """
    known: dict[int, str] = {}
    if lower is None:
        return known
    for op in ops:
        if op.free:
            continue
        inputs = [t for t in op.inputs if t.dtype in FLOATS]
        written = type_written(op, inputs, known, lower, half_norms)
        read = {t.storage for t in op.inputs}
        known.update((t.storage, written) for t in op.outputs if t.dtype in FLOATS and t.storage not in read)
    return known


def type_written(op: Op, inputs: list[Tensor], known: dict[int, str], lower: str, half_norms: bool) -> str:
    """The type of an operator's output."""
    if op.kind in LOWERED or (half_norms and op.kind in NORMS):
        return lower
    if op.kind in RAISED or op.kind in WRITES_FLOAT32:
        return "float32"
    if op.kind == "batch_norm":
        return known.get(inputs[0].storage, inputs[0].dtype)
    deciding = [t for t in inputs if t.shape] or inputs  # a scalar does not widen a tensor
    types = {known.get(t.storage, t.dtype) for t in deciding}
    return lower if types == {lower} else "float32"


def type_read(op: Op, lower: str | None, half_norms: bool) -> str | None:
    """The type to which autocast casts an operator's inputs; None if it leaves them unchanged."""
    if lower is None:
        return None
    if op.kind in LOWERED or (half_norms and op.kind in NORMS):
        return lower
    return "float32" if op.kind in RAISED else None


def family(op: Op) -> str:
    """The family of an operator; unknown kinds are element-wise."""
    return FAMILY_OF.get(op.kind, "element_wise")
