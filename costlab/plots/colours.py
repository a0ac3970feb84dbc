"""One colour a family of operators, the same in every plot."""

from __future__ import annotations

from typing import NamedTuple

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.guidelines.analysis.op_classes import op_class


class Group(NamedTuple):
    """Families of operators that share a colour."""

    name: str
    colour: str
    families: tuple[str, ...]


# The colours of Okabe and Ito (Color Universal Design, 2008), which most people tell apart whatever they see, and grey.
GROUPS = (
    Group("convolution", "#0072B2", ("convolution",)),
    Group("depthwise convolution", "#56B4E9", ()),
    Group("matmul", "#E69F00", ("matmul", "recurrent")),
    Group("attention", "#D55E00", ("attention", "softmax")),
    Group("normalisation", "#CC79A7", ("normalisation",)),
    Group("element-wise", "#009E73", ("element_wise", "loss")),
    Group("data movement", "#F0E442", ("copy", "indexing", "creation")),
    Group("pooling and reduction", "#999999", ("pooling", "reduction", "interpolation", "fourier")),
    Group("other", "#444444", ()),
)
DEPTHWISE, ELEMENT_WISE, OTHER = GROUPS[1], GROUPS[5], GROUPS[-1]
OF_FAMILY = {family: group for group in GROUPS for family in group.families}

INK = "#222222"
QUIET = "#6A6A6A"  # text of the second rank; 5 to 1 on white
FAINT = "#DDDDDD"  # lines and grounds behind the data
PALE = "#AAAAAA"  # data of the second rank
SCALE = "Blues"  # more is darker
ALARM = "#D55E00"


def group_of(op: Op) -> Group:
    """What an operator is coloured as; "other" where no family knows it."""
    kind = op_class(op)
    if kind == "depthwise":
        return DEPTHWISE
    if kind == "element-wise":
        return ELEMENT_WISE
    return OF_FAMILY.get(FAMILY_OF.get(op.kind, ""), OTHER)


def ink_on(colour: str) -> str:
    """Black or white, whichever stands out from a colour, `#RRGGBB` (WCAG 2.2, relative luminance)."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.179 else "black"
