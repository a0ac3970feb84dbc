"""A recorder that differentiates: forward operators arrive whole, and each of them runs below it under autograd.

Every operator of the forward pass is recorded as in a trace without gradients. To find its results, it is called once
more with autograd: the parts into which that takes it reach the recorder again, which answers without recording them.
The graph that autograd builds in this way is then run backwards, and what it runs is recorded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from costlab.core.graph import Op, Source
from costlab.tracing.answers import Answers
from costlab.tracing.attributes import ATTRIBUTES
from costlab.tracing.autograd import exclude_autograd, grad_mode
from costlab.tracing.calls import Call, bind
from costlab.tracing.inference import infer
from costlab.tracing.modules import ModuleTracker
from costlab.tracing.operators import Operator
from costlab.tracing.recorder import Recorder
from costlab.tracing.step.forms import FORMS
from costlab.tracing.step.lifetimes import Unrecorded, WeakTable, unsaved
from costlab.tracing.tensors import META, all_tensors, is_meta, moved, on_meta, with_device

DETACH = torch.ops.aten.detach.default
ACCUMULATE = "torch::autograd::AccumulateGrad"


# Operators whose own code compares the devices of weights and states; the states are often zeros of known value.
ONE_DEVICE = frozenset("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split())


class DifferentiatingRecorder(Recorder):
    """Collects operators while a forward pass runs under it, and while its result is differentiated."""

    table: WeakTable

    def __init__(
        self,
        tracker: ModuleTracker,
        kinds: Collection[str],
        weigh: Callable[[Op], int],
        answers: Answers,
        home: torch.device,
    ) -> None:
        super().__init__(tracker, kinds, weigh, answers, home, WeakTable())
        self.table.position = lambda: len(self.ops)
        self.twins: dict[int, torch.Tensor] = {}  # by the id of a parameter with data: its like on the meta device
        self.paths: dict[int, str] = {}  # by the id of a parameter: the module that registered it first
        self._parts = False  # the parts of an operator arrive, not the operators of the network
        self._guessed = False
        self._unrecorded = Unrecorded()
        self._last_nodes: list[int] = []  # sequence number of the last node that autograd made for an operator,
        self._positions: list[int] = []  # and the position of that operator
        self._source: Source | None = None

    def set_grad_enabled(self, mode: bool) -> None:
        """Gradients are on or off as the network wishes."""
        grad_mode(mode)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """In the body the network runs, and what autograd keeps is noted."""
        with self, torch.autograd.graph.saved_tensors_hooks(self.table.save, unsaved):
            yield

    # Forward.

    def _run(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._parts:
            return self._part(operator, args, kwargs)
        if self.operations.phase == "backward":
            if operator.overload is DETACH:  # of a saved tensor, or of a gradient: the same memory
                return self._same(args[0])
            if not torch.is_grad_enabled():
                self._place_node()
        if self.autocast is not None and torch.is_grad_enabled():
            with self:
                args, kwargs = self.autocast.arguments(operator.overload.name(), args, kwargs)
        self.table.running = True
        try:
            if self._differentiates(operator, args, kwargs):
                return self._whole(operator, args, kwargs)
            return super()._run(operator, args, kwargs)
        finally:
            self.table.running = False

    def _differentiates(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether an operator is recorded whole and its result has a gradient."""
        if operator.ignored or operator.marker or operator.rewrite is not None or operator.creates:
            return False
        if (operator.composite and operator.kind not in self.kinds) or not torch.is_grad_enabled():
            return False
        return any(t.requires_grad for t in all_tensors((args, kwargs)))

    def _whole(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operator that autograd follows."""
        call = bind(operator, args, kwargs, self.table)
        guessed = any(record.guessed for record in call.records)
        if operator.kind in ATTRIBUTES:
            guessed = ATTRIBUTES[operator.kind](call) or guessed
        if self.twins:
            args, kwargs = moved(args, self._twin_of), moved(kwargs, self._twin_of)
        if operator.has_device:
            args, kwargs = with_device(args, kwargs, META)
        if operator.kind in ONE_DEVICE:
            args, kwargs = moved(args, without_device), moved(kwargs, without_device)
        self._guessed = False
        with self._autograd():
            form = FORMS.get(operator.overload.name())
            result = form(*args, **kwargs) if form else NotImplemented
            if result is NotImplemented:
                result = operator.overload(*args, **kwargs)
        for record in call.written:
            record.storage.abstract = True
        exclude_autograd(False)
        try:
            result = self.operations.add(call, result, True, guessed or self._guessed)
        finally:
            exclude_autograd(True)
        if self.operations.phase == "backward":
            self.ops[-1] = replace(self.ops[-1], attrs={**self.ops[-1].attrs, "recomputed": True})
        self._last_nodes.append(torch._C._autograd._get_sequence_nr() - 1)
        self._positions.append(len(self.ops) - 1)
        return result

    @contextmanager
    def _autograd(self) -> Iterator[None]:
        """In the body operators pass autograd, and their parts reach `_part`."""
        self._parts = True
        exclude_autograd(False)
        try:
            with self:
                yield
        finally:
            exclude_autograd(True)
            self._parts = False

    def _twin_of(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.twins.get(id(tensor), tensor)

    def _part(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a part of an operator, whose storages are watched."""
        if operator.creates or not any(is_meta(t) or self.is_abstract(t) for t in all_tensors((args, kwargs))):
            return operator.overload(*args, **kwargs)
        call = bind(operator, args, kwargs, self._unrecorded)
        if operator.guess is not None:
            found = operator.guess(args, self)
            if found is not None:
                self._guessed |= found[1]
                return found[0]
        result = infer(call)
        for tensor in all_tensors(result):
            self.table.storage(tensor, "activation", abstract=True, external=False)
        return result

    # Backward.

    def _create(self, call: Call, guessed: bool) -> Any:
        """Gradients have no values."""
        if self.operations.phase == "forward":
            return super()._create(call, guessed)
        result = call.operator.overload(*call.args, **{**call.kwargs, "device": META})
        return self.operations.add(call, result, True, guessed)

    def _same(self, tensor: torch.Tensor) -> torch.Tensor:
        """Another tensor of the same memory, recorded as the same."""
        known = self.table.record(tensor)
        twin = DETACH(tensor)
        self.table.add_twin(twin, known)
        return twin

    def _place_node(self) -> None:
        """Attribute the next operator to the module whose forward operator autograd differentiates."""
        node: Any = torch._C._current_autograd_node()
        tracker = self.operations.tracker
        if node is None:  # gradients that are added up between nodes
            return
        if node.name() == ACCUMULATE:
            tracker.path = tracker.call_path = self.paths.get(id(node.variable), tracker.path)
        else:
            op = self.op_of(node._sequence_nr())
            tracker.path = op.module if op else ""
            tracker.call_path = op.attrs.get("caller", op.module) if op else ""
            self._source = op.source if op else None

    def op_of(self, sequence_number: int) -> Op | None:
        """The forward operator for which autograd made a node."""
        index = bisect_left(self._last_nodes, sequence_number)
        return self.ops[self._positions[index]] if index < len(self._positions) else None

    def source(self) -> Source | None:
        """The line of the forward operator that is differentiated."""
        return self._source


def without_device(tensor: torch.Tensor) -> torch.Tensor:
    """A floating-point tensor on the meta device; integers keep their values."""
    return tensor if is_meta(tensor) or not tensor.is_floating_point() else on_meta(tensor)
