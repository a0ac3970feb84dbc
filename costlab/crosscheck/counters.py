"""What other counters say: fvcore's FlopCountAnalysis and torch's FlopCounterMode, run on copies of the network."""

from __future__ import annotations

import importlib.metadata
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from costlab.core.cost import RULES
from costlab.crosscheck.copies import copied, meta, meta_numbers, real
from costlab.formatting.units import size
from costlab.tracing.forward import trace
from costlab.tracing.modules import tensors_in
from costlab.tracing.operators import kind_of, operator_of
from costlab.tracing.restoration import random_state
from costlab.tracing.tensors import moved

MEMORY = 4 << 30  # bytes of weights and live activations up to which a network is run for real


@dataclass(frozen=True, slots=True)
class Reading:
    """What one tool says of one forward pass, or why it says nothing."""

    tool: str  # "fvcore" or "torch"
    version: str
    counts: Mapping[str, int] = field(default_factory=dict)  # its number by operator kind, a mult-add counted as one
    unknown: Mapping[str, int] = field(default_factory=dict)  # calls of operators that it has no formula for, by kind
    inside: Mapping[str, int] = field(default_factory=dict)  # of `counts`, by operators that costlab takes apart
    failure: str | None = None  # one line
    note: str | None = None  # one line: how it had to be run

    @property
    def total(self) -> int:
        """What the tool prints."""
        return sum(self.counts.values())


def run_fvcore(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], needed: int = 0) -> Reading:
    """FlopCountAnalysis of a real copy on the CPU; not run where `needed`, bytes of memory, is above `MEMORY`.

    It runs as by its documentation, without the fused inference paths of nn.MultiheadAttention and
    nn.TransformerEncoder. It is handed positional inputs and returned tensors: its tracer takes nothing else.
    """
    version = importlib.metadata.version("fvcore")
    if needed > MEMORY:
        reason = f"not run: it computes for real, which takes {size(needed)} of memory here, more than {size(MEMORY)}"
        return Reading("fvcore", version, failure=reason)
    try:
        with quiet(), random_state(), without_fast_path(), torch.no_grad():
            from fvcore.nn import FlopCountAnalysis

            module = TensorsOnly(*copied(model, args, kwargs, real))
            analysis = FlopCountAnalysis(module, module.inputs())
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            counts = {kind_of(f"aten::{name}"): int(n) for name, n in analysis.by_operator().items()}
            unknown: Counter[str] = Counter()
            for name, calls in analysis.unsupported_ops().items():
                unknown[kind_of(name)] += calls
    except Exception as error:
        return Reading("fvcore", version, failure=one_line(error))
    return Reading("fvcore", version, counts, dict(unknown))


def run_torch(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Reading:
    """FlopCounterMode over a weightless copy; its FLOPs are halved, and kept apart by the operator that made them.

    Where torch cannot run the copy, because values are needed, the mode is laid over costlab's own trace.
    """
    with quiet(), random_state(), without_fast_path():
        try:
            with torch.inference_mode():
                copy, call_args, call_kwargs = copied(model, args, kwargs, meta)
                module = UnderCounter(copy)
                module(*call_args, **call_kwargs)
            return module.reading()
        except Exception as error:
            alone = one_line(error)
        try:
            copy, call_args, call_kwargs = copied(model, args, kwargs, meta_numbers)
            module = UnderCounter(copy)
            trace(module, call_args, call_kwargs, RULES)
            return module.reading(f"counts on the shapes that costlab traced, for by itself it fails: {alone}")
        except Exception as error:
            return Reading("torch", torch.__version__, failure=one_line(error))


class UnderCounter(torch.nn.Module):
    """A network whose forward runs under a FlopCounterMode."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.counter = FlopCounterMode(display=False)
        self.split = ByKind(self.counter)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self.counter, self.split, functions_noted(self.split):
            return self.model(*args, **kwargs)

    def reading(self, note: str | None = None) -> Reading:
        """What the last forward pass was counted as."""
        split = self.split
        counts, inside = ({k: n // 2 for k, n in flops.items() if n} for flops in (split.flops, split.inside))
        return Reading("torch", torch.__version__, counts, dict(split.nothing), inside, note=note)


class ByKind(TorchDispatchMode):
    """Keeps apart what a FlopCounterMode below it adds for each operator that the network calls."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.nothing: Counter[str] = Counter()  # calls that it added nothing for
        self.inside: Counter[str] = Counter()  # of `flops`, by what costlab has no rule for but takes apart
        self._counter = counter
        self._outer: str | None = None

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Note what the body adds as inside of `name`, or of what the call is inside of already."""
        outer, self._outer = self._outer, self._outer or name
        try:
            yield
        finally:
            self._outer = outer

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = operator_of(func)
        if operator.composite and operator.kind not in RULES:
            with self, self.within(operator.kind):
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        before = self._counter.get_total_flops()
        result = func(*args, **kwargs)
        added = self._counter.get_total_flops() - before
        self.flops[operator.kind] += added
        self.nothing[operator.kind] += added == 0
        if self._outer is not None:
            self.inside[self._outer] += added
        return result


@contextmanager
def functions_noted(split: ByKind) -> Iterator[None]:
    """Run the body with `split` told of every autograd function, each of which is one operator to a tracer."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        with split.within(f"prim::PythonOp.{cls.__name__}"):
            return original.__get__(None, cls)(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]


class TensorsOnly(torch.nn.Module):
    """A network whose forward takes tensors by position and returns a tuple of tensors."""

    def __init__(self, model: torch.nn.Module, args: list[Any], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.arguments = (args, kwargs)

    def inputs(self) -> tuple[torch.Tensor, ...]:
        """The tensors among the arguments."""
        found: list[torch.Tensor] = []
        moved(self.arguments, found.append)
        return tuple(found)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given: Iterator[torch.Tensor] = iter(tensors)
        args, kwargs = moved(self.arguments, lambda _: next(given))
        return tuple(tensors_in(self.model(*args, **kwargs)))


@contextmanager
def quiet() -> Iterator[None]:
    """Run the body without warnings and log messages."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Run the body with nn.MultiheadAttention written out in its parts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def one_line(error: Exception) -> str:
    """An exception as one short line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:200] if lines else type(error).__name__
