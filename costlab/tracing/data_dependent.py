"""Results of operators that need unknown values: everything is kept, nothing is special."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from costlab.tracing.calls import Call
from costlab.tracing.tensors import is_meta

LARGEST = 1 << 24  # elements of a mask whose places are listed


class Context(Protocol):
    """What a guess can ask of the recorder."""

    def is_abstract(self, tensor: torch.Tensor) -> bool:
        """Whether the values of a tensor are unknown."""
        ...

    def places(self, mask: torch.Tensor) -> int:
        """How many elements of a mask are true, or are expected to be."""
        ...

    def mean(self, tensor: torch.Tensor) -> float:
        """The mean that a tensor is expected to have."""
        ...

    def classes(self, tensor: torch.Tensor) -> int | None:
        """Out of how many experts the indices in a tensor were chosen."""
        ...

    def history(self, tensor: torch.Tensor) -> tuple[str, ...]:
        """The kind of the operator that made a tensor, then the kinds of those before it."""
        ...

    def answer(self, expected: Any) -> Any:
        """The answer to a question of control flow, which changes in an endless loop."""
        ...


Guess = tuple[Any, bool]  # the assumed result, and whether it rests on unknown values


def guess(call: Call, context: Context) -> Guess | None:
    """The assumed result of an operator, and whether it is a guess; None if the operator needs none after all."""
    rule = GUESSES.get(call.operator.overload._schema.name.partition("::")[2])
    return rule(call.args, context) if rule else None


def empty(tensor: torch.Tensor, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor without data, of the dtype of another."""
    return torch.empty(shape, dtype=dtype or tensor.dtype, device="meta")


# Python values.


def scalar(args: tuple[Any, ...], context: Context) -> Guess:
    """`item`: the expected number, or a truth value that goes with everything being kept."""
    tensor = args[0]
    if tensor.dtype == torch.bool:
        return context.answer(truth(context.history(tensor))), True
    if tensor.dtype.is_complex:
        return complex(1.0), True
    mean = context.mean(tensor)
    return context.answer(mean if tensor.dtype.is_floating_point else max(round(mean), 0)), True


def truth(history: tuple[str, ...]) -> bool:
    """Some are chosen, all are fine, none is broken; a single comparison is false."""
    made_by, before = history[:1], set(history[1:])
    if made_by in (("any",), ("all",), ("_is_all_true",), ("_is_any_true",)):
        return not before & {"isnan", "isinf"}
    return made_by in (("gt",), ("ge",), ("ne",)) and bool(before & {"sum", "count_nonzero"})


def unequal(args: tuple[Any, ...], context: Context) -> Guess:
    """`equal` and `allclose` of activations."""
    return context.answer(False), True


# Sizes.


def nonzero(args: tuple[Any, ...], context: Context) -> Guess:
    """The places of a mask: real indices, so that what they pick from stays known."""
    mask = args[0]
    count = context.places(mask)
    if mask.numel() > LARGEST:
        return empty(mask, count, mask.dim(), dtype=torch.long), True
    return torch.ones(mask.shape, dtype=torch.bool).nonzero()[:count], True


def index(args: tuple[Any, ...], context: Context) -> Guess | None:
    """x[mask] picks the true places of a known mask, and as many as are expected of an unknown one."""
    table, indices = args[0], args[1]
    if not any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return None
    picked: list[torch.Tensor | None] = []
    unknown = False
    for given in indices:
        if given is None or given.dtype not in (torch.bool, torch.uint8):
            picked.append(None if given is None else empty(given, *given.shape))
        else:
            unknown = unknown or context.is_abstract(given)
            count = context.places(given)
            picked.extend(empty(given, count, dtype=torch.long) for _ in range(given.dim()))
    return torch.ops.aten.index.Tensor(table if is_meta(table) else table.to("meta"), picked), unknown


def masked_select(args: tuple[Any, ...], context: Context) -> Guess:
    """The places of a mask that is broadcast to the table."""
    table, mask = args
    repeats = torch.broadcast_shapes(table.shape, mask.shape).numel() // max(mask.numel(), 1)
    return empty(table, context.places(mask) * repeats), context.is_abstract(mask)


