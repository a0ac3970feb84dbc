"""Expected values of activations, for networks that read unknown values.

Everything is kept: a comparison is true, a mask of lengths is full. A choice among experts is spread evenly: of the
places where `topk(scores, k)` chose one of E experts, one in E is a given expert's. Means are worked out backwards from
the operators that made a tensor; `places` gives each expert whole places of its own, whose sum is what went in.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import floor, prod
from operator import mul
from typing import Any, NamedTuple

import torch

from costlab.core.graph import Op
from costlab.tracing.tensor_table import TensorRecord

DEPTH = 40  # operators to walk back
Inputs = Sequence[tuple[str, TensorRecord]]
Mean = Callable[["Expectations", Op, Inputs, int], float]


class Routing(NamedTuple):
    """A choice of experts."""

    position: int  # of the operator that chose
    chosen: int  # how many indices it gave
    experts: int  # out of how many
    expert: Any  # the one that a mask was narrowed to; None for all of them


class Expectations:
    """Means of the tensors of one trace."""

    def __init__(self, ops: Sequence[Op], reads: Sequence[tuple[Sequence[str], Sequence[TensorRecord]]]) -> None:
        self._ops = ops
        self._reads = reads
        self._shares: dict[int, dict[Any, range]] = {}  # by routing, then by expert: the places given out

    def source(self, record: TensorRecord) -> tuple[Op, Inputs, int] | None:
        """The operator that last wrote a tensor, what it read, and its position."""
        position = last_writer(record)
        if position < 0:
            return None
        op = self._ops[position]
        read = [(name, self.as_read(r, op) if last_writer(r) >= position else r) for name, r in self.inputs(position)]
        return op, read, position

    def inputs(self, position: int) -> Inputs:
        """What the operator at a position read."""
        return list(zip(*self._reads[position], strict=True))

    def as_read(self, record: TensorRecord, op: Op) -> TensorRecord:
        """The record of a tensor that was written since an operator read it, or by it, as it was before."""
        number = record.storage.number
        writers = [p for p in op.after if any(t.storage == number for t in self._ops[p].outputs)]
        return replace(record, producer=max(writers, default=-1), storage=replace(record.storage, writer=-1))

    def mean(self, record: TensorRecord, depth: int = DEPTH) -> float:
        """The mean value of a tensor; 1 if nothing is known of it."""
        if not record.storage.abstract and record.tensor.numel():
            if record.tensor.numel() > 1 << 16 or record.tensor.is_complex():
                return 1.0
            return float(record.tensor.double().mean())
        made = self.source(record)
        if made is None or not depth:
            return 1.0
        op, inputs, _ = made
        rule = MEANS.get(op.kind)
        return rule(self, op, inputs, depth - 1) if rule else 1.0

    def routing(self, record: TensorRecord, depth: int = DEPTH) -> Routing | None:
        """The choice of experts that a tensor of indices or a mask was made from."""
        made = self.source(record)
        if made is None or not made[1] or not depth:
            return None
        op, inputs, position = made
        first = inputs[0][1]
        if op.kind in CHOICES:
            experts = first.shape[op.attrs.get("dim") or -1] if first.shape else 1
            return Routing(position, prod(op.outputs[-1].shape), experts, None)
        if op.kind in ("scatter", "scatter_add", "copy"):
            return self.routing(inputs[1][1], depth - 1) if len(inputs) > 1 else None
        if op.kind not in PASSED and op.kind not in ("eq", "one_hot", "sum", "any", "gt", "ne", "index"):
            return None
        routing = self.routing(first, depth - 1) or self.segments(op, inputs, depth - 1)
        if routing is None or routing.expert is not None:
            return routing
        if op.kind == "eq" and (len(inputs) == 1 or inputs[1][1].elements == 1):
            return routing._replace(expert=op.attrs.get("other", position))
        if op.kind == "select" and first.tensor.numel() >= routing.chosen:
            return routing._replace(expert=op.attrs.get("index"))
        return routing

    def segments(self, op: Op, inputs: Inputs, depth: int) -> Routing | None:
        """A comparison of a tensor with one of its own unique values: each element has one of them."""
        if op.kind != "eq" or len(inputs) < 2:
            return None
        made = self.source(inputs[1][1])
        while made is not None and made[0].kind in PASSED and made[1] and depth:
            depth -= 1
            made = self.source(made[1][0][1])
        if made is None or made[0].kind != "unique":
            return None
        op, read, position = made
        values, compared = read[0][1], inputs[0][1]
        if values.storage.number != compared.storage.number:
            return None
        return Routing(position, prod(values.shape), max(op.output.shape[0], 1), None)

    def places(self, mask: TensorRecord) -> range:
        """Which elements of a mask are true, modulo their number: one expert's follow those of the experts before."""
        size = mask.tensor.numel()
        due = self.mean(mask) * size
        routing = self.routing(mask)
        if routing is None or routing.expert is None:
            return range(min(round(due), size))
        shares = self._shares.setdefault(routing.position, {})
        if routing.expert not in shares:
            given = sum(map(len, shares.values()))
            count = max(floor((len(shares) + 1) * due + 1e-6) - given, 1)
            shares[routing.expert] = range(given, given + min(count, max(routing.chosen - given, 0), size))
        return shares[routing.expert]

    def values(self, record: TensorRecord) -> torch.Tensor:
        """A tensor of numbers with about the mean of an abstract one."""
        mean, count = self.mean(record), record.tensor.numel()
        if record.tensor.dtype.is_floating_point or record.tensor.dtype.is_complex:
            return torch.full(record.shape, mean, dtype=record.tensor.dtype)
        if record.tensor.dtype == torch.bool:
            return torch.full(record.shape, mean >= 0.5, dtype=torch.bool)
        steps = torch.floor(torch.arange(count + 1, dtype=torch.float64) * mean + 1e-6)
        return (steps[1:] - steps[:-1]).to(record.tensor.dtype).reshape(record.shape)


