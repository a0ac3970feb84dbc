"""A dispatch mode that records every operator of a forward pass and infers its results instead of computing them.

A tensor is *abstract* if its values depend on a parameter, an activation or an input without data: operators on it
return tensors on the meta device (inference.py). All other tensors (masks, positions, tables, integers that the user
gave) are computed, so that control flow on them is exact. An unknown value that control flow needs is guessed
(guesses.py), and the operator is marked as an estimate.
"""

import functools
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, _get_current_dispatch_mode

from costlab.core.graph import Op, TrainingStep
from costlab.tracing import higher_order
from costlab.tracing.answers import Answers, Place
from costlab.tracing.attributes import ATTRIBUTES
from costlab.tracing.autocast import Autocast, autocasting, cast_to
from costlab.tracing.autograd import exclude_autograd, grad_mode
from costlab.tracing.calls import Call, bind
from costlab.tracing.expectations import Expectations
from costlab.tracing.inference import ABSORBING, LIMIT, absorbed, infer, is_too_large
from costlab.tracing.layouts import ORDINARY
from costlab.tracing.modules import ModuleTracker
from costlab.tracing.operations import Operations
from costlab.tracing.operators import Operator, operator_of
from costlab.tracing.sources import compared_integers, goes_on, in_while
from costlab.tracing.sparse import run_sparse
from costlab.tracing.specs import Spec
from costlab.tracing.tensor_table import TensorTable
from costlab.tracing.tensors import CPU, META, all_tensors, is_mask, is_meta, moved, on_meta, true_device, with_device

