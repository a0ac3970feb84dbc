"""Memory layouts: views permute the dimensions of a tensor in memory, and some kernels are slower for it.

A layout lists the dimensions, outermost first: (0, 1, 2, 3) is a contiguous image (NCHW), (0, 2, 3, 1) one in
channels-last (NHWC). Layouts are inferred from the operators of a trace.
"""

from collections.abc import Sequence
from typing import NamedTuple

from costlab.core.graph import Op, Tensor
from costlab.latency.precision import family

CHANNELS_LAST = (0, 2, 3, 1)
PRESERVING_FAMILIES = ("element_wise", "pooling", "interpolation")  # write in the layout they read
RESIZING = ("cat", "pad")
TWO_LAYOUTS = ("pooling", "interpolation", "batch_norm", "group_norm")  # write contiguous or channels-last images only
PRESERVING_KINDS = ("batch_norm", "group_norm", "cat", "pad", "roll", "clone")


class Layout(NamedTuple):
    """The order of a tensor's dimensions in memory, and whether they are dense, without gaps."""

    order: tuple[int, ...]
    dense: bool = True


def contiguous(shape: Sequence[int]) -> Layout:
    """The contiguous layout of a shape."""
    return Layout(tuple(range(len(shape))))


def significant(layout: Layout, shape: Sequence[int]) -> tuple[int, ...]:
    """The order without dimensions of size 1, whose position is arbitrary."""
    return tuple(d for d in layout.order if shape[d] != 1)


def is_contiguous(layout: Layout, shape: Sequence[int]) -> bool:
    """Whether a tensor is contiguous, as `Tensor.is_contiguous()`."""
    order = significant(layout, shape)
    return layout.dense and order == tuple(sorted(order))


def is_channels_last(layout: Layout, shape: Sequence[int]) -> bool:
    """Whether an image is in channels-last and not contiguous at the same time."""
    return (
        len(shape) == 4
        and shape[1] > 1
        and max(shape[2:]) > 1
        and significant(layout, shape) == significant(Layout(CHANNELS_LAST), shape)
    )


def innermost(layout: Layout, shape: Sequence[int]) -> int | None:
    """The innermost dimension in memory; None for a single element."""
    order = significant(layout, shape)
    return order[-1] if order else None


def layouts(ops: Sequence[Op], channels_last: bool, several: bool = False) -> list[tuple[Layout, ...]]:
    """The layouts of every operator's inputs.

    Args:
        channels_last: input images and weights are in channels-last.
        several: dimension 0 is a batch of several, also where one was traced.
    """
    known: dict[tuple[int, tuple[int, ...]], Layout] = {}

    def layout_of(tensor: Tensor) -> Layout:
        found = known.get((tensor.storage, tensor.shape))
        if found is None:
            image = channels_last and len(tensor.shape) == 4 and tensor.role in ("input", "parameter")
            return Layout(CHANNELS_LAST) if image else contiguous(tensor.shape)
        return found

    result = []
    for op in ops:
        inputs = tuple(layout_of(t) for t in op.inputs)
        result.append(inputs)
        for output in op.outputs:
            if not op.free:
                known[output.storage, output.shape] = written(op, inputs, output, channels_last)
            elif op.inputs and output.storage == op.inputs[0].storage:
                known[output.storage, output.shape] = viewed(op, inputs[0], op.inputs[0].shape, output.shape, several)
    return result


def written(op: Op, inputs: tuple[Layout, ...], output: Tensor, channels_last: bool) -> Layout:
    """The layout of a newly written output."""
    rank, family_name = len(output.shape), family(op)
    if op.kind == "convolution_backward":
        return written_by_backward(op, inputs, output, channels_last)
    if family_name == "convolution":
        last = rank == 4 and (channels_last or is_channels_last(inputs[0], op.inputs[0].shape))
        return Layout(CHANNELS_LAST) if last else contiguous(output.shape)
    if family_name == "attention" and rank == 4:
        return Layout((0, 2, 1, 3))  # [n, h, l, e], with the heads of a position adjacent
    if family_name in PRESERVING_FAMILIES or op.kind in PRESERVING_KINDS:
        for tensor, layout in zip(op.inputs, inputs, strict=True):
            if len(tensor.shape) != rank or (
                tensor.shape != output.shape and op.kind not in RESIZING and family_name not in TWO_LAYOUTS
            ):
                continue
            if family_name in TWO_LAYOUTS or op.kind in TWO_LAYOUTS:
                return Layout(CHANNELS_LAST) if is_channels_last(layout, tensor.shape) else contiguous(output.shape)
            return Layout(layout.order)
    return contiguous(output.shape)


