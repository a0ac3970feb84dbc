"""The time of every operator: one forward pass is recorded, then replayed repeatedly, operator by operator.

The recording holds each call (function and arguments), and when each result was released. Replayed in the same order,
on values that flow from one operator to the next, every operator finds the caches as in the network: its inputs just
written, its weights as the rest of the network left them, its output in memory that is allocated and freed as in the
network. Only the Python between the operators is missing.
"""

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import groupby
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from costlab.core.gc import gc_paused
from costlab.core.graph import Op
from costlab.errors import CostlabError
from costlab.tracing.operators import Operator, json_value, operator_of, specific_kind
from costlab.tracing.restoration import eager, random_state
from costlab.tracing.tensors import all_tensors, moved

CAST = "to"
Signature = tuple[str, tuple[tuple[int, ...], ...]]  # kind, shapes of the inputs


class Slot(NamedTuple):
    """Stands for the result of an earlier call."""

    number: int


class ReplayError(RuntimeError):
    """A recorded call failed when it was repeated; its message is the kind of the operator."""


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded operator."""

    signature: Signature
    func: Callable[..., Any]
    args: Any  # with a Slot for each tensor that an earlier call returned
    kwargs: Any
    made: tuple[int | None, ...]  # the slot of each result; None for a non-tensor or a returned argument
    released: list[int] = field(default_factory=list)  # slots that nothing refers to after this call


class OpRecording(TorchDispatchMode):
    """Collects `calls` while a forward pass runs; decomposes operators as the tracer does."""

    def __init__(self, kinds: Collection[str]) -> None:
        super().__init__()
        self.kinds = kinds
        self.calls: list[Call] = []
        self._slots: dict[int, int] = {}  # by the id of a live tensor
        self._made = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping would import the compiler, which takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = operator_of(func)
        if operator.ignored or operator.marker:
            return func(*args, **kwargs)
        if operator.rewrite is not None:
            with self:
                return operator.rewrite(*args, **kwargs)
        if operator.composite and operator.kind not in self.kinds:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        signature = signature_of(operator, args, kwargs)
        arguments = moved(args, self._slot), moved(kwargs, self._slot)
        result = func(*args, **kwargs)
        made = tuple(map(self._new, result if isinstance(result, (list, tuple)) else [result]))
        self.calls.append(Call(signature, func, *arguments, made))
        return result

    def _slot(self, tensor: torch.Tensor) -> Any:
        number = self._slots.get(id(tensor))
        return tensor if number is None else Slot(number)

    def _new(self, result: Any) -> int | None:
        if not isinstance(result, torch.Tensor) or id(result) in self._slots:
            return None
        number, self._made = self._made, self._made + 1
        self._slots[id(result)] = number
        weakref.finalize(result, self._gone, id(result), number).atexit = False
        return number

    def _gone(self, identity: int, number: int) -> None:
        del self._slots[identity]
        self.calls[-1].released.append(number)


def signature_of(operator: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Signature:
    """What a recorded operator and one of the profile have in common if they are the same."""
    arguments = {**dict(zip(operator.arguments, args, strict=False)), **kwargs}
    attrs = operator.defaults | {k: json_value(v) for k, v in arguments.items() if isinstance(v, (bool, int, float))}
    weight = arguments.get("weight")
    kind = specific_kind(operator.kind, attrs, weight.dim() if isinstance(weight, torch.Tensor) else 0)
    tensors = all_tensors([value for name, value in arguments.items() if name not in operator.overwritten])
    return kind, tuple(tuple(tensor.shape) for tensor in tensors)


def recorded(run: Callable[[], Any], kinds: Collection[str]) -> list[Call]:
    """The calls of one forward pass.

    torch's fused inference layers are disabled, because the tracer, and so the profile, sees their parts.
    """
    recording = OpRecording(kinds)
    with forward_pass(), recording:
        run()
    return recording.calls


@contextmanager
def forward_pass() -> Iterator[None]:
    """The same random numbers in every pass, no compiled code, no fused layers."""
    fused = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(random_state())
        stack.enter_context(eager())
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        torch.backends.mha.set_fastpath_enabled(False)
        yield


def matched(calls: Sequence[Call], ops: Sequence[Op]) -> list[Op | None]:
    """The profile's operator for each call, by the longest common runs of both sequences; None without one."""
    ours = [call.signature for call in calls]
    theirs = [(op.kind, tuple(t.shape for t in op.inputs)) for op in ops]
    if ours == theirs:
        return list(ops)
    result: list[Op | None] = [None] * len(calls)
    here, there = casts_sorted(ours), casts_sorted(theirs)
    same = SequenceMatcher(None, [ours[i] for i in here], [theirs[i] for i in there], autojunk=False)
    for start, other, length in same.get_matching_blocks():
        for i, j in zip(here[start : start + length], there[other : other + length], strict=True):
            result[i] = ops[j]
    return result


