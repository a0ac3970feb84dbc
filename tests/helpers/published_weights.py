"""torchvision's published weights: each network as torchvision builds it for them, without a download."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from costlab.models.meta_init import weightless
from costlab.models.providers.torchvision import import_torchvision

torchvision = import_torchvision()
models = torchvision.models

# The input sizes that torchvision's own published figures were counted at: 512 where its preprocessing does not change
# it, the size that a detector resizes to for detectors.
DETECTION_SIZES = {
    "ssd300_vgg16": 300,
    "ssdlite320_mobilenet_v3_large": 320,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 320,
}


def published() -> list[tuple[str, Any]]:
    """(network name, weights) for every weights entry that publishes mult-adds and parameters; quantised ones too."""
    return [
        (name, weights)
        for name in models.list_models()
        for weights in models.get_model_weights(name)
        if "_ops" in weights.meta and "num_params" in weights.meta
    ]


@contextmanager
def without_download(weights: Any) -> Iterator[None]:
    """Builders ask weights for a state dict and load it; both do nothing here."""
    owner = type(weights)
    fetch, load = owner.get_state_dict, torch.nn.Module.load_state_dict
    owner.get_state_dict = lambda self, *args, **kwargs: {}
    torch.nn.Module.load_state_dict = lambda self, *args, **kwargs: None
    try:
        yield
    finally:
        owner.get_state_dict, torch.nn.Module.load_state_dict = fetch, load


def build(name: str, weights: Any) -> torch.nn.Module:
    """The network that `weights` belong to; a quantised one as the floating-point network that it was made from.

    torchvision publishes that network's figures for both.
    """
    weights = weights.meta.get("unquantized", weights)
    builder = models.get_model_builder(name.removeprefix("quantized_"))
    with without_download(weights):
        return weightless(lambda: builder(weights=weights, progress=False)).eval()


def figures(weights: Any) -> tuple[float, int]:
    """Published mult-adds in billions, and parameters."""
    return weights.meta["_ops"], weights.meta["num_params"]


def inputs(name: str, weights: Any) -> list[Any]:
    """Inputs of the size that the published figure was counted at."""
    group = models.get_model_builder(name).__module__.split(".")[2]
    transforms = inspect.signature(weights.transforms).parameters
    defaults = {key: p.default for key, p in transforms.items()}

    def image(*sizes: int) -> torch.Tensor:
        return torch.empty(sizes, device="meta")

    crop = defaults.get("crop_size")
    crop = crop[0] if isinstance(crop, (list, tuple)) else crop
    match group:
        case "detection":
            size = DETECTION_SIZES.get(name, 800)
            return [[image(3, size, size)]]
        case "segmentation":
            size = defaults["resize_size"]
            return [image(1, 3, size, size)]
        case "video":
            return [image(1, 3, 16, crop, crop)]
        case "optical_flow":
            return [image(1, 3, 512, 512), image(1, 3, 512, 512)]
    return [image(1, 3, crop, crop)]