def written_by_backward(op: Op, inputs: tuple[Layout, ...], output: Tensor, channels_last: bool) -> Layout:
    """The layout of a gradient of a convolution."""
    image = len(output.shape) == 4 and any(
        is_channels_last(layout, tensor.shape) for layout, tensor in zip(inputs[:2], op.inputs, strict=False)
    )
    return Layout(CHANNELS_LAST) if image or (channels_last and len(output.shape) == 4) else contiguous(output.shape)


def viewed(op: Op, layout: Layout, old: Sequence[int], new: Sequence[int], several: bool = False) -> Layout:
    """The layout of a view of a tensor with the shape `old`; `several` as in `layouts`."""
    rank, kind, attrs = len(old), op.kind, op.attrs
    order, dense = layout
    if kind == "contiguous":
        return contiguous(new)
    if kind == "permute":
        place = {dim % rank: position for position, dim in enumerate(attrs["dims"])}
        return Layout(tuple(place[d] for d in order), dense)
    if rank > 1 and kind in ("transpose", "swapaxes", "t", "numpy_T", "mT"):
        a, b = (attrs["dim0"] % rank, attrs["dim1"] % rank) if "dim0" in attrs else (rank - 2, rank - 1)
        swap = {a: b, b: a}
        return Layout(tuple(swap.get(d, d) for d in order), dense)
    if len(new) == rank - 1 and kind in ("select", "unbind", "squeeze"):
        dim = attrs.get("dim", 0)
        removed = (dim[0] if isinstance(dim, (list, tuple)) else dim or 0) % rank
        whole = order[0] == removed or old[removed] == 1
        return Layout(tuple(d - (d > removed) for d in order if d != removed), dense and whole)
    if (
        len(new) == rank
        and tuple(new) != tuple(old)
        and kind in ("slice", "chunk", "split", "split_with_sizes", "narrow")
    ):
        cut = [d for d in range(rank) if new[d] != old[d]]
        outer = order[: order.index(cut[0])]
        whole = all(old[d] == 1 and not (several and d == 0) for d in outer)
        return Layout(order, dense and len(cut) == 1 and whole)
    if kind in ("expand", "expand_as", "broadcast_to"):
        ahead = len(new) - rank
        return Layout((*range(ahead), *(d + ahead for d in order)), dense and tuple(new) == tuple(old))
    return regrouped(layout, old, new)


def regrouped(layout: Layout, old: Sequence[int], new: Sequence[int]) -> Layout:
    """The layout after splitting and merging dimensions, as `view`, `reshape` and `flatten` do."""
    groups: list[tuple[list[int], list[int]]] = []  # old and new dimensions over the same elements
    i = j = 0
    while i < len(old) or j < len(new):
        mine, theirs = ([i] if i < len(old) else []), ([j] if j < len(new) else [])
        left, right = (old[i] if mine else 1), (new[j] if theirs else 1)
        i, j = i + bool(mine), j + bool(theirs)
        while left != right:
            if left < right and i < len(old):
                left, i = left * old[i], i + 1
                mine.append(i - 1)
            elif right < left and j < len(new):
                right, j = right * new[j], j + 1
                theirs.append(j - 1)
            else:
                return Layout(contiguous(new).order, layout.dense)
        groups.append((mine, theirs))
    group_of = {dim: g for g, (mine, _) in enumerate(groups) for dim in mine}
    by_size = sorted(layout.order, key=lambda d: old[d] == 1)  # dimensions of size 1 last: their position is arbitrary
    first = list(dict.fromkeys(group_of[d] for d in by_size))
    seen = [g for g in first if any(old[d] != 1 for d in groups[g][0])]
    seen += [g for g in first if g not in seen]
    order = [d for g, (mine, theirs) in enumerate(groups) if not mine for d in theirs]
    order += [d for g in seen for d in groups[g][1]]
    return Layout(tuple(order), layout.dense) if len(order) == len(new) else Layout(contiguous(new).order, False)
