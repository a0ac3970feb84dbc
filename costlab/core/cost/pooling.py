"""Cost formulas of pooling and interpolation."""

from math import prod

from costlab.core.cost.algebra import Cost, Rule, traffic
from costlab.core.graph import Op


def pooling(op: Op) -> Cost:
    """One for each element visited: every output element sees the part of its window that lies on the input."""
    spatial = spatial_rank(op)
    kernel, stride, padding, dilation = (
        numbers * spatial if len(numbers) == 1 else numbers
        for numbers in (
            op.attrs["kernel_size"],
            op.attrs.get("stride") or op.attrs["kernel_size"],
            op.attrs.get("padding") or [0],
            op.attrs.get("dilation") or [1],
        )
    )
    sizes = zip(op.inputs[0].shape[-spatial:], op.output.shape[-spatial:], strict=True)
    visited = prod(op.output.shape[:-spatial])
    for (i, o), k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        visited *= sum(positions_inside(i, o, s, tap * d - p) for tap in range(k))
    return traffic(op, element_wise_ops=visited)


def positions_inside(inputs: int, outputs: int, stride: int, offset: int) -> int:
    """For how many output positions j the input position j * stride + offset exists."""
    first = max(-(offset // stride), 0)  # the smallest j that does not fall short of the input
    last = min((inputs - 1 - offset) // stride, outputs - 1)
    return max(last - first + 1, 0)


def adaptive_pooling(op: Op) -> Cost:
    """One for each element visited: output position j of o sees input positions floor(j i / o) to ceil((j+1) i / o)."""
    spatial = spatial_rank(op)
    sizes = zip(op.inputs[0].shape[-spatial:], op.output.shape[-spatial:], strict=True)
    visited = prod(op.output.shape[:-spatial])
    for i, o in sizes:
        visited *= sum(-(-(j + 1) * i // o) - j * i // o for j in range(o))
    return traffic(op, element_wise_ops=visited)


def spatial_rank(op: Op) -> int:
    """The number that ends the kind: 2 for `max_pool2d`."""
    return int(op.kind.removesuffix("_with_indices")[-2])


def interpolation(taps: int) -> Rule:
    """One for each input element that an output element is made of."""
    return lambda op: traffic(op, element_wise_ops=taps * op.output.numel)


def grid_sample(op: Op) -> Cost:
    """Bilinear (2 taps a dimension), nearest (1) or bicubic (4): a tap for each output element and neighbour."""
    spatial = op["grid"].shape[-1]
    taps = {0: 2, 1: 1, 2: 4}[op.attrs.get("interpolation_mode", 0)] ** spatial
    return traffic(op, element_wise_ops=taps * op.output.numel)


def roi_align(op: Op) -> Cost:
    """Each output cell averages sampling_ratio^2 points (at least 1) of 4 neighbours; it reads what it samples."""
    ratio = max(op.attrs.get("sampling_ratio", 0), 1)
    visited = op.output.numel * ratio**2 * 4
    features, rois = op["input"], op["rois"]
    return traffic(
        op, element_wise_ops=visited, reads=[(min(visited, features.elements), features), (rois.elements, rois)]
    )
