"""Classes of operators, by which G4 and plots split the memory access of a network."""

from __future__ import annotations

from costlab.core.cost import FAMILY_OF
from costlab.core.fusion import GROUP
from costlab.core.graph import Op
from costlab.guidelines.analysis.layers import layer_shape


def op_class(op: Op) -> str:
    """The class of an operator: "element-wise", "normalisation", "depthwise", "copy" or "other"."""
    family = FAMILY_OF.get(op.kind)
    if family == "element_wise" or op.kind == GROUP:
        return "element-wise"
    if family in ("normalisation", "copy"):
        return family
    if family == "convolution":
        layer = layer_shape(op)
        if layer is not None and layer.depthwise:
            return "depthwise"
    return "other"