STATISTICS = {"running_mean", "running_var"}  # batch and instance norm write them, which their schemas do not say
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
    ) -> None:
        super().__init__()
        if torch._C._get_dispatch_mode(FAKE) is None:
            self._mode_key = FAKE  # as such, torch does not start CUDA for tensors on "cuda"
        self.kinds = kinds  # those with a cost rule: recorded whole; others are decomposed if torch can
        self.answers = answers
        self.home = home  # the device of the model
        self.autocast: Autocast | None = None  # the whole pass runs under it
        self._expected: bool | None = None
        self._ended: int | None = None  # rounds after which the last answer ended a loop
        self.busy = False  # an operator is running: torch itself looks at tensors, not the network
        self.table = TensorTable()
        self.operations = Operations(tracker, self.table, weigh)
        self.table.ops = self.operations.ops
        tracker.whole = [kind for kind in kinds if kind[:1].isupper()]
        tracker.as_one = self.operations.as_one if tracker.whole else None
        self.expectations = Expectations(self.operations.ops, self.operations.reads)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping would import the compiler, which takes seconds

    @property
    def ops(self) -> list[Op]:
        """The operators so far."""
        return self.operations.ops

    def let_go(self) -> list[weakref.ref[torch.Tensor]]:
        """Forget all tensors; weak references to those that were made without data."""
        made = self.table.clear()
        self.operations.reads.clear()
        if self.autocast is not None:
            self.autocast.clear()
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
        if tensor.layout != torch.strided:
            return reader(tensor)
        record = self.table.record(tensor)
        if not record.storage.abstract and not record.storage.drawn:
            return reader(tensor)
        with self.working(), torch._C._DisableTorchDispatch():
            values = tensor if record.storage.drawn else self.expectations.values(record)
            call = bind(operator_of(torch.ops.aten._local_scalar_dense.default), (tensor,), {}, self.table)
            if values.numel() == 1 and not values.is_complex() and not record.storage.drawn:
                values = torch.full_like(values, self.answer(values.item()))
            else:
                self.answers.answer(1, self._place())
            self._note_end(call)
            return reader(self.operations.add(call, values, guessed=True))

    def places(self, mask: torch.Tensor) -> range:
        """Which elements of a mask are expected to be true, modulo their number; none, to end a loop."""
        places = self.expectations.places(self.table.record(mask))
        return range(0) if self.ends_loop() else places

    def ends_loop(self) -> bool:
        """Whether a guessed size is the least possible one, because a loop goes on otherwise."""
        place = self._place()
        ends = self.answers.ends(place, functools.partial(in_while, place[0]))
        if ends:
            self._ended = self.answers.ended.pop(place)
        return ends

    def count(self, mask: torch.Tensor) -> int:
        """How many elements of a mask are true, or are expected to be."""
        return len(self.places(mask)) if self.is_abstract(mask) else int(mask.count_nonzero())

    def mean(self, tensor: torch.Tensor) -> float:
        """The mean that a tensor is expected to have."""
        return self.expectations.mean(self.table.record(tensor))

    def classes(self, tensor: torch.Tensor) -> int | None:
        """Out of how many experts the indices in a tensor were chosen."""
        routing = self.expectations.routing(self.table.record(tensor))
        return routing.experts if routing and routing.expert is None else None

    def history(self, tensor: torch.Tensor) -> tuple[str, ...]:
        """The kind of the operator that made a tensor, then the kinds of those before it."""
        producer = self.table.record(tensor).producer
        return () if producer < 0 else (self.ops[producer].kind, *(self.ops[i].kind for i in self.ops[producer].after))

    def answer(self, expected: Any) -> Any:
        """The answer to a question of control flow, which changes in an endless loop."""
        place = self._place()
        if isinstance(expected, bool):
            onward = goes_on(place[0]) if self._expected is None else self._expected
            expected = expected if onward is None else onward
        answer = self.answers.answer(expected, place, compared_integers)
        self._ended = self.answers.ended.pop(place, None)
        return answer

    def _note_end(self, call: Call) -> None:
        """Say of an operator that its answer ended a loop, if it did."""
        if self._ended is not None:
            call.attrs["ended_after"], self._ended = self._ended, None

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

    def prepare(self, modules: Mapping[torch.nn.Module, list[str]], parameters: list[tuple[torch.Tensor, str]]) -> None:
        """Make a network ready for its forward pass."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """In the body the network runs."""
        with self:
            yield

    def passes(self, call: Callable[[], Any]) -> Any:
        """Run the forward pass; returns what the network does."""
        result = call()
        self.finish(result)
        return result

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
            if not isinstance(func, torch._ops.OpOverload):
                return higher_order.run(self, func, args, kwargs or {})
            for kind in types:
                if kind not in ORDINARY and hasattr(kind, "__tensor_flatten__"):  # it knows what is inside
                    with self, self.working(busy=False):
                        return kind.__torch_dispatch__(func, types, args, kwargs or {})
            return self._run(operator_of(func), args, kwargs or {})
        finally:
            self.busy = before

    def _run(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operator, which is recorded whole or by its parts."""
        if operator.ignored:
            return None
        if operator.marker:
            return operator.overload(*args, **kwargs)
        args, kwargs = self._cast(operator, args, kwargs)
        if operator.rewrite is not None:
            with self:
                return operator.rewrite(*args, **kwargs)
        if operator.composite and operator.kind not in self.kinds:
            result = self._decomposed(operator.overload, args, kwargs)
            if result is not NotImplemented:
                return result
        call = bind(operator, args, kwargs, self.table)
        if call.signature.lower is not None and autocasting():
            call = self._lowered(call, call.signature.lower)
        abstract, guessed, sparse = False, False, operator.makes_sparse
        device = None
        for record in call.records:
            abstract = abstract or record.storage.abstract
            sparse = sparse or record.spec.sparse
            guessed = guessed or record.guessed
            device = device or record.device
        call.device = call.device or device
        if operator.kind in ATTRIBUTES:
            guessed = ATTRIBUTES[operator.kind](call) or guessed
        if sparse:
            return run_sparse(self.operations, call, abstract, guessed)
        if operator.creates:
            return self._create(call, guessed)
        if not abstract and not is_too_large(call):
            return self._known(call, guessed)
        return self._without_values(call, abstract, guessed)

    def _cast(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The arguments as autocast hands them over, if the pass runs under it."""
        if self.autocast is None:
            return args, kwargs
        with self:
            return self.autocast.arguments(operator.overload.name(), args, kwargs)

    def _known(self, call: Call, guessed: bool) -> Any:
        """The result of an operator on known values; an estimate if it rests on random numbers that decide a size."""
        drawn = call.operator.draws or any(record.storage.drawn for record in call.records)
        if drawn and not guessed and call.operator.guess is not None:
            guessed = call.operator.kind != "index" or any(is_mask(record.tensor) for record in call.records[1:])
        result = self.operations.add(call, self._compute(call), False, guessed)
        if drawn:
            for tensor in all_tensors(result):
                self.table.record(tensor).storage.drawn = True
        return result

    def _without_values(self, call: Call, abstract: bool, guessed: bool) -> Any:
        """The result of an operator on unknown values, or on so many that they are not computed."""
        operator = call.operator
        if abstract and operator.kind in ABSORBING:
            result = absorbed(call)
            if result is not None:
                return self.operations.add(call, result, guessed=guessed)
        if operator.has_device:
            call.args, call.kwargs = with_device(call.args, call.kwargs, META)
        if operator.guess is not None:
            guesses = operator.guess(call.args, self)
            if guesses is not None:
                self._note_end(call)
                guessed = guessed or guesses[1] or any(record.storage.drawn for record in call.records)
                return self.operations.add(call, guesses[0], guessed=guessed)
        try:
            result = infer(call)
        except (NotImplementedError, RuntimeError, TypeError):
            if not operator.composite:
                raise  # a composite one is recorded in parts instead, which raise whatever is wrong with it
            with self:
                return operator.overload.decompose(*call.args, **call.kwargs)
        return self.operations.add(call, result, True, guessed)

    def record_unavailable(
        self, kind: str, arguments: Mapping[str, Any], results: Sequence[Spec]
    ) -> list[torch.Tensor]:
        """Record an operator that this process cannot call.

        Args:
            arguments: by their names in the operator's schema.
            results: what each result is.
        """
        operator = Operator(kind, tuple(arguments))
        call = bind(operator, tuple(arguments.values()), {}, self.table)
        guessed = any(record.guessed for record in call.records)
        with _disable_current_modes():
            made = [spec.placeholder() for spec in results]
            return list(self.operations.add(call, made, abstract=True, guessed=guessed))

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

    def _lowered(self, call: Call, dtype: torch.dtype) -> Call:
        """The call with all of its arguments in the precision that autocast chose for some of them."""
        cast = functools.partial(cast_to, dtype)
        with self:
            args, kwargs = moved(call.args, cast), moved(call.kwargs, cast)
        return bind(call.operator, args, kwargs, self.table)

    def _create(self, call: Call, guessed: bool) -> Any:
        """A new tensor of known or random values; without values if it is large."""
        overload, kind = call.operator.overload, call.operator.kind
        if call.device is None and call.records:
            call.device = self.device_of(call.records[0].tensor)
        result = overload(*call.args, **{**call.kwargs, "device": META})
        uninitialised = kind.startswith(("empty", "new_empty"))
        large = result.numel() > (LIMIT >> 2 if uninitialised else LIMIT)
        large |= self.answers.gradients and result.is_floating_point()  # autograd compares devices
        if not large:
            result = overload(*call.args, **{**call.kwargs, "device": CPU})
            if uninitialised:
                result.zero_()
        made = self.operations.add(call, result, large, guessed)
        if call.operator.draws and not large:
            self.table.record(made).storage.drawn = True
        return made

    def _compute(self, call: Call) -> Any:
        """Run an operator on known values; saves the user's memory before it is written."""
        for record in (*call.written, *(r for name, r in call.inputs if name in STATISTICS)):
            self.table.keep_values(record)
        if call.operator.has_device:
            call.args, call.kwargs = with_device(call.args, call.kwargs, CPU)
        if len({true_device(record.tensor) for record in call.records}) > 1:
            call.args, call.kwargs = moved(call.args, torch.Tensor.cpu), moved(call.kwargs, torch.Tensor.cpu)
        return call.run()


def active_recorder() -> Recorder | None:
    """The recorder under which this code runs."""
    mode = _get_current_dispatch_mode()
    return mode if isinstance(mode, Recorder) else None
