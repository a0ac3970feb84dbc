"""Copies of a network with real or meta tensors, for other tools to run, so that the user's network is not touched."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from costlab.tracing.modules import tensors_in, unwrap
from costlab.tracing.restoration import CONTAINERS
from costlab.tracing.tensors import moved

SPREAD = 0.02  # standard deviation of random weights: small enough that deep networks stay finite

Call = tuple[torch.nn.Module, list[Any], dict[str, Any]]  # a network with the arguments of its forward


def copied(
    model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], make: Callable[[torch.Tensor], torch.Tensor]
) -> Call:
    """A copy of `model` in eval mode and of its inputs, with every tensor replaced by `make(tensor)`.

    No parameter of the copy requires a gradient.
    """
    model = unwrap(model)
    memo: dict[int, Any] = {}
    for tensor in tensors_of(model):
        made = make(tensor.detach())
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        memo[id(tensor)] = torch.nn.Parameter(made, requires_grad=False) if is_parameter else made
    return copy.deepcopy(model, memo).eval(), moved(list(args), make), moved(dict(kwargs), make)


def tensors_of(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers and tensors in plain attributes of modules, each once."""
    seen = set()
    for module in model.modules():
        plain = [v for v in module.__dict__.values() if isinstance(v, (torch.Tensor, tuple, *CONTAINERS))]
        for tensor in (*module._parameters.values(), *module._buffers.values(), *tensors_in(plain)):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def real(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU; a tensor without data gets small random numbers, or zeros if it is not floating-point."""
    if not tensor.is_meta:
        return tensor.to("cpu", copy=True)
    if tensor.is_floating_point():
        return torch.empty(tensor.shape, dtype=tensor.dtype).normal_(0.0, SPREAD)
    return torch.zeros(tensor.shape, dtype=tensor.dtype)


def meta(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape, layout and dtype without data."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def meta_numbers(tensor: torch.Tensor) -> torch.Tensor:
    """As `meta` for floating-point tensors; indices and masks keep their values."""
    return meta(tensor) if tensor.is_floating_point() or tensor.is_complex() else tensor.clone()
