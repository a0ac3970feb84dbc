"""The operators of a trace, in execution order, and the tensors that flow between them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from costlab.core.graph import Op, Phase, Source, Tensor
from costlab.tracing.calls import Call, bind
from costlab.tracing.modules import ModuleTracker
from costlab.tracing.operators import Operator
from costlab.tracing.sources import SourceFinder
from costlab.tracing.specs import spec_of
from costlab.tracing.tensor_table import TensorRecord, TensorTable
from costlab.tracing.tensors import all_tensors, fills

# Kinds that write their first input without reading it: a parameter that nothing else reads is thrown away, not used.
INITIALISERS = frozenset(
    "uniform normal fill zero exponential random bernoulli log_normal cauchy geometric copy".split()
)

Reads = tuple[tuple[str, ...], list[TensorRecord]]  # names, and the tensors


class Operations:
    """Grows by one `Op` for each operator that is added."""

    def __init__(self, tracker: ModuleTracker, table: TensorTable, weigh: Callable[[Op], int]) -> None:
        self.tracker = tracker
        self.weigh = weigh  # the mult-adds of an operator, to choose between branches
        self.table = table
        self.ops: list[Op] = []
        self.reads: list[Reads] = []  # beside `ops`: what each of them read
        self.params_read: set[int] = set()
        self.scripted: dict[int, str] = {}  # the module of a parameter that only TorchScript calls
        self.source: Callable[[], Source | None] = SourceFinder()  # the line that called the current operator
        self.phase: Phase = "forward"
        self._names: dict[str, int] = {}

    def add(self, call: Call, result: Any, abstract: bool = False, guessed: bool = False) -> Any:
        """Add an operator.

        Args:
            abstract: the values of a new tensor are unknown, although it may have data.
            guessed: its sizes or values rest on a guess.

        Returns:
            The result, with a new object for each argument that the operator returned: edges tell them apart.
        """
        position, operator, written = len(self.ops), call.operator, call.written
        inputs, after = read_inputs(call)
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        outputs, shared = [], not written
        for index, tensor in enumerate(results):
            if not isinstance(tensor, torch.Tensor):
                continue
            record = next((r for r in written if r.tensor is tensor), None) if written else None
            if record is None:
                results[index] = tensor = self._of_its_own(tensor)
                record, of_input = self.table.add(tensor, call.records, abstract)
                record.device = call.device
                shared = shared and of_input
            record.producer, record.guessed = position, guessed
            if operator.reshapes_in_place:
                record.spec = spec_of(record.tensor)
            outputs.append(record.described(str(index) if len(results) > 1 else "output", record.storage.role))
        if not operator.returned:
            for record in written:
                record.producer = position
                outputs.append(record.described("output", record.storage.role))
        dropout_in_eval = bool(written) and call.attrs.get("train") is False
        free = (shared and bool(outputs)) or operator.reshapes_in_place or dropout_in_eval
        for record in () if free else written:
            record.storage.writer = position
        self._append(call, inputs, outputs, after, free and bool(outputs), guessed)
        return type(result)(results) if isinstance(result, (list, tuple)) else results[0]

    def most_expensive(self, branches: Sequence[Callable[[], Any]]) -> Any:
        """The result of the branch with the most mult-adds, whose operators alone stay."""
        start, params, names = len(self.ops), set(self.params_read), dict(self._names)
        best: tuple[int, Any, list[Op], list[Reads], set[int], dict[str, int]] | None = None
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
        inner = [record for _, records in self.reads[start:] for record in records]
        del self.ops[start:], self.reads[start:]
        self._names = names
        self.params_read = before
        tensors = dict.fromkeys(all_tensors(args))
        weights = dict.fromkeys(record.tensor for record in inner if record.param is not None)
        arguments = [*(t for t in tensors), *(t for t in weights if t not in tensors)]
        operator = Operator(kind, tuple(f"input_{i}" for i in range(len(arguments))))
        call = bind(operator, tuple(arguments), {}, self.table)
        return self._finish(call, result, start)

    def _finish(self, call: Call, result: Any, position: int) -> Any:
        inputs, after = read_inputs(call)
        outputs = []
        for index, tensor in enumerate(all_tensors(result)):
            record = self.table.record(tensor)
            record.producer, record.storage.writer = position, -1
            outputs.append(record.described(f"output_{index}" if index else "output", record.storage.role))
        guessed = any(record.guessed for record in call.records)
        self._append(call, inputs, outputs, tuple(p for p in after if p < position), False, guessed)
        return result

    def mark_as_estimate(self, results: Any) -> None:
        """Say of the last operator, and of what it made, that it rests on a guess."""
        self.ops[-1] = replace(self.ops[-1], estimated=True)
        for tensor in all_tensors(results):
            self.table.record(tensor).guessed = True

    def _append(
        self,
        call: Call,
        inputs: tuple[Tensor, ...],
        outputs: Sequence[Tensor],
        after: tuple[int, ...],
        free: bool,
        guessed: bool,
    ) -> None:
        kind = call.signature.kind
        owners = (self.scripted.get(record.param) for record in call.records if record.param is not None)
        path = next(filter(None, owners), self.tracker.path) if self.scripted else self.tracker.path
        if path == self.tracker.path and self.tracker.call_path != path:
            call.attrs["caller"] = self.tracker.call_path
        params, param_bytes, frozen = (0, 0, 0) if free else self._first_reads(kind, call)
        self.reads.append((call.signature.names, call.records))
        name = self.unique(f"{path}/{kind}" if path else kind)
        self.ops.append(
            Op(
                name,
                kind,
                path,
                inputs,
                tuple(outputs),
                call.attrs,
                self.source(),
                after,
                free,
                guessed,
                params,
                param_bytes,
                self.phase,
                frozen,
            )
        )

    def _of_its_own(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, or another object for one that was seen before."""
        return tensor if self.table.find(tensor) is None else torch.ops.aten.alias.default(tensor)

    def _first_reads(self, kind: str, call: Call) -> tuple[int, int, int]:
        """Elements, bytes and frozen elements of the parameters among the inputs that no operator has read before."""
        elements = size = frozen = 0
        for record in call.records[1:] if kind in INITIALISERS else call.records:
            if record.param is not None and record.param not in self.params_read:
                self.params_read.add(record.param)
                more = self.table.params[record.param]
                elements, size, frozen = elements + more[0], size + more[1], frozen + more[2]
        return elements, size, frozen

    def unique(self, name: str) -> str:
        """The name, or with a number if an operator has it already."""
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}_{count}" if count else name


def read_inputs(call: Call) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The tensors that an operator reads, and the positions of the operators that it comes after."""
    read = []
    after: set[int] = set()
    overwritten = call.operator.overwritten
    for name, record in zip(call.signature.names, call.records, strict=True):
        storage = record.storage
        if overwritten and name in overwritten:
            if not fills(record.tensor):
                after.add(storage.writer)
            continue
        after.add(record.producer)
        after.add(storage.writer)
        read.append(record.described(name, storage.role if storage.writer < 0 else "activation"))
    after.discard(-1)
    return tuple(read), tuple(sorted(after))
