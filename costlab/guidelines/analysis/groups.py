"""The colour group of an operator, the same in every plot and report."""

from __future__ import annotations

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.formatting.colours import GROUP_NAMED, OTHER, Group
from costlab.guidelines.analysis.op_classes import op_class

BY_CLASS = {"depthwise": GROUP_NAMED["depthwise convolution"], "element-wise": GROUP_NAMED["element-wise"]}
BY_FAMILY = {family: group for group in GROUP_NAMED.values() for family in group.families}


def group_of(op: Op) -> Group:
    """The group that an operator is coloured as; "other" if no family knows its kind."""
    return BY_CLASS.get(op_class(op)) or BY_FAMILY.get(FAMILY_OF.get(op.kind, ""), OTHER)
