"""Groups and classes of operators, by which reports colour, and G4 and plots split, the memory access of a network."""

from costlab.core.cost import FAMILY_OF
from costlab.core.fusion import GROUP
from costlab.core.graph import Op
from costlab.formatting.colours import GROUP_NAMED, OTHER, Group
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


BY_CLASS = {"depthwise": GROUP_NAMED["depthwise convolution"], "element-wise": GROUP_NAMED["element-wise"]}
BY_FAMILY = {family: group for group in GROUP_NAMED.values() for family in group.families}


def group_of(op: Op) -> Group:
    """The group that an operator is coloured as; "other" if no family knows its kind."""
    return BY_CLASS.get(op_class(op)) or BY_FAMILY.get(FAMILY_OF.get(op.kind, ""), OTHER)