def last_writer(record: TensorRecord) -> int:
    """The position of the operator that last wrote a tensor; -1 if none did."""
    return max(record.producer, record.storage.writer)


def of_first(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """The mean of the first input."""
    return expectations.mean(inputs[0][1], depth) if inputs else 1.0


def of_parts(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """The mean over what was put together."""
    elements = [prod(record.shape) for _, record in inputs]
    means = (expectations.mean(record, depth) for _, record in inputs)
    return sum(map(mul, means, elements)) / max(sum(elements), 1)


def of_source(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """The mean of what was copied or filled in."""
    source = next((r for name, r in inputs if name in ("src", "source", "values", "value")), None)
    filled = float(op.attrs.get("value", 1) or 0) if source is None else expectations.mean(source, depth)
    where = next(
        (r for name, r in inputs[1:] if name.startswith(("mask", "indices")) and r.tensor.dtype == torch.bool), None
    )
    if where is None or inputs[0][1].tensor.dtype != torch.bool:
        return filled
    before, share = expectations.mean(inputs[0][1], depth), expectations.mean(where, depth)
    return min(before + share, 1.0) if filled else before * (1 - share)


def of_comparison(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """1, unless chosen experts are compared with one of them, or counts below one with zero."""
    if op.kind == "eq":
        routing = expectations.routing(inputs[0][1]) or expectations.segments(op, inputs, depth)
        return 1 / max(routing.experts, 1) if routing else 1.0
    if op.kind in ("gt", "ne") and op.attrs.get("other", 0) == 0 and expectations.routing(inputs[0][1]):
        return min(1.0, expectations.mean(inputs[0][1], depth))
    return 1.0


def of_sum(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """The mean times the number of summands, for integers and truth values."""
    source = inputs[0][1]
    if source.tensor.dtype.is_floating_point:
        return 1.0
    return expectations.mean(source, depth) * max(prod(source.shape), 1) / max(prod(op.output.shape), 1)


def of_any(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """At most 1."""
    return min(1.0, of_sum(expectations, op, inputs, depth))


def of_one_hot(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """One of the classes."""
    return 1 / max(op.output.shape[-1], 1)


def of_scatter(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """What was there, and the scattered value at every place."""
    index = next((r for name, r in inputs if name == "index"), None)
    places = prod(index.shape) if index else 0
    return min(expectations.mean(inputs[0][1], depth) + places / max(prod(op.output.shape), 1), 1.0)


def of_bincount(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """As many as were counted, spread over all bins."""
    return prod(inputs[0][1].shape) / max(prod(op.output.shape), 1)


def of_index(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """An index that is not the first one, if there are several."""
    return 1.0 if not inputs or max(inputs[0][1].shape, default=1) > 1 else 0.0


def of_not(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """The opposite."""
    return 1.0 - min(1.0, of_first(expectations, op, inputs, depth))


def of_logic(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """Both, or either, of two truth values; those that are not always true exclude each other."""
    means = [expectations.mean(record, depth) for _, record in inputs[:2]]
    return prod(means) if op.kind.endswith("and") else min(sum(means), 1.0)


def of_arithmetic(expectations: Expectations, op: Op, inputs: Inputs, depth: int) -> float:
    """The same with the means."""
    left = expectations.mean(inputs[0][1], depth)
    other = op.attrs.get("other", 1)
    right = expectations.mean(inputs[1][1], depth) if len(inputs) > 1 else float(other) if other else 0.0
    if op.kind == "add":
        return left + right
    if op.kind == "sub":
        return left - right
    if op.kind == "mul":
        return left * right
    return left / right if right else left


CHOICES = frozenset("topk argmax max sort argsort multinomial".split())
PASSED = frozenset(
    "to clone view reshape select slice unsqueeze squeeze expand flatten unflatten transpose permute contiguous detach"
    " alias index_select unbind split chunk t roll flip movedim item cat stack repeat".split()
)

MEANS: dict[str, Mean] = {
    **dict.fromkeys(PASSED, of_first),
    **dict.fromkeys(("cat", "stack"), of_parts),
    **dict.fromkeys("max min amax amin mean median mode index gather cummax cummin clamp unique".split(), of_first),
    **dict.fromkeys(
        "copy fill masked_fill index_put index_copy slice_scatter select_scatter masked_scatter".split(), of_source
    ),
    **dict.fromkeys("eq ne lt le gt ge isin isfinite".split(), of_comparison),
    **dict.fromkeys("isnan isinf zero zeros zeros_like new_zeros".split(), lambda *_: 0.0),
    **dict.fromkeys("sum count_nonzero".split(), of_sum),
    **dict.fromkeys("any all".split(), of_any),
    **dict.fromkeys("topk argmax argmin sort argsort".split(), of_index),
    **dict.fromkeys("logical_not bitwise_not".split(), of_not),
    **dict.fromkeys("add sub mul div floor_divide".split(), of_arithmetic),
    **dict.fromkeys("logical_and bitwise_and logical_or bitwise_or".split(), of_logic),
    "scatter": of_scatter,
    "scatter_add": of_scatter,
    "bincount": of_bincount,
    "one_hot": of_one_hot,
}
