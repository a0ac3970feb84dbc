"""costlab's own networks."""

from collections.abc import Mapping
from typing import Any

import torch

from costlab import zoo
from costlab.models.meta_init import Construct
from costlab.tracing.inputs import Inputs

RESOLUTION = 224  # of images, unless a network has its own


def names() -> list[str]:
    """The networks of the zoo."""
    return sorted(zoo.__all__)


def factory(name: str) -> Any:
    """The constructor of a network."""
    return getattr(zoo, name)


def build(name: str, arguments: Mapping[str, Any], construct: Construct) -> tuple[torch.nn.Module, Inputs]:
    """The network without weights, and an image of the size that it is built for."""
    model = construct(lambda: factory(name)(**arguments))
    size = getattr(model, "resolution", RESOLUTION)
    return model, Inputs((torch.empty(1, 3, size, size, device="meta"),))
