"""Results of operators that need unknown values: everything is kept, nothing is special."""

from collections.abc import Callable
from typing import Any, Protocol

import torch

from costlab.tracing.tensors import is_mask, is_meta

LARGEST = 1 << 24  # elements of a mask whose places are listed


class Context(Protocol):
    """What a guess can ask of the recorder."""

    def is_abstract(self, tensor: torch.Tensor) -> bool:
        """Whether the values of a tensor are unknown."""
        ...

    def places(self, mask: torch.Tensor) -> range:
        """Which elements of a mask are expected to be true, modulo their number."""
        ...

    def count(self, mask: torch.Tensor) -> int:
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

    def ends_loop(self) -> bool:
        """Whether a guessed size is the least possible one, because a loop goes on otherwise."""
        ...


Guess = tuple[Any, bool]  # the assumed result, and whether it rests on unknown values
GuessRule = Callable[[tuple[Any, ...], Context], Guess | None]  # None: the operator needs no guess after all


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
    places = context.places(mask)
    if mask.numel() > LARGEST:
        return empty(mask, len(places), mask.dim(), dtype=torch.long), True
    kept = torch.zeros(mask.numel(), dtype=torch.bool)
    kept[torch.arange(places.start, places.stop) % max(mask.numel(), 1)] = True
    return kept.reshape(mask.shape).nonzero(), True


def index(args: tuple[Any, ...], context: Context) -> Guess | None:
    """x[mask] picks the true places of a known mask, and as many as are expected of an unknown one."""
    table, indices = args[0], args[1]
    if not any(map(is_mask, indices)):
        return None
    picked: list[torch.Tensor | None] = []
    unknown = False
    for given in indices:
        if not is_mask(given):
            picked.append(None if given is None else empty(given, *given.shape))
        else:
            unknown = unknown or context.is_abstract(given)
            count = context.count(given)
            picked.extend(empty(given, count, dtype=torch.long) for _ in range(given.dim()))
    return torch.ops.aten.index.Tensor(table if is_meta(table) else table.to("meta"), picked), unknown


def masked_select(args: tuple[Any, ...], context: Context) -> Guess:
    """The places of a mask that is broadcast to the table."""
    table, mask = args
    repeats = torch.broadcast_shapes(table.shape, mask.shape).numel() // max(mask.numel(), 1)
    return empty(table, context.count(mask) * repeats), context.is_abstract(mask)


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
    if context.ends_loop():
        size = min(size, 1)
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


GUESSES: dict[str, GuessRule] = {
    **dict.fromkeys(("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero"), scalar),
    **dict.fromkeys(("aten::equal", "aten::allclose"), unequal),
    **dict.fromkeys(("aten::index.Tensor", "aten::_unsafe_index.Tensor"), index),
    **dict.fromkeys(("aten::nonzero", "aten::nonzero.out"), nonzero),
    "torchvision::nms": lambda args, context: (torch.arange(args[0].shape[0]), True),
    **dict.fromkeys(("aten::masked_select", "aten::masked_select.out"), masked_select),
    "aten::repeat_interleave.Tensor": repeat_interleave,
    "aten::bincount": bincount,
    **dict.fromkeys(("aten::_unique2", "aten::unique_consecutive"), unique),
    "aten::unique_dim": unique_dim,
    "aten::_pack_padded_sequence": packed,
    "aten::_pad_packed_sequence": unpacked,
}