def casts_sorted(signatures: Sequence[Signature]) -> list[int]:
    """All positions, those of neighbouring casts by shape: in which order autocast makes them is up to a compiler."""
    runs = groupby(range(len(signatures)), lambda i: signatures[i][0] == CAST)
    return [i for cast, run in runs for i in (sorted(run, key=signatures.__getitem__) if cast else run)]


class Stopwatch(Protocol):
    """Times the code between `start` and `stop`, repeatedly."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def seconds(self) -> list[float]:
        """All times since the last call of `seconds`."""
        ...


class HostStopwatch:
    """For work that is finished when a call returns, and for the host's part of work that a device finishes later."""

    def __init__(
        self, clock: Callable[[], float] = perf_counter, synchronise: Callable[[], None] | None = None
    ) -> None:
        self._clock = clock
        self._synchronise = synchronise
        self._started = 0.0
        self._seconds: list[float] = []

    def start(self) -> None:
        self._started = self._clock()

    def stop(self) -> None:
        self._seconds.append(self._clock() - self._started)

    def seconds(self) -> list[float]:
        if self._synchronise is not None:
            self._synchronise()  # the next pass starts with an empty queue
        seconds, self._seconds = self._seconds, []
        return seconds


class EventStopwatch:
    """For work that a device does asynchronously: events in its queue, read when all is done."""

    def __init__(self, event: Callable[[], Any], synchronise: Callable[[], None]) -> None:
        self._event = event
        self._synchronise = synchronise
        self._events: list[Any] = []

    def _mark(self) -> None:
        event = self._event()
        event.record()
        self._events.append(event)

    start = stop = _mark

    def read(self) -> list[float]:
        """The times of all events that are kept: also of events in a graph that was replayed since."""
        self._synchronise()
        pairs = zip(self._events[::2], self._events[1::2], strict=True)
        return [start.elapsed_time(end) / 1000 for start, end in pairs]

    def seconds(self) -> list[float]:
        seconds = self.read()
        self._events = []
        return seconds


def stopwatch_for(device: torch.device) -> Stopwatch:
    """The stopwatch for a device; on CUDA that of the host, because a trace has the device's times."""
    if device.type == "cpu":
        return HostStopwatch()
    if device.type == "cuda":
        return HostStopwatch(synchronise=lambda: synchronise(device))
    return queue_stopwatch(device)


def queue_stopwatch(device: torch.device) -> EventStopwatch:
    """Events in the queue of a device."""
    return EventStopwatch(lambda: torch.Event(device=device, enable_timing=True), lambda: synchronise(device))


def synchronise(device: torch.device) -> None:
    """Wait until a device has done its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def play(calls: Sequence[Call], timed: Sequence[bool], stopwatch: Stopwatch) -> list[float]:
    """Make every call once, as a forward pass does, and return the seconds of those that are timed.

    Raises CostlabError if a call cannot be repeated, for example if sizes depend on values from outside the recording.
    """
    try:
        with forward_pass(), gc_paused():
            make(calls, timed, stopwatch)
    except ReplayError as error:
        what = f"{error} cannot be replayed: {error.__cause__}"
        raise CostlabError(f"{what}; use --no-ops (ops=False) to measure only the whole network") from error
    return stopwatch.seconds()


def make(calls: Sequence[Call], timed: Sequence[bool], stopwatch: Stopwatch) -> None:
    """Make every call once, in order. Raises ReplayError."""
    held: dict[int, torch.Tensor] = {}
    for call, wanted in zip(calls, timed, strict=True):
        args, kwargs = filled(call.args, held), filled(call.kwargs, held)
        try:
            if wanted:
                stopwatch.start()
                result = call.func(*args, **kwargs)
                stopwatch.stop()
            else:
                result = call.func(*args, **kwargs)
        except RuntimeError as error:
            raise ReplayError(call.signature[0]) from error
        results = result if isinstance(result, (list, tuple)) else (result,)
        held.update((slot, tensor) for slot, tensor in zip(call.made, results, strict=True) if slot is not None)
        del args, kwargs, result, results  # otherwise memory released next would stay allocated
        for slot in call.released:
            del held[slot]


def filled(value: Any, held: Mapping[int, torch.Tensor]) -> Any:
    """The arguments of a call, with tensors for the slots."""
    if type(value) is Slot:
        return held[value.number]
    if isinstance(value, (list, tuple)):
        return type(value)(filled(member, held) for member in value)
    if isinstance(value, dict):
        return {key: filled(member, held) for key, member in value.items()}
    return value
