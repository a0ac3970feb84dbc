"""Operators that take graphs: each is run through its graphs, as the Python it came from would run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import _pop_mode_temporarily

from costlab.errors import CostlabError
from costlab.tracing.higher_order import HANDLERS
from costlab.tracing.recorder import active_recorder


class Graph(Protocol):
    """A subgraph as a function."""

    def __call__(self, *inputs: Any) -> Any: ...

    def lowered(self, dtype: torch.dtype | None) -> Graph: ...


ROUNDS = 10_000  # of a loop


def cond(predicate: Any, yes: Graph, no: Graph, operands: Sequence[Any] = ()) -> Any:
    """The branch that the predicate chooses."""
    return (yes if predicate else no)(*operands)


def while_loop(condition: Graph, body: Graph, carried: Sequence[Any], additional: Sequence[Any] = ()) -> Any:
    """A loop until its condition is false."""
    state = list(carried)
    for _ in range(ROUNDS):
        if not condition(*state, *additional):
            return state
        state = listed(body(*state, *additional))
    raise CostlabError(f"a while_loop does not end within {ROUNDS:,} rounds")


def map_over(function: Graph, mapped: Sequence[torch.Tensor], arguments: Sequence[Any] = ()) -> Any:
    """`function` on each slice along the first dimension, the results stacked."""
    rounds = [listed(function(*slices, *arguments)) for slices in zip(*(x.unbind(0) for x in mapped), strict=True)]
    return [torch.stack(results) for results in zip(*rounds, strict=True)]


def scan(
    combine: Graph, initial: Sequence[Any], scanned: Sequence[torch.Tensor], additional: Sequence[Any] = ()
) -> Any:
    """The carried values after the last slice, then the outputs of every slice, stacked."""
    state, outputs = list(initial), []
    for slices in zip(*(x.unbind(0) for x in scanned), strict=True):
        results = listed(combine(*state, *slices, *additional))
        state = results[: len(state)]
        outputs.append(results[len(state) :])
    return [*state, *(torch.stack(results) for results in zip(*outputs, strict=True))]


def autocast(device: str, dtype: Any, enabled: bool, cache: Any, graph: Graph, *operands: Any) -> Any:
    """A graph under autocast."""
    if active_recorder() is not None:  # torch casts nothing that has no data
        return graph.lowered(dtype if enabled else None)(*operands)
    with torch.autocast(device, dtype=dtype, enabled=enabled, cache_enabled=cache):
        return graph(*operands)


def listed(value: Any) -> list[Any]:
    """Results as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def as_traced(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that in a trace gives way to the tracer's own handling, which knows about unknown conditions."""

    def run(*arguments: Any) -> Any:
        recorder = active_recorder()
        if recorder is None:
            return function(*arguments)
        mode: Any = recorder._mode_key
        with _pop_mode_temporarily(mode):
            return HANDLERS[name](recorder, *arguments)

    return run


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cond": as_traced("cond", cond),
    "while_loop": as_traced("while_loop", while_loop),
    "map_impl": as_traced("map_impl", map_over),
    "scan": as_traced("scan", scan),
    "wrap_with_set_grad_enabled": lambda enabled, graph, *operands: graph(*operands),
    "wrap_with_autocast": autocast,
    "tag_activation_checkpoint": lambda graph, *operands, **_: graph(*operands),
    "invoke_subgraph": lambda graph, identifier, *operands: graph(*operands),
    "strict_mode": lambda graph, operands: graph(*operands),
    "hints_wrapper": lambda graph, operands, keywords, **_: graph(*operands),
}
HIGHER_ORDER = {f"torch.ops.higher_order.{name}": function for name, function in FUNCTIONS.items()}
