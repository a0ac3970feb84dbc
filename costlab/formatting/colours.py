"""The palette: one colour for each group of operator families, the same in every plot and report."""

from typing import NamedTuple


class Group(NamedTuple):
    """Families of operators that share a colour."""

    name: str
    colour: str
    families: tuple[str, ...]


# The colours of Okabe and Ito (Color Universal Design, 2008), which colour-blind readers tell apart, and two greys: the
# lighter one far enough from the pink of normalisation for readers without green cones.
GROUPS = (
    Group("convolution", "#0072B2", ("convolution",)),
    Group("depthwise convolution", "#56B4E9", ()),
    Group("matmul", "#E69F00", ("matmul", "recurrent", "linear_algebra")),
    Group("attention", "#D55E00", ("attention", "softmax")),
    Group("normalisation", "#CC79A7", ("normalisation",)),
    Group("element-wise", "#009E73", ("element_wise", "loss", "quantised", "backward", "optimizer")),
    Group("data movement", "#F0E442", ("copy", "indexing", "creation")),
    Group("pooling and reduction", "#BBBBBB", ("pooling", "reduction", "interpolation", "fourier")),
    Group("other", "#444444", ()),
)
MEMORY = (  # categories of the memory of a training step, from the bottom of a picture to its top
    Group("parameters", "#0072B2", ("parameter",)),
    Group("buffers", "#444444", ("buffer",)),
    Group("optimizer state", "#56B4E9", ("optimizer",)),
    Group("inputs", "#BBBBBB", ("input",)),
    Group("gradients", "#E69F00", ("gradient",)),
    Group("saved for backward", "#CC79A7", ("saved",)),
    Group("other activations", "#009E73", ("activation",)),
    Group("temporaries", "#F0E442", ("temporary",)),
)
GROUP_NAMED = {group.name: group for group in GROUPS}
OTHER = GROUP_NAMED["other"]

INK = "#222222"
QUIET = "#6A6A6A"  # secondary text; contrast 5:1 on white
FAINT = "#DDDDDD"  # lines and backgrounds behind the data
PALE = "#AAAAAA"  # secondary data
SCALE = "Blues"  # darker is more
ALARM = "#D55E00"


def ink_on(colour: str) -> str:
    """Black or white, whichever contrasts more with a colour `#RRGGBB` (WCAG 2.2, relative luminance)."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.179 else "black"
