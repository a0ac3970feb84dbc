"""A dispatch mode that records every operator of a forward pass and infers its results instead of computing them.

A tensor is *abstract* if its values depend on a parameter or a floating-point input: operators on it return tensors on
the meta device (inference.py). All other tensors (masks, positions, tables, integer inputs) are computed for real, so
that control flow on them works. A value that control flow needs and nobody knows is guessed (data_dependent.py), and
the operator is marked as an estimate.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, _get_current_dispatch_mode

from costlab.core.graph import Op, Source, Tensor
from costlab.tracing.arguments import Arguments, bind
from costlab.tracing.autocast import LOWERED, cast_to, lower_precision
from costlab.tracing.data_dependent import guess
from costlab.tracing.inference import LIMIT, Spec, infer_outputs
from costlab.tracing.modules import ModuleTracker
from costlab.tracing.operators import Operator, operator_of, specific_kind
from costlab.tracing.sources import SourceFinder
from costlab.tracing.tensor_table import TensorRecord, TensorTable
from costlab.tracing.tensors import CPU, META, all_tensors, fills, moved, on_meta, with_device, without_values


class Recorder(TorchDispatchMode):
    """Collects `ops` while a forward pass runs under it."""

    def __init__(self, tracker: ModuleTracker, kinds: Collection[str]) -> None:
        super().__init__()
        self.tracker = tracker
        self.kinds = kinds  # those with a cost rule: recorded whole; others are decomposed if torch can
        self.table = TensorTable()
        self.ops: list[Op] = []
        self.params_read: set[int] = set()
        self._written_externals: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._names: dict[str, int] = {}
        self.source: Callable[[], Source | None] = SourceFinder()  # the line that called the current operator

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping would import the compiler, which takes seconds

    def restore_externals(self) -> None:
        """Undo writes to the user's memory."""
        for tensor, before in reversed(self._written_externals):
            tensor.copy_(before)

    def is_abstract(self, tensor: torch.Tensor) -> bool:
        """Whether the values of a tensor are unknown."""
        return self.table.record(tensor).storage.abstract

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = operator_of(func)
        if operator.ignored:
            return None
        if operator.marker:
            return func(*args, **kwargs)
        if operator.rewrite is not None:
            with self:
                return operator.rewrite(*args, **kwargs)
        if operator.composite and operator.kind not in self.kinds:
            result = self._decomposed(func, args, kwargs)
            if result is not NotImplemented:
                return result
        if operator.kind in LOWERED:
            args, kwargs = self._autocast(args, kwargs)
        call = bind(func, operator, args, kwargs, self.table.record)
        abstract = guessed = False
        for _, record in call.inputs:
            abstract = abstract or record.storage.abstract
            guessed = guessed or record.guessed
        if operator.creates:
            return self._record(operator, call, create(func, args, kwargs), False, guessed)
        if not abstract and sum(record.elements for _, record in call.inputs) <= LIMIT:
            return self._record(operator, call, self._compute(operator, func, args, kwargs, call), False, guessed)
        if operator.has_device:
            args, kwargs = with_device(args, kwargs, META)
        if operator.dynamic:
            guesses = guess(func, operator, args, self.is_abstract, self._history(call))
            if guesses is not None:
                return self._record(operator, call, guesses[0], False, guessed or guesses[1])
        try:
            result = self._infer(operator, func, args, kwargs, call)
        except (NotImplementedError, RuntimeError, TypeError):
            if not operator.composite:
                raise
            with self:
                return func.decompose(*args, **kwargs)
        return self._record(operator, call, result, abstract, guessed)

    def record_unavailable(
        self, kind: str, arguments: Mapping[str, Any], results: Sequence[Spec]
    ) -> list[torch.Tensor]:
        """Record an operator that this process cannot call.

        Args:
            arguments: by their names in the operator's schema.
            results: shape, strides and dtype of each result.
        """
        operator = Operator(kind, tuple(arguments))
        call = bind(None, operator, tuple(arguments.values()), {}, self.table.record)
        guessed = any(record.guessed for _, record in call.inputs)
        with _disable_current_modes():
            made = [without_values(*spec) for spec in results]
            return list(self._record(operator, call, made, abstract=True, guessed=guessed))

    # Results of an operator.

    def _decomposed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a composite operator, recorded by its parts; NotImplemented if torch cannot decompose it."""
        recorded = len(self.ops)
        try:
            with self:
                return func.decompose(*args, **kwargs)
        except RuntimeError:  # stft requires one device, but here a window is real and its signal is on meta
            if len(self.ops) > recorded or len({t.is_meta for t in all_tensors((args, kwargs))}) < 2:
                raise
            args, kwargs = moved(args, self._twin), moved(kwargs, self._twin)
            with self:
                return func.decompose(*args, **kwargs)

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the meta device that is recorded as `tensor` itself."""
        if tensor.is_meta:
            return tensor
        twin = on_meta(tensor)
        self.table.add_twin(twin, self.table.record(tensor))
        return twin

    def _autocast(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """The arguments in the precision that autocast chose for some of them."""
        dtype = lower_precision(all_tensors((args, kwargs)))
        if dtype is None:
            return args, kwargs
        cast = functools.partial(cast_to, dtype)
        with self:
            return moved(args, cast), moved(kwargs, cast)

    def _history(self, call: Arguments) -> tuple[str, ...]:
        """The kind of the operator that made the first input, then the kinds of those before it."""
        producer = call.inputs[0][1].producer if call.inputs else -1
        return () if producer < 0 else (self.ops[producer].kind, *(self.ops[i].kind for i in self.ops[producer].after))

    def _compute(
        self, operator: Operator, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Arguments
    ) -> Any:
        """Run an operator on known values; saves the user's memory before it is written."""
        for record in call.written(operator):
            if record.storage.external:
                self._written_externals.append((record.tensor.detach(), record.tensor.clone()))
        if operator.has_device:
            args, kwargs = with_device(args, kwargs, CPU)
        if len({record.tensor.device for _, record in call.inputs}) > 1:
            args, kwargs = moved(args, torch.Tensor.cpu), moved(kwargs, torch.Tensor.cpu)
        return func(*args, **kwargs)

    def _infer(
        self, operator: Operator, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Arguments
    ) -> Any:
        """Results with the right shapes and layouts, without values."""
        outputs = infer_outputs(func, operator, args, kwargs, tuple(call.signature))
        if outputs.fresh is None:
            return func(*args, **kwargs)
        results = [None if spec is None else without_values(*spec) for spec in outputs.fresh]
        if operator.written:
            for record in call.written(operator):
                record.storage.abstract = True
            targets = dict(call.inputs)
            for position, name in enumerate(operator.returned):
                if name in targets:
                    results[position] = targets[name].tensor
        return results[0] if outputs.sequence is None else outputs.sequence(results)

    # The record of an operator.

    def _record(self, operator: Operator, call: Arguments, result: Any, abstract: bool, guessed: bool) -> Any:
        """Add an operator to `ops`; returns its result, as a new object if the operator returned an argument."""
        position = len(self.ops)
        inputs, after = read_inputs(operator, call)
        written = {id(record.tensor): record for record in call.written(operator)}
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        outputs, shared = [], not written
        for index, tensor in enumerate(results):
            if isinstance(tensor, torch.Tensor):
                record = written.get(id(tensor))
                if record is None:
                    record, base = self._made(tensor, call, position, abstract)
                    results[index] = record.tensor
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
        free = shared or operator.reshapes_in_place or dropout_in_eval
        params = [] if free else self._first_reads(call)
        for record in () if free else written.values():
            record.storage.writer = position
        path = self.tracker.path
        rank = next((len(t.shape) for t in inputs if t.name == "weight"), 0)
        kind = specific_kind(operator.kind, call.attrs, rank)
        self.ops.append(
            Op(
                name=self._unique(f"{path}/{kind}" if path else kind),
                kind=kind,
                module=path,
                inputs=inputs,
                outputs=tuple(outputs),
                attrs=call.attrs,
                source=self.source(),
                after=after,
                free=free and bool(outputs),
                estimated=guessed,
                params=sum(p.numel() for p in params),
                param_bytes=sum(p.numel() * p.element_size() for p in params),
            )
        )
        return type(result)(results) if isinstance(result, (list, tuple)) else results[0]

    def _made(
        self, tensor: torch.Tensor, call: Arguments, position: int, abstract: bool
    ) -> tuple[TensorRecord, TensorRecord | None]:
        """The record of a result, and of the input whose storage it shares, if any."""
        storage = self.table.known_storage(tensor)
        base = None
        if storage is not None:
            base = next((record for _, record in call.inputs if record.storage is storage), None)
        if tensor in self.table:
            tensor = torch.ops.aten.alias.default(tensor)
        storage = storage or self.table.storage(tensor, "activation", abstract or tensor.is_meta, external=False)
        return self.table.add(TensorRecord(tensor, storage, position, base.param if base else None)), base

    def _first_reads(self, call: Arguments) -> list[torch.Tensor]:
        """The parameters among the inputs that no operator has read before."""
        first = dict.fromkeys(
            r.param for _, r in call.inputs if r.param is not None and r.param not in self.params_read
        )
        self.params_read.update(first)
        return [self.table.params[param] for param in first]

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}_{count}" if count else name


def active_recorder() -> Recorder | None:
    """The recorder under which this code runs."""
    mode = _get_current_dispatch_mode()
    return mode if isinstance(mode, Recorder) else None


def create(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """A new tensor of known or random values; without values if it is large."""
    result = func(*args, **{**kwargs, "device": META})
    return result if result.numel() > LIMIT else func(*args, **{**kwargs, "device": CPU})


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
