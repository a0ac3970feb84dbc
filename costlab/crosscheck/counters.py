"""The counts of other tools: fvcore's FlopCountAnalysis and torch's FlopCounterMode, run on copies of the network."""

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
from costlab.tracing.tensors import all_tensors, moved

WRITTEN = "activations of "  # before the names under which fvcore counts elements
MEMORY = 4 << 30  # most bytes of weights and live activations with which a network is executed


@dataclass(frozen=True, slots=True)
class ToolCount:
    """What one tool counts for one forward pass, or why it fails."""

    tool: str  # "fvcore" or "torch"
    version: str
    counts: Mapping[str, int] = field(default_factory=dict)  # by operator kind, one per mult-add
    unknown: Mapping[str, int] = field(default_factory=dict)  # unsupported calls, by operator kind
    inside: Mapping[str, int] = field(default_factory=dict)  # of `counts`, by operators that costlab decomposes
    activations: Mapping[str, int] = field(default_factory=dict)  # elements that products write, by operator kind
    failure: str | None = None  # one line
    note: str | None = None  # one line: how it was run

    @property
    def total(self) -> int:
        """The total that the tool prints."""
        return sum(self.counts.values())


def run_fvcore(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], needed: int = 0) -> ToolCount:
    """Run FlopCountAnalysis on a copy with real weights on the CPU, unless `needed` bytes of memory exceed `MEMORY`.

    As its documentation says, it runs without the fused inference paths of nn.MultiheadAttention and
    nn.TransformerEncoder. Its tracer accepts only positional tensors and returned tensors.
    """
    version = importlib.metadata.version("fvcore")
    if needed > MEMORY:
        reason = f"not run: it executes the network, which takes {size(needed)} of memory; the limit is {size(MEMORY)}"
        return ToolCount("fvcore", version, failure=reason)
    try:
        with quiet(), random_state(), without_fast_path(), torch.no_grad():
            from fvcore.nn import FlopCountAnalysis

            module = TensorsOnly(*copied(model, args, kwargs, real))
            analysis = FlopCountAnalysis(module, module.inputs())
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            count_activations(analysis)
            found = {name: int(n) for name, n in analysis.by_operator().items()}
            counts = {kind_of(f"aten::{name}"): n for name, n in found.items() if not name.startswith(WRITTEN)}
            written = {kind_of(name.removeprefix(WRITTEN)): n for name, n in found.items() if name.startswith(WRITTEN)}
            unknown: Counter[str] = Counter()
            for name, calls in analysis.unsupported_ops().items():
                unknown[kind_of(name)] += calls
    except Exception as error:
        return ToolCount("fvcore", version, failure=one_line(error))
    return ToolCount("fvcore", version, counts, dict(unknown), activations=written)


def count_activations(analysis: Any) -> None:
    """Have a FlopCountAnalysis also count what an ActivationCountAnalysis would, under other names."""
    from fvcore.nn import jit_handles

    elements = jit_handles.generic_activation_jit()

    def both(name: str, flops: Any) -> Any:
        def handle(inputs: Any, outputs: Any) -> Counter[str]:
            counted = flops(inputs, outputs)
            counted = counted if isinstance(counted, Counter) else {name.removeprefix("aten::"): counted}
            return Counter({**counted, WRITTEN + name: elements([], outputs)})

        return handle

    for name in "_convolution addmm bmm einsum matmul linear".split():
        flops = getattr(jit_handles, f"{name.replace('_convolution', 'conv')}_flop_jit")
        analysis.set_op_handle(f"aten::{name}", both(f"aten::{name}", flops))


def run_torch(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ToolCount:
    """Run FlopCounterMode over a copy on the meta device; its FLOPs are halved and split by operator.

    If torch cannot run the copy because it needs values, the mode runs on top of costlab's own trace.
    """
    with quiet(), random_state(), without_fast_path():
        try:
            with torch.inference_mode():
                copy, call_args, call_kwargs = copied(model, args, kwargs, meta)
                module = CountedNetwork(copy)
                module(*call_args, **call_kwargs)
            return module.reading()
        except Exception as error:
            alone = one_line(error)
        try:
            copy, call_args, call_kwargs = copied(model, args, kwargs, meta_numbers)
            module = CountedNetwork(copy)
            trace(module, call_args, call_kwargs, RULES)
            return module.reading(f"counts on the shapes that costlab traced, because it fails by itself: {alone}")
        except Exception as error:
            return ToolCount("torch", torch.__version__, failure=one_line(error))


class CountedNetwork(torch.nn.Module):
    """A network whose forward runs under a FlopCounterMode."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.counter = FlopCounterMode(display=False)
        self.split = SplitByKind(self.counter)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self.counter, self.split, functions_attributed(self.split):
            return self.model(*args, **kwargs)

    def reading(self, note: str | None = None) -> ToolCount:
        """The counts of the last forward pass."""
        split = self.split
        counts, inside = ({k: n // 2 for k, n in flops.items() if n} for flops in (split.flops, split.inside))
        return ToolCount(
            "torch", torch.__version__, counts, dict(split.uncounted), inside, dict(split.activations), note=note
        )


class SplitByKind(TorchDispatchMode):
    """Splits the count of a FlopCounterMode below it by the operator that the network calls."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()  # calls for which it added nothing
        self.inside: Counter[str] = Counter()  # of `flops`, by operators without a rule that costlab decomposes
        self.activations: Counter[str] = Counter()  # elements of the results of those for which it added something
        self._counter = counter
        self._outer: str | None = None

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Attribute what the body adds to `name`, or to the outer operator if there is one."""
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
        self.uncounted[operator.kind] += added == 0
        if added:
            self.activations[operator.kind] += next(iter(all_tensors(result))).numel()
        if self._outer is not None:
            self.inside[self._outer] += added
        return result


@contextmanager
def functions_attributed(split: SplitByKind) -> Iterator[None]:
    """Run the body with autograd functions attributed in `split`: each is one operator to a tracer."""
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
    """A network whose forward takes positional tensors and returns a tuple of tensors."""

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
        remaining = iter(tensors)
        args, kwargs = moved(self.arguments, lambda _: next(remaining))
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
    """Run the body with nn.MultiheadAttention decomposed into its parts."""
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
