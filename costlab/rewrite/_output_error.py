"""How far the outputs of a rewritten network are from those of the original."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.tracing.modules import tensors_in
from costlab.tracing.restoration import modules_restored, random_state
from costlab.tracing.tensors import moved


def output_error(
    base: torch.nn.Module, head: torch.nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> float:
    """||y - y'|| / ||y|| over all floating-point outputs, in eval mode; neither network is changed.

    Args:
        inputs, kwargs: the arguments of forward.

    Raises:
        CostlabError: a forward pass fails, or the outputs differ in number or shape.
    """
    outputs, changed = (outputs_of(model, inputs, kwargs or {}) for model in (base, head))
    if [y.shape for y in outputs] != [y.shape for y in changed]:
        raise CostlabError("the outputs of the two networks differ in number or shape")
    error = math.fsum(float((y - z).norm() ** 2) for y, z in zip(outputs, changed, strict=True))
    size = math.fsum(float(y.norm() ** 2) for y in outputs)
    return math.sqrt(error / size) if size else 0.0 if not error else math.inf


def outputs_of(model: torch.nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    """Every floating-point tensor that the network returns, in float64."""
    with ExitStack() as stack:
        stack.enter_context(modules_restored(list(model.modules()), train=False))
        stack.enter_context(random_state())
        stack.enter_context(torch.no_grad())
        call_args, call_kwargs = moved((list(inputs), dict(kwargs)), torch.clone)
        try:
            result = model(*call_args, **call_kwargs)
        except Exception as error:
            lines = str(error).strip().splitlines() or ["no message"]
            raise CostlabError(
                f"{type(model).__name__} cannot run: {type(error).__name__}: {lines[0][:120]}"
            ) from error
        return [t.double() for t in tensors_in(result) if t.is_floating_point()]


def random_inputs(inputs: Any, seed: int) -> Any:
    """The same structure with standard normal random numbers in every tensor on the meta device."""
    generator = torch.Generator().manual_seed(seed)

    def filled(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_meta:
            return tensor
        return torch.randn(tensor.shape, generator=generator).to(tensor.dtype)

    return moved(inputs, filled)
