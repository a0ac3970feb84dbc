"""`costlab.profile`: trace a model and cost every operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costlab._version import __version__
from costlab.core.cost import COST_KEYS, RULES, Cost, Rule, cost_of
from costlab.core.gc import gc_paused
from costlab.core.graph import Op, Trace
from costlab.core.profile import Profile
from costlab.errors import CostlabError, ForwardError
from costlab.tracing.answers import MAX_ITERATIONS
from costlab.tracing.inputs import as_inputs, with_tuples

if TYPE_CHECKING:
    import torch


def profile(
    model: torch.nn.Module,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    train: bool = False,
    max_iterations: int = MAX_ITERATIONS,
    rules: Mapping[str, Rule] = RULES,
    name: str | None = None,
    provider: str = "python",
    arguments: Mapping[str, Any] | None = None,
) -> Profile:
    """The cost of one forward pass of `model`, which is left exactly as it was.

    Args:
        inputs: a shape `(1, 3, 224, 224)`, a list of shapes, an example tensor, the positional arguments of
            forward, or the `Inputs` that `costlab.load` returns.
        kwargs: keyword arguments of forward; tensors or shapes.
        train: trace the forward pass in train mode.
        max_iterations: how often a loop runs whose condition depends on unknown values.
        rules: cost rules by operator kind; `RULES | {"mylib::op": rule}` adds one.
        name: the profile's name; default: the class of the model.
        provider, arguments: where the model comes from, for reports.

    Returns:
        The profile: costs by operator, module, kind and in total.

    Raises:
        CostlabError: `model` is not an nn.Module, or its forward fails on these inputs.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise CostlabError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    with gc_paused():
        traced = trace_inputs(model, inputs, kwargs, rules, train, max_iterations)
        costs = tuple(cost_with_params(op, rules) for op in traced.ops)
    return Profile(
        name=name or type(model).__name__,
        provider=provider,
        arguments=dict(arguments or {}),
        trace=traced,
        costs=costs,
        torch=torch.__version__,
        costlab=__version__,
    )


def trace_inputs(
    model: torch.nn.Module,
    inputs: Any,
    kwargs: Mapping[str, Any] | None,
    rules: Mapping[str, Rule],
    train: bool,
    max_iterations: int,
) -> Trace:
    """The trace for what a user wrote as inputs; if forward fails, with tuples that are not shapes."""
    from costlab.tracing.forward import trace

    call, other = as_inputs(inputs, kwargs), with_tuples(inputs, kwargs)
    try:
        traced = trace(model, call.args, call.kwargs, rules, train, max_iterations)
        return replace(traced, absent={**traced.absent, **call.absent})
    except ForwardError as error:
        if other is None:
            raise
        try:
            return trace(model, other.args, other.kwargs, rules, train, max_iterations)
        except ForwardError:
            raise error from error.__cause__


def cost_with_params(op: Op, rules: Mapping[str, Rule]) -> Cost | None:
    """The cost of an operator, with the parameters that it is the first to read."""
    try:
        cost = cost_of(op, rules)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise CostlabError(f"the cost rule of {op.kind} fails on {op.name}: {what}") from error
    own = rules is not RULES and rules.get(op.kind) is not RULES.get(op.kind)
    if own and cost is not None and not all(type(getattr(cost, key)) is int for key in COST_KEYS):
        raise CostlabError(f"the cost rule of {op.kind} returns {cost}: costs must be integers")
    if cost is None or (cost.params, cost.param_bytes) == (op.params, op.param_bytes):
        return cost
    return replace(cost, params=op.params, param_bytes=op.param_bytes)
