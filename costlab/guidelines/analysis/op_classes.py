"""What share of a network's memory access goes to which class of operators."""

from __future__ import annotations

from costlab.core.cost import FAMILY_OF
from costlab.core.fusion import GROUP
from costlab.core.graph import Op
from costlab.guidelines.analysis.layers import layer_of


def op_class(op: Op) -> str:
    """The class of an operator: "element-wise", "normalisation", "depthwise", "copy" or "other"."""
    family = FAMILY_OF.get(op.kind)
    if family == "element_wise" or op.kind == GROUP:
        return "element-wise"
    if family in ("normalisation", "copy"):
        return family
    if family == "convolution":
        layer = layer_of(op)
        if layer is not None and layer.depthwise:
            return "depthwise"
    return "other"
