"""A recorder that differentiates: forward operators arrive whole, and each of them runs below it under autograd.

Every operator of the forward pass is recorded as in a trace without gradients. To find its results, it is called once
more with autograd: the parts into which that takes it reach the recorder again, which answers without recording them.
The graph that autograd builds in this way is then run backwards, and what it runs is recorded.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from costlab.core.graph import Op, Source
from costlab.tracing.attributes import ATTRIBUTES
from costlab.tracing.autograd import grad_mode, passing_autograd
from costlab.tracing.calls import Call, bind
from costlab.tracing.inference import infer
from costlab.tracing.layouts import SPARSE
from costlab.tracing.operators import Operator, operator_of
from costlab.tracing.recorder import Recorder
from costlab.tracing.step.checkpointing import unchecked
from costlab.tracing.step.forms import FORMS
from costlab.tracing.step.saving import Unrecorded, unsaved
from costlab.tracing.tensors import META, all_tensors, is_meta, moved, on_meta, storage_key, with_device

DETACH = torch.ops.aten.detach.default
ACCUMULATE = "torch::autograd::AccumulateGrad"


# Operators whose own code compares the devices of weights and states; the states are often zeros of known value.
ONE_DEVICE = frozenset("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split())


class DifferentiatingRecorder(Recorder):
    """Collects operators while a forward pass runs under it, and while its result is differentiated."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.answers.differentiates = True  # if it fails, no floating-point tensor of the network has values
        self.twins: dict[int, torch.Tensor] = {}  # by the id of a parameter with data: its like on the meta device
        self.paths: dict[int, str] = {}  # by the id of a parameter: the module that registered it first
        self._parts = False  # the parts of an operator arrive, not the operators of the network
        self._guessed = False
        self._sparse = False  # there are sparse gradients
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
        with unchecked(), self, torch.autograd.graph.saved_tensors_hooks(self.table.save, unsaved):
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._parts and isinstance(func, torch._ops.OpOverload):
            return self._part(operator_of(func), args, kwargs or {})
        if func is DETACH and self.operations.phase == "backward":  # of a saved tensor, or of a gradient
            return self._same(args[0])
        return super().__torch_dispatch__(func, types, args, kwargs)

    # Forward.

    def _run(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.table.running = True
        try:
            if torch.is_grad_enabled():
                args, kwargs = self._cast(operator, args, kwargs)
                if self._follows(operator, args, kwargs):
                    return self._whole(operator, args, kwargs)
            elif self.operations.phase == "backward":
                if operator.aliases and isinstance(args[0], torch.Tensor) and is_meta(args[0]):
                    view = self._view(operator, args, kwargs)
                    if view is not None:
                        return view
                self._place_node()
                if operator.makes_sparse or self._sparse:
                    result = self._sparse_gradient(operator, args, kwargs)
                    if result is not None:
                        return result
            return super()._run(operator, args, kwargs)
        finally:
            self.table.running = False

    def _cast(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Gradients have the types of what they are of: autocast ends with the forward pass."""
        if self.operations.phase == "backward" and not torch.is_grad_enabled():
            return args, kwargs
        return super()._cast(operator, args, kwargs)

    def _follows(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether an operator is recorded whole, and autograd follows it."""
        if operator.ignored or operator.marker or operator.rewrite is not None or operator.creates:
            return False
        if operator.composite and operator.kind not in self.kinds:
            return False
        return bool(torch._C._any_requires_grad(*args, **kwargs))

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
        if self.operations.phase == "backward":
            call.attrs["recomputed"] = True
        self._guessed = False
        with passing_autograd():
            result = self._in_parts(operator, args, kwargs)
            for record in call.written:
                record.storage.abstract = True
            result = self.operations.add(call, result, True, guessed or self._guessed)
        self._last_nodes.append(torch._C._autograd._get_sequence_nr() - 1)
        self._positions.append(len(self.ops) - 1)
        return result

    def _in_parts(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operator whose parts reach `_part`."""
        if operator.aliases:  # autograd saves nothing of a view, and a copy is watched once it is recorded
            return operator.overload(*args, **kwargs)
        form = FORMS.get(operator.overload.name())
        self._parts = True
        torch._C._push_on_torch_dispatch_stack(self)  # what `with self` does, but for the flags that are set already
        try:
            result = form(*args, **kwargs) if form else NotImplemented
            return operator.overload(*args, **kwargs) if result is NotImplemented else result
        finally:
            torch._C._pop_torch_dispatch_stack(self.__dict__.get("_mode_key"))
            self._parts = False

    def _twin_of(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.twins.get(id(tensor), tensor)

    def _part(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a part of an operator, whose storages are watched."""
        if operator.creates or (operator.aliases and not operator.composite):  # also what hides a tensor that is saved
            return operator.overload(*args, **kwargs)
        call = bind(operator, args, kwargs, self._unrecorded)
        if not any(is_meta(record.tensor) or self.is_abstract(record.tensor) for record in call.records):
            return call.run()
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
        twin = tensor.detach()
        self.table.add_view(twin, self.table.record(tensor))
        return twin

    def _view(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The views of the first argument that an operator returns, recorded as that tensor; None if it copies."""
        result = operator.overload(*args, **kwargs)
        views, known = all_tensors(result), self.table.record(args[0])
        if operator.composite and any(storage_key(view) != storage_key(args[0]) for view in views):
            return None
        for view in views:
            self.table.add_view(view, known)
        return result

    def _sparse_gradient(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A sparse gradient without values, its parts, or the sum of two; None for any other operator."""
        self._sparse = True
        tensors = all_tensors((args, kwargs))
        known = next((t for t in tensors if t.layout in SPARSE), None)
        if known is None and not operator.makes_sparse:
            return None
        if known is not None and operator.kind in ("clone", "detach", "_indices", "_values"):
            result = operator.overload(*args, **kwargs) if operator.kind.startswith("_") else same_sparse(known)
            self.table.add_view(result, self.table.record(known))
            return result
        call = bind(operator, args, kwargs, self.table)
        if operator.kind == "add":
            result = sum_of_sparse(tensors)
        else:
            args, kwargs = with_device(moved(args, on_meta), moved(kwargs, on_meta), META)
            result = operator.overload(*args, **kwargs)
        return self.operations.add(call, result, True)

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


def same_sparse(tensor: torch.Tensor) -> torch.Tensor:
    """Another sparse tensor with as many elements."""
    return torch.sparse_coo_tensor(tensor._indices(), tensor._values(), tensor.shape, check_invariants=False)


def sum_of_sparse(tensors: list[torch.Tensor]) -> torch.Tensor:
    """The sum of two gradients: sparse with the elements of both, unless one is dense."""
    dense = next((t for t in tensors if t.layout not in SPARSE), None)
    if dense is not None:
        return on_meta(dense)
    indices, values = torch.cat([t._indices() for t in tensors], 1), torch.cat([t._values() for t in tensors])
    return torch.sparse_coo_tensor(indices, values, tensors[0].shape, check_invariants=False)


def without_device(tensor: torch.Tensor) -> torch.Tensor:
    """A floating-point tensor on the meta device; integers keep their values."""
    return tensor if is_meta(tensor) or not tensor.is_floating_point() else on_meta(tensor)
