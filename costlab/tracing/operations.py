"""The operators of a trace, in execution order, and the tensors that flow between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from costlab.core.graph import Op, Phase, Source, Tensor
from costlab.tracing.arguments import Arguments, bind
from costlab.tracing.modules import ModuleTracker
from costlab.tracing.operators import Operator, specific_kind
from costlab.tracing.sources import SourceFinder
from costlab.tracing.tensor_table import TensorRecord, TensorTable
from costlab.tracing.tensors import all_tensors, fills, is_meta

# Kinds that write their first input without reading it: a parameter that nothing else reads is thrown away, not used.
INITIALISERS = frozenset(
    "uniform normal fill zero exponential random bernoulli log_normal cauchy geometric copy".split()
)


class Operations:
    """Grows by one `Op` for each operator that is added."""

    def __init__(self, tracker: ModuleTracker, table: TensorTable, weigh: Callable[[Op], int]) -> None:
        self.tracker = tracker
        self.weigh = weigh  # the mult-adds of an operator, to choose between branches
        self.table = table
        self.ops: list[Op] = []
        self.reads: list[list[tuple[str, TensorRecord]]] = []  # beside `ops`: what each of them read
        self.params_read: set[int] = set()
        self.source: Callable[[], Source | None] = SourceFinder()  # the line that called the current operator
        self.phase: Phase = "forward"
        self._names: dict[str, int] = {}

    def add(
        self, operator: Operator, call: Arguments, result: Any, abstract: bool = False, guessed: bool = False
    ) -> Any:
        """Add an operator.

        Args:
            abstract: the values of a new tensor are unknown, although it may have data.
            guessed: its sizes or values rest on a guess.

        Returns:
            The result, with a new object for each argument that the operator returned: edges tell them apart.
        """
        position = len(self.ops)
        inputs, after = read_inputs(operator, call)
        written = {id(record.tensor): record for record in call.written(operator)}
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        outputs, shared = [], not written
        for index, tensor in enumerate(results):
            if isinstance(tensor, torch.Tensor):
                record = written.get(id(tensor))
                if record is None:
                    results[index] = tensor = self._of_its_own(tensor)
                    record, base = self._made(tensor, call, position, abstract)
                    shared = shared and base is not None
                record.producer, record.guessed = position, guessed
                if operator.reshapes_in_place:
                    record.refresh()
                outputs.append(record.described(str(index) if len(results) > 1 else "output", record.storage.role))
        if not operator.returned:
            for record in written.values():
                record.producer = position
                outputs.append(record.described("output", record.storage.role))
        dropout_in_eval = bool(written) and call.attrs.get("train") is False
        free = (shared and bool(outputs)) or operator.reshapes_in_place or dropout_in_eval
        for record in () if free else written.values():
            record.storage.writer = position
        self._append(operator, call, inputs, outputs, after, free and bool(outputs), guessed)
        return type(result)(results) if isinstance(result, (list, tuple)) else results[0]

    def most_expensive(self, branches: Sequence[Callable[[], Any]]) -> Any:
        """The result of the branch with the most mult-adds, whose operators alone stay."""
        start, params, names = len(self.ops), set(self.params_read), dict(self._names)
        best: tuple[int, Any, list[Op], list[list[tuple[str, TensorRecord]]], set[int], dict[str, int]] | None = None
        for branch in branches:
            self.params_read, self._names = set(params), dict(names)
            result = branch()
            ops, reads = self.ops[start:], self.reads[start:]
            del self.ops[start:], self.reads[start:]
            weight = sum(map(self.weigh, ops))
            if best is None or weight > best[0]:
                best = weight, result, ops, reads, self.params_read, self._names
        assert best is not None
        _, result, ops, reads, self.params_read, self._names = best
        self.ops += ops
        self.reads += reads
        return result

    def as_one(self, kind: str, function: Callable[[], Any], args: Any) -> Any:
        """The result of a function, recorded as one operator of a kind for which the user gave a rule."""
        start, names = len(self.ops), dict(self._names)
        before = set(self.params_read)
        result = function()
        inner = [record for reads in self.reads[start:] for _, record in reads]
        del self.ops[start:], self.reads[start:]
        self._names = names
        self.params_read = before
        tensors = dict.fromkeys(all_tensors(args))
        weights = dict.fromkeys(record.tensor for record in inner if record.param is not None)
        arguments = [*(t for t in tensors), *(t for t in weights if t not in tensors)]
        operator = Operator(kind, tuple(f"input_{i}" for i in range(len(arguments))))
        call = bind(operator, operator, tuple(arguments), {}, self.table)
        return self._finish(operator, call, result, start)

    def _finish(self, operator: Operator, call: Arguments, result: Any, position: int) -> Any:
        inputs, after = read_inputs(operator, call)
        outputs = []
        for index, tensor in enumerate(all_tensors(result)):
            record = self.table.record(tensor)
            record.producer, record.storage.writer = position, -1
            outputs.append(record.described(f"output_{index}" if index else "output", record.storage.role))
        guessed = any(record.guessed for _, record in call.inputs)
        self._append(operator, call, inputs, outputs, tuple(p for p in after if p < position), False, guessed)
        return result

    def mark_as_estimate(self, results: Any) -> None:
        """Say of the last operator, and of what it made, that it rests on a guess."""
        self.ops[-1] = replace(self.ops[-1], estimated=True)
        for tensor in all_tensors(results):
            self.table.record(tensor).guessed = True

    def _append(
        self,
        operator: Operator,
        call: Arguments,
        inputs: tuple[Tensor, ...],
        outputs: Sequence[Tensor],
        after: tuple[int, ...],
        free: bool,
        guessed: bool,
    ) -> None:
        path = self.tracker.path
        if self.tracker.call_path != path:
            call.attrs["caller"] = self.tracker.call_path
        rank = next((len(t.shape) for t in inputs if t.name == "weight"), 0)
        kind = specific_kind(operator.kind, call.attrs, rank)
        params = [] if free else self._first_reads(kind, call)
        self.reads.append(call.inputs)
        self.ops.append(
            Op(
                name=self.unique(f"{path}/{kind}" if path else kind),
                kind=kind,
                module=path,
                inputs=inputs,
                outputs=tuple(outputs),
                attrs=call.attrs,
                source=self.source(),
                after=after,
                free=free,
                estimated=guessed,
                params=sum(elements for elements, _ in params),
                param_bytes=sum(size for _, size in params),
                phase=self.phase,
            )
        )

    def _of_its_own(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, or another object for one that was seen before."""
        return torch.ops.aten.alias.default(tensor) if tensor in self.table else tensor

    def _made(
        self, tensor: torch.Tensor, call: Arguments, position: int, abstract: bool
    ) -> tuple[TensorRecord, TensorRecord | None]:
        """The record of a result, and of the input whose storage it shares, if any."""
        storage = self.table.known_storage(tensor)
        base = None
        if storage is not None:
            base = next((record for _, record in call.inputs if record.storage is storage), None)
        storage = storage or self.table.storage(tensor, "activation", abstract or is_meta(tensor), external=False)
        record = self.table.record_type(tensor, storage, position, base.param if base else None)
        record.device = call.device
        return self.table.add(record), base

    def _first_reads(self, kind: str, call: Arguments) -> list[tuple[int, int]]:
        """Elements and bytes of the parameters among the inputs that no operator has read before."""
        inputs = call.inputs[1:] if kind in INITIALISERS else call.inputs
        read = (record.param for _, record in inputs if record.param is not None)
        first = [param for param in dict.fromkeys(read) if param not in self.params_read]
        self.params_read.update(first)
        return [self.table.params[param] for param in first]

    def unique(self, name: str) -> str:
        """The name, or with a number if an operator has it already."""
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}_{count}" if count else name


def read_inputs(operator: Operator, call: Arguments) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The tensors that an operator reads, and the positions of the operators that it comes after."""
    read = []
    after: set[int] = set()
    for name, record in call.inputs:
        storage = record.storage
        if name in operator.overwritten:
            if not fills(record.tensor):
                after.add(storage.writer)
            continue
        after.add(record.producer)
        after.add(storage.writer)
        read.append(record.described(name, storage.role if storage.writer < 0 else "activation"))
    after.discard(-1)
    return tuple(read), tuple(sorted(after))
