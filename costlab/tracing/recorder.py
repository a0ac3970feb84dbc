"""A dispatch mode that records every operator of a forward pass and infers its results instead of computing them.

A tensor is *abstract* if its values depend on a parameter, an activation or an input without data: operators on it
return tensors on the meta device (inference.py). All other tensors (masks, positions, tables, integers that the user
gave) are computed, so that control flow on them is exact. An unknown value that control flow needs is guessed
(data_dependent.py), and the operator is marked as an estimate.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, _get_current_dispatch_mode

from costlab.core.graph import Op, TrainingStep
from costlab.tracing import higher_order
from costlab.tracing.answers import Answers, Place
from costlab.tracing.arguments import Arguments, bind
from costlab.tracing.attributes import ATTRIBUTES
from costlab.tracing.autocast import LOWERED, cast_to, lower_precision
from costlab.tracing.autograd import exclude_autograd, grad_mode
from costlab.tracing.data_dependent import absorbed, guess
from costlab.tracing.expectations import Expectations
from costlab.tracing.inference import LIMIT, Spec, infer_outputs
from costlab.tracing.modules import ModuleTracker
from costlab.tracing.operations import Operations
from costlab.tracing.operators import Operator, operator_of
from costlab.tracing.sources import asks_to_go_on
from costlab.tracing.sparse import run_sparse
from costlab.tracing.tensor_table import TensorTable
from costlab.tracing.tensors import (
    CPU,
    META,
    all_tensors,
    is_meta,
    moved,
    on_meta,
    true_device,
    with_device,
    without_overlap,
    without_values,
)

FAKE = torch._C._TorchDispatchModeKey.FAKE


class Recorder(TorchDispatchMode):
    """Collects operators while a forward pass runs under it."""

    supports_higher_order_operators = True
    shape_env = None  # asked of the mode for fake tensors

    def __init__(
        self,
        tracker: ModuleTracker,
        kinds: Collection[str],
        weigh: Callable[[Op], int],
        answers: Answers,
        home: torch.device,
        table: TensorTable | None = None,
    ) -> None:
        super().__init__()
        if torch._C._get_dispatch_mode(FAKE) is None:
            self._mode_key = FAKE  # as such, torch does not start CUDA for tensors on "cuda"
        self.kinds = kinds  # those with a cost rule: recorded whole; others are decomposed if torch can
        self.answers = answers
        self.home = home  # the device of the model
        self._expected: bool | None = None
        self._ended: int | None = None  # rounds after which the last answer ended a loop
        self.busy = False  # an operator is running: torch itself looks at tensors, not the network
        self.table = table or TensorTable()
        self.operations = Operations(tracker, self.table, weigh)
        tracker.whole = [kind for kind in kinds if kind[:1].isupper()]
        tracker.as_one = self.operations.as_one if tracker.whole else None
        self.expectations = Expectations(self.operations.ops, self.operations.reads)
        self._written_externals: list[tuple[torch.Tensor, torch.Tensor]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping would import the compiler, which takes seconds

    @property
    def ops(self) -> list[Op]:
        """The operators so far."""
        return self.operations.ops

    def restore_externals(self) -> None:
        """Undo writes to the user's memory."""
        for tensor, before in reversed(self._written_externals):
            tensor.copy_(before)

    def let_go(self) -> list[weakref.ref[torch.Tensor]]:
        """Forget all tensors; weak references to those that were made without data."""
        made = self.table.clear()
        self.operations.reads.clear()
        self._written_externals.clear()
        return made

    # What a network, and guesses, ask of tensors.

    def is_abstract(self, tensor: torch.Tensor) -> bool:
        """Whether the values of a tensor are unknown."""
        return self.table.record(tensor).storage.abstract

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        """The device that a tensor would have outside the trace."""
        record = self.table.find(tensor)
        if record is not None and record.device is not None:
            return record.device
        device = true_device(tensor)
        return self.home if device.type == "meta" else device

    def read(self, tensor: torch.Tensor, reader: Callable[[torch.Tensor], Any]) -> Any:
        """The values of a tensor, or expected ones, which are recorded as an operator that guesses."""
        if tensor.layout != torch.strided or not self.is_abstract(tensor):
            return reader(tensor)
        with self.working(), torch._C._DisableTorchDispatch():
            values = self.expectations.values(self.table.record(tensor))
            operator = operator_of(torch.ops.aten._local_scalar_dense.default)
            call = bind(operator, operator, (tensor,), {}, self.table)
            self.answers.answer(1, self._place())
            return reader(self.operations.add(operator, call, values, guessed=True))

    def places(self, mask: torch.Tensor) -> int:
        """How many elements of a mask are true, or are expected to be."""
        return (
            self.expectations.places(self.table.record(mask)) if self.is_abstract(mask) else int(mask.count_nonzero())
        )

    def mean(self, tensor: torch.Tensor) -> float:
        """The mean that a tensor is expected to have."""
        return self.expectations.mean(self.table.record(tensor))

    def history(self, tensor: torch.Tensor) -> tuple[str, ...]:
        """The kind of the operator that made a tensor, then the kinds of those before it."""
        producer = self.table.record(tensor).producer
        return () if producer < 0 else (self.ops[producer].kind, *(self.ops[i].kind for i in self.ops[producer].after))

    def answer(self, expected: Any) -> Any:
        """The answer to a question of control flow, which changes in an endless loop."""
        place = self._place()
        if isinstance(expected, bool) and not expected:
            expected = asks_to_go_on(place[0]) if self._expected is None else self._expected
        answer = self.answers.answer(expected, place)
        self._ended = self.answers.ended.pop(place, None)
        return answer

    @contextmanager
    def expecting(self, answer: bool | None) -> Iterator[None]:
        """In the body, questions are expected to have this answer."""
        before, self._expected = self._expected, answer
        try:
            yield
        finally:
            self._expected = before

    def set_grad_enabled(self, mode: bool) -> None:
        """A network that enables gradients in its forward pass, to differentiate there, gets autograd back.

        torch itself turns gradients off around hooks, without a call of this: what changes nothing is left alone.
        """
        if torch.is_grad_enabled() == mode:
            return
        grad_mode(mode)
        self.answers.differentiates |= mode
        exclude_autograd(not mode)

    step: TrainingStep | None = None

    def prepare(self, modules: Iterable[torch.nn.Module], parameters: list[tuple[torch.Tensor, str]]) -> None:
        """Make a network ready for its forward pass."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """In the body the network runs."""
        with self:
            yield

    def finish(self, result: Any) -> None:
        """What follows the forward pass, whose result this is."""

    def _place(self) -> Place:
        return self.operations.source(), self.operations.tracker.path

    @contextmanager
    def working(self, busy: bool = True) -> Iterator[None]:
        """In the body tensors are what they are; with `busy=False`, in code of the network, what they stand for."""
        before, self.busy = self.busy, busy
        try:
            yield
        finally:
            self.busy = before

    # Operators.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before, self.busy = self.busy, True
        try:
            if isinstance(func, torch._ops.HigherOrderOperator):
                return higher_order.run(self, func, args, kwargs or {})
            for kind in types:
                if kind is not torch.Tensor and hasattr(kind, "__tensor_flatten__"):  # it knows what is inside
                    with self, self.working(busy=False):
                        return kind.__torch_dispatch__(func, types, args, kwargs or {})
            return self._run(func, operator_of(func), args, kwargs or {})
        finally:
            self.busy = before

    def _run(self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operator, which is recorded whole or by its parts."""
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
        call = bind(func, operator, args, kwargs, self.table)
        abstract = guessed = False
        sparse = operator.makes_sparse
        device = None
        for _, record in call.inputs:
            abstract = abstract or record.storage.abstract
            sparse = sparse or record.sparse
            guessed = guessed or record.guessed
            device = device or record.device
        call.device = call.device or device
        if operator.kind in ATTRIBUTES:
            guessed = ATTRIBUTES[operator.kind](call) or guessed
        if sparse:
            return run_sparse(self.operations, func, operator, args, kwargs, call, abstract, guessed)
        if operator.creates:
            return self._create(func, operator, args, kwargs, call, guessed)
        if abstract and operator.absorbing is not None:
            result = absorbed(operator, call)
            if result is not None:
                return self.operations.add(operator, call, result, guessed=guessed)
        if not abstract and not self._too_large(func, operator, args, kwargs, call):
            return self.operations.add(
                operator, call, self._compute(func, operator, args, kwargs, call), False, guessed
            )
        if operator.has_device:
            args, kwargs = with_device(args, kwargs, META)
        if operator.dynamic:
            guesses = guess(func, operator, args, self)
            if guesses is not None:
                if self._ended is not None:
                    call.attrs["ended_after"], self._ended = self._ended, None
                return self.operations.add(operator, call, guesses[0], guessed=guessed or guesses[1])
        try:
            result = self._infer(func, operator, args, kwargs, call)
        except (NotImplementedError, RuntimeError, TypeError):
            if not operator.composite:
                raise
            with self:
                return func.decompose(*args, **kwargs)
        return self.operations.add(operator, call, result, True, guessed)

    def record_unavailable(
        self, kind: str, arguments: Mapping[str, Any], results: Sequence[Spec]
    ) -> list[torch.Tensor]:
        """Record an operator that this process cannot call.

        Args:
            arguments: by their names in the operator's schema.
            results: shape, strides and dtype of each result.
        """
        operator = Operator(kind, tuple(arguments))
        call = bind(None, operator, tuple(arguments.values()), {}, self.table)
        guessed = any(record.guessed for _, record in call.inputs)
        with _disable_current_modes():
            made = [without_values(*spec) for spec in results]
            return list(self.operations.add(operator, call, made, abstract=True, guessed=guessed))

    def _decomposed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a composite operator, recorded by its parts; NotImplemented if torch cannot decompose it."""
        recorded = len(self.ops)
        try:
            with self:
                return func.decompose(*args, **kwargs)
        except RuntimeError:  # stft requires one device, but here a window is real and its signal is on meta
            if len(self.ops) > recorded or len({is_meta(t) for t in all_tensors((args, kwargs))}) < 2:
                raise
            args, kwargs = moved(args, self._twin), moved(kwargs, self._twin)
            with self:
                return func.decompose(*args, **kwargs)

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the meta device that is recorded as `tensor` itself."""
        if is_meta(tensor):
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

    def _create(
        self,
        func: Any,
        operator: Operator,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Arguments,
        guessed: bool,
    ) -> Any:
        """A new tensor of known or random values; without values if it is large."""
        if call.device is None and call.inputs:
            call.device = self.device_of(call.inputs[0][1].tensor)
        result = func(*args, **{**kwargs, "device": META})
        uninitialised = operator.kind.startswith(("empty", "new_empty"))
        large = result.numel() > (LIMIT >> 2 if uninitialised else LIMIT)
        if self.answers.gradients and result.is_floating_point():
            large = True  # autograd compares devices
        if not large:
            result = func(*args, **{**kwargs, "device": CPU})
            if uninitialised:
                result.zero_()
        return self.operations.add(operator, call, result, large, guessed)

    def _too_large(
        self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], call: Arguments
    ) -> bool:
        """Whether computing an operator takes too much time or memory."""
        if sum(record.elements for _, record in call.inputs) > LIMIT:
            return True
        bound = prod(max(record.elements, 1) for _, record in call.inputs)
        for value in call.attrs.values():
            if bound > LIMIT:
                break
            sizes = value if isinstance(value, list) else [value]
            bound *= prod(max(abs(n), 1) for n in sizes if isinstance(n, int) and not isinstance(n, bool))
        if bound <= LIMIT or operator.dynamic:
            return False
        if operator.has_device:
            args, kwargs = with_device(args, kwargs, META)
        try:
            outputs = infer_outputs(func, operator, args, kwargs, tuple(call.signature))
        except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
            return False
        return any(isinstance(spec, tuple) and prod(spec[0]) > 4 * LIMIT for spec in outputs.fresh or ())

    def _compute(
        self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], call: Arguments
    ) -> Any:
        """Run an operator on known values; saves the user's memory before it is written."""
        for record in call.written(operator):
            if record.storage.external:
                memory = without_overlap(record.tensor.detach())
                self._written_externals.append((memory, memory.clone()))
        if operator.has_device:
            args, kwargs = with_device(args, kwargs, CPU)
        if len({true_device(record.tensor) for _, record in call.inputs}) > 1:
            args, kwargs = moved(args, torch.Tensor.cpu), moved(kwargs, torch.Tensor.cpu)
        return func(*args, **kwargs)

    def _infer(
        self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], call: Arguments
    ) -> Any:
        """Results with the right shapes and layouts, without values."""
        outputs = infer_outputs(func, operator, args, kwargs, tuple(call.signature))
        if outputs.fresh is None:
            return func(*args, **kwargs)
        results = [without_values(*spec) if isinstance(spec, tuple) else spec for spec in outputs.fresh]
        if operator.written:
            for record in call.written(operator):
                record.storage.abstract = True
            targets = dict(call.inputs)
            for position, name in enumerate(operator.returned):
                if name in targets:
                    results[position] = targets[name].tensor
        return results[0] if outputs.sequence is None else outputs.sequence(results)


def active_recorder() -> Recorder | None:
    """The recorder under which this code runs."""
    mode = _get_current_dispatch_mode()
    return mode if isinstance(mode, Recorder) else None
