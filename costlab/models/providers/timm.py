"""timm's networks, with the inputs of their configuration."""

from collections.abc import Mapping
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.meta_init import Construct
from costlab.models.providers.torchvision import import_torchvision
from costlab.tracing.inputs import Inputs


def import_timm() -> Any:
    """timm. Raises CostlabError if it is not installed."""
    import_torchvision()  # which timm imports
    try:
        import timm
    except ModuleNotFoundError:
        raise CostlabError("timm is not installed: pip install 'costlab[timm]'") from None
    return timm


def names() -> list[str]:
    """The networks of timm."""
    return list(import_timm().list_models())


def build(name: str, arguments: Mapping[str, Any], construct: Construct) -> tuple[torch.nn.Module, Inputs]:
    """The network without weights, and an image of its configured size."""
    timm = import_timm()
    model = construct(lambda: timm.create_model(name, pretrained=False, **arguments))
    config = getattr(model, "pretrained_cfg", None) or {}
    size = (3, *pair(arguments["img_size"])) if "img_size" in arguments else config.get("input_size", (3, 224, 224))
    channels = arguments.get("in_chans", size[0])
    return model, Inputs((torch.empty(1, channels, *size[1:], device="meta"),))


def pair(size: Any) -> tuple[int, int]:
    """Height and width from one number or two."""
    return (size, size) if isinstance(size, int) else tuple(size)
