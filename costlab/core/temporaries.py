"""Memory that an operator allocates in addition to its results and frees before it returns."""

from math import ceil, prod
from typing import Any

from costlab.core.graph import ITEM_BYTES, Op

HALVES = ("float16", "bfloat16")
MULTIPLE = 8  # matrix units take channels in multiples of this without padding
GROUP_TILE = 128  # columns to which channels-last kernels pad a group whose width is not a power of two
IMAGE, IMAGE_TAPS = 4, 49  # with so few channels, only kernels of 7 x 7 and more run in channels-last
INDEX_BYTES = 8


def temporary_bytes(op: Op) -> int:
    """The bytes that an operator of a forward pass allocates for itself.

    Max pooling writes the position of every maximum, though its caller drops them. A convolution in half precision of a
    contiguous image copies it to channels-last, and its result back: cuDNN has no other kernels for the matrix units.
    Measured on an H100 (docs/measuring.md); kernels for other types are left out.
    """
    if op.kind in ("max_pool2d", "max_pool3d") and op.outputs:
        return INDEX_BYTES * op.output.elements
    return layout_copies(op) if op.kind == "conv2d" else 0


def layout_copies(op: Op) -> int:
    """The bytes of the copies in channels-last that a convolution of [n, i, h, w] makes of input, weight and output."""
    image, weight = op["input"], op["weight"].shape
    if image.dtype not in HALVES or op.attrs.get("channels_last") or is_depthwise(op):
        return 0
    if is_plain_product(op) and prod(op.output.shape[-2:]) % MULTIPLE == 0:  # rows of pixels are aligned
        return 0
    taps, groups, width = prod(weight[2:]), op.attrs.get("groups", 1), weight[1]
    inputs, outputs = max(image.shape[1 - len(weight)], 1), max(weight[0], 1)
    if inputs <= IMAGE and taps < IMAGE_TAPS:
        return 0
    read, written = padded(inputs, IMAGE if inputs <= IMAGE else MULTIPLE), outputs  # channels
    if groups > 1 and width % MULTIPLE and not is_power_of_two(width):  # each group fills a tile
        read, written = groups * padded(width, GROUP_TILE), groups * padded(outputs / groups, GROUP_TILE)
    elements = image.elements // inputs * read + op.output.elements // outputs * written
    return (elements + (prod(weight) if taps > 1 else 0)) * ITEM_BYTES[image.dtype]


def padded(channels: float, multiple: int = MULTIPLE) -> int:
    """Channels as matrix units take them."""
    return ceil(channels / multiple) * multiple


def is_depthwise(op: Op) -> bool:
    """Whether each group of a convolution has one input channel, and at most two output channels."""
    weight, groups = op["weight"].shape, op.attrs.get("groups", 1)
    return bool(groups > 1 and weight[1] == 1 and weight[0] <= 2 * groups)


def is_power_of_two(width: float) -> bool:
    """Whether cuDNN has kernels for groups of this width."""
    return int(width).bit_count() == 1


def is_plain_product(op: Op) -> bool:
    """Whether a contiguous convolution is a matrix product as it stands, one for each image: 1 x 1, of every pixel."""
    return set(op["weight"].shape[2:]) | moves(op) == {1} and op.attrs.get("groups", 1) == 1


def moves(op: Op) -> set[int]:
    """The strides of a convolution, and one more than its padding: 1 alone where it takes every pixel as it lies."""
    return {*as_tuple(op.attrs.get("stride", 1)), *(p + 1 for p in as_tuple(op.attrs.get("padding", 0)))}


def as_tuple(value: Any) -> tuple[int, ...]:
    """A stride or padding, given for all dimensions or for each."""
    members = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(member for member in members if isinstance(member, int))