def repeat_interleave(args: tuple[Any, ...], context: Context) -> Guess:
    """As many places as the repeats add up to."""
    return empty(args[0], max(round(context.mean(args[0]) * args[0].numel()), 0), dtype=torch.long), True


def bincount(args: tuple[Any, ...], context: Context) -> Guess:
    """A bin for every expert that the elements chose from, or else for every element; or as many as are given."""
    bins = (args[2] if len(args) > 2 else 0) or context.classes(args[0]) or args[0].numel()
    return empty(args[0], bins, dtype=torch.long), True


def unique(args: tuple[Any, ...], context: Context) -> Guess:
    """All elements are different: values, their places and their counts."""
    size = args[0].numel()
    return tuple(empty(args[0], size, dtype=dtype) for dtype in (None, torch.long, torch.long)), True


def unique_dim(args: tuple[Any, ...], context: Context) -> Guess:
    """All slices along a dimension are different."""
    table, dim = args[:2]
    size = table.shape[dim]
    return (empty(table, *table.shape), *(empty(table, size, dtype=torch.long) for _ in range(2))), True


# Packed sequences.


def packed(args: tuple[Any, ...], context: Context) -> Guess:
    """Rows [n, l, ...] (or [l, n, ...]) without their padding, and how many rows reach each step."""
    padded, lengths, batch_first = args
    unknown = context.is_abstract(lengths)
    steps = padded.shape[1 if batch_first else 0]
    known = torch.full(lengths.shape, steps) if unknown else lengths
    batch_sizes = (known[None] > torch.arange(int(known.max()))[:, None]).sum(1)
    return (empty(padded, int(known.sum()), *padded.shape[2:]), batch_sizes), unknown


def unpacked(args: tuple[Any, ...], context: Context) -> Guess:
    """The inverse of `packed`: padded rows, and their lengths."""
    data, batch_sizes, batch_first, _, total_length = args
    rows, steps = int(batch_sizes[0]), max(len(batch_sizes), total_length)
    lengths = (batch_sizes[None] > torch.arange(rows)[:, None]).sum(1)
    shape = (rows, steps) if batch_first else (steps, rows)
    return (empty(data, *shape, *data.shape[1:]), lengths), False


GUESSES: dict[str, Callable[[tuple[Any, ...], Context], Guess | None]] = {
    **dict.fromkeys(("_local_scalar_dense", "item", "is_nonzero"), scalar),
    **dict.fromkeys(("equal", "allclose"), unequal),
    **dict.fromkeys(("index", "_unsafe_index"), index),
    "nonzero": nonzero,
    "nms": lambda args, context: (torch.arange(args[0].shape[0]), True),
    "masked_select": masked_select,
    "repeat_interleave": repeat_interleave,
    "bincount": bincount,
    **dict.fromkeys(("_unique2", "unique_consecutive"), unique),
    "unique_dim": unique_dim,
    "_pack_padded_sequence": packed,
    "_pad_packed_sequence": unpacked,
}


# Truth values that are known although an operand is not.


def absorbed(call: Call) -> torch.Tensor | None:
    """The result of `a & 0`, `a * 0` or `a | true`, which is known whatever `a` is; None if it is not."""
    operator, records = call.operator, call.records
    if operator.written or len(records) != 2 or any(not is_whole(record.tensor) for record in records):
        return None
    known = next((record.tensor for record in records if not record.storage.abstract), None)
    left, right = records
    dtype = torch.promote_types(left.tensor.dtype, right.tensor.dtype)
    if known is None or (operator.absorbing and dtype != torch.bool):
        return None
    if not bool(known.all() if operator.absorbing else (known == 0).all()):
        return None
    return torch.full(torch.broadcast_shapes(left.shape, right.shape), int(operator.absorbing or 0), dtype=dtype)


def is_whole(tensor: torch.Tensor) -> bool:
    """Whether a tensor contains integers or truth values."""
    return not (tensor.is_floating_point() or tensor.is_complex())
