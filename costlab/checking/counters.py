"""What other counters say: fvcore's FlopCountAnalysis and torch's FlopCounterMode, each run on a copy of the network."""

from __future__ import annotations

import importlib.metadata
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from costlab.checking.copies import copied, meta, real
from costlab.cost import RULES
from costlab.tracing.forward import random_state
from costlab.tracing.modules import tensors_in
from costlab.tracing.operators import kind_of, operator_of
from costlab.tracing.recorder import moved


@dataclass(frozen=True, slots=True)
class Reading:
    """What one tool says of one forward pass, or why it says nothing."""

    tool: str  # "fvcore" or "torch"
    version: str
    counts: Mapping[str, int] = field(default_factory=dict)  # its number by operator kind, a mult-add counted as one
    unknown: Mapping[str, int] = field(default_factory=dict)  # calls of operators that it has no formula for, by kind
    failure: str | None = None  # one line

    @property
    def total(self) -> int:
        """What the tool prints."""
        return sum(self.counts.values())


Tool = Callable[[torch.nn.Module, Sequence[Any], Mapping[str, Any]], Reading]


def run_fvcore(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Reading:
    """FlopCountAnalysis of a real copy on the CPU. A weight without data gets a random value.

    It runs as by its documentation, without the fused inference paths of nn.MultiheadAttention and
    nn.TransformerEncoder. It is handed positional inputs and returned tensors: its tracer takes nothing else.
    """
    version = importlib.metadata.version("fvcore")
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
    """FlopCounterMode over a weightless copy; its FLOPs are halved, and kept apart by the operator that made them."""
    version = torch.__version__
    try:
        with quiet(), random_state(), torch.inference_mode():
            module, call_args, call_kwargs = copied(model, args, kwargs, meta)
            counter = FlopCounterMode(display=False)
            with counter, ByKind(counter) as split:
                module(*call_args, **call_kwargs)
    except Exception as error:
        return Reading("torch", version, failure=one_line(error))
    counts = {kind: flops // 2 for kind, flops in split.flops.items() if flops}
    return Reading("torch", version, counts, {k: n for k, n in split.calls.items() if k not in counts})


class ByKind(TorchDispatchMode):
    """Keeps apart what a FlopCounterMode below it adds for each operator that the network calls."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._counter = counter

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = operator_of(func)
        if operator.composite and operator.kind not in RULES:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        before = self._counter.get_total_flops()
        result = func(*args, **kwargs)
        self.flops[operator.kind] += self._counter.get_total_flops() - before
        self.calls[operator.kind] += 1
        return result


class TensorsOnly(torch.nn.Module):
    """A network whose forward takes tensors by position and returns a tuple of tensors."""

    def __init__(self, model: torch.nn.Module, args: list[Any], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.arguments = (args, kwargs)

    def inputs(self) -> tuple[torch.Tensor, ...]:
        """The tensors among the arguments."""
        return tuple(tensors_in(self.arguments))

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
