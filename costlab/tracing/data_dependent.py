"""What to go on with where an operator needs a value that nobody knows: everything is kept, nothing is special."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from costlab.tracing.operators import Operator

LARGEST = 1 << 24  # elements of a mask whose places are listed


def guess(
    func: Any,
    operator: Operator,
    args: tuple[Any, ...],
    is_abstract: Callable[[torch.Tensor], bool],
    history: tuple[str, ...],
) -> tuple[Any, bool] | None:
    """The assumed result, and whether it rests on a guess; None where the operator needs no guess after all.

    Args:
        is_abstract: whether the values of a tensor are unknown.
        history: the kind of the operator that made the first argument, then the kinds of those before it.
    """
    name = func._schema.name.partition("::")[2]
    if name in SCALARS:
        return _scalar(args[0].dtype, history), True
    if name in TOLD:
        return TOLD[name](args, is_abstract)
    if name in VALUES:
        return VALUES[name](args), True
    if name in SIZES:
        return SIZES[name](args), True
    return None


def _meta(tensor: torch.Tensor, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype or tensor.dtype, device="meta")


def _index(args: tuple[Any, ...], is_abstract: Callable[[torch.Tensor], bool]) -> tuple[Any, bool] | None:
    """x[mask] picks the true places of a mask that is known, and all of one that is not."""
    table, indices = args[0], args[1]
    masks = [i for i in indices if i is not None and i.dtype in (torch.bool, torch.uint8)]
    if not masks:
        return None
    picked: list[torch.Tensor | None] = []
    unknown = False
    for index in indices:
        if index is None:
            picked.append(None)
        elif index.dtype not in (torch.bool, torch.uint8):
            picked.append(_meta(index, *index.shape))
        else:
            abstract = is_abstract(index)
            unknown = unknown or abstract
            count = index.numel() if abstract else int(index.count_nonzero())
            picked.extend(_meta(index, count, dtype=torch.long) for _ in range(index.dim()))
    return torch.ops.aten.index.Tensor(table.to("meta"), picked), unknown


def _all_places(mask: torch.Tensor) -> torch.Tensor:
    if mask.numel() > LARGEST:
        return _meta(mask, mask.numel(), mask.dim(), dtype=torch.long)
    return torch.ones(mask.shape, dtype=torch.bool).nonzero()


def _masked_select(args: tuple[Any, ...], is_abstract: Callable[[torch.Tensor], bool]) -> tuple[Any, bool]:
    table, mask = args
    shape = torch.broadcast_shapes(table.shape, mask.shape)
    unknown = is_abstract(mask)
    count = shape.numel() if unknown else int(mask.expand(shape).count_nonzero())
    return _meta(table, count), unknown


def _packed(args: tuple[Any, ...], is_abstract: Callable[[torch.Tensor], bool]) -> tuple[Any, bool]:
    """Rows [n, l, ...] (or [l, n, ...]) without their padding, and how many rows reach each step."""
    padded, lengths, batch_first = args
    unknown = is_abstract(lengths)
    steps = padded.shape[1 if batch_first else 0]
    known = torch.full(lengths.shape, steps) if unknown else lengths
    batch_sizes = (known[None] > torch.arange(int(known.max()))[:, None]).sum(1)
    return (_meta(padded, int(known.sum()), *padded.shape[2:]), batch_sizes), unknown


def _unpacked(args: tuple[Any, ...], is_abstract: Callable[[torch.Tensor], bool]) -> tuple[Any, bool]:
    """The inverse of `_packed`: padded rows, and their lengths."""
    data, batch_sizes, batch_first, _, total_length = args
    rows, steps = int(batch_sizes[0]), max(len(batch_sizes), total_length)
    lengths = (batch_sizes[None] > torch.arange(rows)[:, None]).sum(1)
    shape = (rows, steps) if batch_first else (steps, rows)
    return (_meta(data, *shape, *data.shape[1:]), lengths), False


TOLD: dict[str, Callable[[tuple[Any, ...], Callable[[torch.Tensor], bool]], tuple[Any, bool] | None]] = {
    "index": _index,
    "_unsafe_index": _index,
    "masked_select": _masked_select,
    "_pack_padded_sequence": _packed,
    "_pad_packed_sequence": _unpacked,
}


def _scalar(dtype: torch.dtype, history: tuple[str, ...]) -> Any:
    """One, or for a truth value what goes with everything being kept: some are chosen, all are fine, none is broken."""
    if dtype != torch.bool:
        return 1.0 if dtype.is_floating_point else 1
    made_by, before = history[:1], set(history[1:])
    if made_by in (("any",), ("all",)):
        return not before & {"isnan", "isinf"}
    return made_by in (("gt",), ("ge",), ("ne",)) and bool(before & {"sum", "count_nonzero"})


SCALARS = {"_local_scalar_dense", "item", "is_nonzero"}

VALUES: dict[str, Callable[[tuple[Any, ...]], Any]] = {"equal": lambda args: False, "allclose": lambda args: False}

# Where everything is kept it is also known which: those indices are real, and what they pick from stays known.
SIZES: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "nonzero": lambda args: _all_places(args[0]),
    "nms": lambda args: torch.arange(args[0].shape[0]),
    "_unique2": lambda args: tuple(
        _meta(args[0], args[0].numel(), dtype=dtype) for dtype in (None, torch.long, torch.long)
    ),
    "unique_consecutive": lambda args: tuple(
        _meta(args[0], args[0].numel(), dtype=dtype) for dtype in (None, torch.long, torch.long)
    ),
    "unique_dim": lambda args: (
        _meta(args[0], *args[0].shape),
        _meta(args[0], args[0].shape[args[1]], dtype=torch.long),
        _meta(args[0], args[0].shape[args[1]], dtype=torch.long),
    ),
    "repeat_interleave": lambda args: _meta(args[0], args[0].numel(), dtype=torch.long),
    "bincount": lambda args: _meta(args[0], args[0].numel(), dtype=torch.long),
}
