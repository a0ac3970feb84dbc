"""Images, videos, patches and tokens that a network takes, in the sizes that its configuration names."""

from math import isqrt, prod
from typing import Any

import torch

from costlab.models.providers.transformers.context import Context

SIDE = 224  # pixels
FRAMES = 8  # of a video
PART = ("vision_config", "vit_config", "backbone_config", "vision_tower_config", "image_encoder_config")
GRIDS = ("grid_thw", "image_grid_thw", "spatial_shapes")  # beside them an image comes as rows of patches


def pair(size: Any) -> tuple[int, int]:
    """Height and width of a size that configurations write in four ways."""
    if isinstance(size, dict):
        side = size.get("shortest_edge", SIDE)
        size = size.get("height", side), size.get("width", side)
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return int(size), int(size)


def image_size(context: Context) -> tuple[int, int]:
    """Height and width of an image, multiples of the patches."""
    size = pair(context.entry("image_size", "img_size", "input_size", "crop_size", default=SIDE, part=PART))
    patch = pair(context.entry("patch_size", default=1, part=PART))
    height, width = (max(s // p, 1) * p for s, p in zip(size, patch, strict=True))
    return height, width


def channels(context: Context) -> int:
    """Channels of an image."""
    return int(context.entry("num_channels", "in_channels", "in_chans", default=3, part=PART))


def grid(context: Context, multiple: int | None = None) -> tuple[int, int]:
    """Rows and columns of the patches of an image, a multiple of how many are merged."""
    count = context.entry("num_patches", part=PART) if "spatial_shapes" in context.parameters else None
    if isinstance(count, int):
        return isqrt(count), isqrt(count)
    patch = pair(context.entry("patch_size", default=14, part=PART))[0]
    merge = (
        multiple
        or pair(context.entry("spatial_merge_size", "merge_kernel_size", "merge_size", default=2, part=PART))[0]
    )
    side = max(SIDE // patch // merge, 1) * merge
    return side, side


def takes_patches(context: Context) -> bool:
    """Whether an image comes as rows of patches."""
    return any(name in context.parameters for name in GRIDS)


def patches(context: Context) -> torch.Tensor:
    """[patches, channels x frames x pixels]: an image as rows of patches, all frames of a patch in one row."""
    patch = pair(context.entry("patch_size", default=14, part=PART))
    frames = context.entry("temporal_patch_size", "patch_temporal", default=1, part=PART)
    return context.floats(prod(grid(context)), channels(context) * frames * prod(patch))


def image(context: Context) -> torch.Tensor:
    """[1, channels, height, width], or the patches of an image; [1, frames, ...] for a network of videos."""
    if takes_patches(context):
        rows = patches(context)
        return rows[None] if "spatial_shapes" in context.parameters else rows
    frames = None if hasattr(context.config, "text_config") else context.entry("num_frames")
    return context.floats(1, *([frames] if frames else []), channels(context), *image_size(context))


def images(context: Context) -> torch.Tensor:
    """[1, images, channels, height, width] with one image."""
    return context.floats(1, 1, channels(context), *image_size(context))


def video(context: Context) -> torch.Tensor:
    """[1, frames, channels, height, width]."""
    frames = context.entry("num_frames", "frames_per_clip", default=FRAMES, part=PART)
    return context.floats(1, frames, channels(context), *image_size(context))


def grid_thw(context: Context) -> torch.Tensor:
    """[1, 3]: frames, rows and columns of the patches."""
    return torch.tensor([[1, *grid(context)]])


def positions(context: Context, name: str = "pixel_values") -> torch.Tensor:
    """[1, patches, 2]: column and row of every patch of a square image."""
    side = isqrt(context.made[name].shape[1])
    rows = torch.arange(side)
    return torch.stack(torch.meshgrid(rows, rows, indexing="xy"), -1).reshape(1, -1, 2)


TOKENS = 128


def tokens(context: Context) -> torch.Tensor:
    """[1, 128] tokens, or as many as the network has positions for."""
    text = getattr(context.config, "text_encoder", None) or context.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None) or TOKENS
    return torch.zeros(1, min(TOKENS, positions) if positions > 0 else TOKENS, dtype=torch.long)
