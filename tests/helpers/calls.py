"""Functions as networks, and what one call of them costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from costlab.core.cost import Cost
from costlab.core.graph import Op
from costlab.core.profile import Profile, Total
from costlab.tracing._profile import profile

INDEX = torch.long


class Call(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def profile_of(network: Callable[..., Any], *inputs: Any, **options: Any) -> Profile:
    """The profile of a network or a function; inputs are shapes or tensors."""
    return profile(network if isinstance(network, nn.Module) else Call(network), list(inputs), **options)


def total_of(network: Callable[..., Any], *inputs: Any, **options: Any) -> Total:
    """The whole cost, with nothing left uncounted."""
    result = profile_of(network, *inputs, **options)
    assert not result.uncounted
    return result.total


def only(profile: Profile, kind: str) -> tuple[Op, Cost]:
    """The one operator of a kind, and its cost."""
    found = [(op, cost) for op, cost in zip(profile.ops, profile.costs, strict=True) if op.kind == kind]
    assert len(found) == 1, [op.kind for op in profile.ops]
    op, cost = found[0]
    assert cost is not None
    return op, cost


def indices(*shape: int) -> torch.Tensor:
    """Indices that point at the first element."""
    return torch.zeros(shape, dtype=INDEX)
