"""costlab's own networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from costlab import zoo
from costlab.loading.weightless import weightless


def names() -> list[str]:
    return sorted(zoo.__all__)


def build(name: str, arguments: Mapping[str, Any]) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """The network without weights, and an image for it."""
    factory = getattr(zoo, name)
    return weightless(lambda: factory(**arguments)), (torch.empty(1, 3, 224, 224, device="meta"),)
