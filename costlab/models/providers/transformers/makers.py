"""Makers of inputs whose shapes neither signature nor configuration tell, for one type or for several alike."""

import sys
from collections.abc import Callable
from math import prod
from typing import Any

import torch

from costlab.models.providers.transformers.context import Context
from costlab.models.providers.transformers.images import SIDE, channels, grid, image, image_size, images, pair, tokens
from costlab.models.providers.transformers.signals import SECOND, SPECTRUM, bins

Makers = dict[str, Callable[[Context], Any]]

STEPS = 20  # of a trajectory
FRAMES = 25  # of a codec
RESIDUES = 64  # of a protein


def ones(*shape: int) -> torch.Tensor:
    """Integers of one: a mask that hides nothing."""
    return torch.ones(shape, dtype=torch.long)


def zeros(*shape: int) -> torch.Tensor:
    """Integers of zero: valid tokens and indices."""
    return torch.zeros(shape, dtype=torch.long)


def image_pair(c: Context) -> torch.Tensor:
    """[1, 2, channels, height, width]: two images to match."""
    return c.floats(1, 2, 3, 480, 640)


def tiles(c: Context) -> torch.Tensor:
    """[1, tiles, channels, height, width]: an image in the tiles that its network cuts it into."""
    size = image_size(c)
    count = sys.modules[type(c.model).__module__].image_size_to_num_patches(
        torch.tensor(size), c.config.image_grid_pinpoints, c.config.vision_config.image_size
    )
    return c.floats(1, int(count), channels(c), *size)


def pooled_patches(c: Context) -> torch.Tensor:
    """[1, patches, values of a patch] of a square image whose side is a multiple of what is pooled."""
    patch, pool = (c.entry(name, part=("vision_config",)) for name in ("patch_size", "pooling_kernel_size"))
    return c.floats(1, prod(grid(c, pool)), 3 * patch * patch)


def merged_patches(c: Context) -> torch.Tensor:
    """[1, patches, values of a patch], where one patch is what others pool."""
    side = c.config.vision_config.patch_size * c.config.vision_config.pooling_kernel_size
    return c.floats(1, 16, 3 * side * side)


def packed_image(c: Context) -> torch.Tensor:
    """[1, channels, patch, patches x patch]: the patches of an image in one row."""
    patch = c.entry("patch_size", part=("vision_config",))
    return c.floats(1, channels(c), patch, patch * prod(grid(c, 4)))


def shuffled_images(c: Context) -> torch.Tensor:
    """[1, 1, channels, height, width], with as many patches a side as are merged, or a multiple of it."""
    patch = c.entry("patch_size", part=("vision_config",))
    unit = patch * c.entry("scale_factor", "pixel_shuffle_factor", default=2)
    return c.floats(1, 1, channels(c), *(-(-side // unit) * unit for side in image_size(c)))


def square_patches(c: Context) -> torch.Tensor:
    """[patches, channels, height, width] of an image."""
    patch = pair(c.entry("patch_size", part=("vision_config",)))
    return c.floats(prod(grid(c)), channels(c), *patch)


def merged_squares(c: Context) -> torch.Tensor:
    """[patches, height, width, channels], where one patch is the square of those that are merged."""
    part = getattr(c.config, "vision_config", c.config)
    side = part.patch_size * part.spatial_merge_size
    return c.floats(prod(grid(c)), side, side, part.num_channels)


def spacetime_patches(c: Context) -> torch.Tensor:
    """[patches, frames, height, width, channels]."""
    vision = getattr(c.config, "vision_config", c.config)
    return c.floats(16, vision.temporal_patch_size, vision.patch_size, vision.patch_size, vision.num_channels)


def audio_prompt(count: int) -> Callable[[Context], torch.Tensor]:
    """[1, tokens]: those of one sound, then text."""
    return lambda c: torch.cat([torch.full((1, count), c.config.audio_token_id), zeros(1, 16)], dim=1)


def image_positions(c: Context) -> torch.Tensor:
    """[1, tokens]: 1 where the features of an image go, which come first."""
    return (torch.arange(c.made["input_ids"].shape[1])[None] < c.config.latent_query_num).long()


def half_image(c: Context) -> torch.Tensor:
    """[1, 3, height / 2, width]: an image that is stacked below its prompt."""
    height, width = image_size(c)
    return c.floats(1, 3, height // 2, width)


def image_prompt(c: Context) -> torch.Tensor:
    """[1, tokens]: those of one image, then text."""
    vision = c.config.vlm_config.vision_config
    count = (vision.image_size // vision.patch_size) ** 2
    return torch.cat([torch.full((1, count), c.config.vlm_config.image_token_id), zeros(1, 16)], dim=1)


def query_prompt(c: Context) -> torch.Tensor:
    """[1, tokens]: those that stand for the queries of an image, then text."""
    token = c.entry("image_token_id", "image_token_index", "video_token_id", "video_token_index", default=0)
    return torch.cat([torch.full((1, c.config.num_query_tokens), token), zeros(1, 16)], dim=1)


def flattened_patches(c: Context) -> torch.Tensor:
    """[1, patches, 2 + values of a patch]: its row and column come first."""
    vision = getattr(c.config, "vision_config", c.config)
    return c.floats(1, 2048, 2 + vision.patch_embed_hidden_size)


def hidden(length: int, *entries: str) -> Callable[[Context], torch.Tensor]:
    """[1, length, hidden] of another network."""
    return lambda c: c.floats(1, length, c.entry(*(entries or ("hidden_size",))))


def choices(c: Context) -> torch.Tensor:
    """[1, 2, tokens]: two answers to choose from."""
    return tokens(c).expand(2, -1)[None]


def ended(c: Context) -> torch.Tensor:
    """[1, tokens], the last of which ends the text."""
    end = c.config.eos_token_id
    return torch.cat([tokens(c)[:, 1:], torch.full((1, 1), end if isinstance(end, int) else 0)], dim=1)


def separated(c: Context) -> torch.Tensor:
    """[1, tokens] with three separators, which end the question and the text."""
    text = tokens(c)
    text[0, [16, 17, -1]] = c.config.sep_token_id
    return text


def every_other_patch(c: Context) -> torch.Tensor:
    """[1, patches]: half of the patches of a video are hidden."""
    rows, columns = (side // c.config.patch_size for side in image_size(c))
    return torch.arange(c.config.num_frames // c.config.tubelet_size * rows * columns)[None] % 2 == 0


def feature_line(c: Context) -> torch.Tensor:
    """[1, channels, 1, 40]: what a convolutional network makes of a line of text."""
    channels: int = next(layer for layer in c.model.modules() if isinstance(layer, torch.nn.Conv2d)).in_channels
    return c.floats(1, channels, 1, 40)


def atoms(c: Context) -> Any:
    """The atoms of a protein, five for each of its residues."""
    count = 5 * RESIDUES
    residue = torch.arange(count)[None] // 5
    return sys.modules[type(c.model).__module__].EsmFold2AtomInputs(
        ref_pos=c.floats(1, count, 3),
        ref_charge=c.floats(1, count),
        atom_attention_mask=torch.ones(1, count, dtype=torch.bool),
        ref_element=zeros(1, count),
        ref_atom_name_chars=zeros(1, count, 4),
        ref_space_uid=residue,
        atom_to_token=residue,
    )


def latents(c: Context) -> torch.Tensor:
    """[1, hidden, frames] of a codec."""
    return c.floats(1, c.entry("hidden_size", "codebook_dim"), FRAMES)


def stacked(entry: str, factor: Callable[[Context], int]) -> Callable[[Context], torch.Tensor]:
    """[1, frames, bins of several frames]."""
    return lambda c: c.floats(1, SPECTRUM // 4, c.entry(entry) * factor(c))


def session_of(c: Context) -> Any:
    """A session with one frame of a video."""
    names = vars(sys.modules[type(c.model).__module__])
    session_class = next(value for name, value in names.items() if name.endswith("InferenceSession"))
    height, width = image_size(c)
    return session_class(
        video=c.floats(1, 3, height, width),
        video_height=height,
        video_width=width,
        dtype=c.dtype,
        **dict.fromkeys(("inference_device", "inference_state_device", "video_storage_device"), "meta"),
    )


def video_session(c: Context) -> Any:
    """A session with a point on one object, which the first call segments."""
    session = session_of(c)
    point = {"point_coords": c.floats(1, 1, 1, 2), "point_labels": torch.ones(1, 1, 1, dtype=torch.int32)}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, point)
    session.obj_with_new_inputs = [1]
    return session


def text_session(c: Context) -> Any:
    """A session with a word for the objects to find."""
    session = session_of(c)
    word = session.add_prompt("object")
    session.prompt_input_ids[word], session.prompt_attention_masks[word] = zeros(1, 32), ones(1, 32)
    return session


VIDEO: Makers = {"inference_session": video_session, "frame_idx": lambda c: 0}
TIME_SERIES: Makers = {"future_values": lambda c: c.floats(1, c.config.prediction_length)}
QUERIES: Makers = {"pixel_values": image, "input_ids": query_prompt}
FLATTENED: Makers = {"flattened_patches": flattened_patches}
VOCODER: Makers = {"spectrogram": lambda c: c.floats(1, 100, c.entry("model_in_dim", "num_mel_bins"))}
EMBEDDED: Makers = {"input_ids": lambda c: None, "inputs_embeds": hidden(128)}
WORDS: Makers = {"inputs": lambda c: zeros(1, c.config.max_position_embeddings)}
PIXELS: Makers = {"inputs": lambda c: c.floats(1, 3, SIDE, SIDE)}
DECODER_CODEBOOKS: Makers = {"decoder_input_ids": lambda c: zeros(c.config.decoder.num_codebooks, 128)}
CODEBOOKS: Makers = {"input_ids": lambda c: zeros(c.config.num_codebooks, 128)}
CLIP_LENGTHS: Makers = {
    "input_features": lambda c: c.floats(c.config.num_mel_bins, 2 * c.config.n_window * 10),
    "feature_lens": lambda c: torch.tensor([2 * c.config.n_window * 10]),
}
DETR_ENCODER: Makers = {
    "vision_features": lambda c: [c.floats(1, c.config.hidden_size, 72, 72)],
    "text_features": hidden(32),
    "vision_pos_embeds": lambda c: [c.floats(1, c.config.hidden_size, 72, 72)],
}
DETR_DECODER: Makers = {
    "vision_features": hidden(72 * 72),
    "text_features": hidden(32),
    "vision_pos_encoding": hidden(72 * 72),
    "spatial_shapes": lambda c: torch.tensor([[72, 72]]),
}
MASK_DECODER: Makers = {
    "decoder_queries": hidden(200),
    "backbone_features": lambda c: [c.floats(1, c.config.hidden_size, side, side) for side in (288, 144, 72)],
    "encoder_hidden_states": hidden(72 * 72),
}
KIMI: Makers = {"pixel_values": square_patches}
INKLING2: Makers = {"pixel_values": merged_squares}
SHUFFLED: Makers = {"pixel_values": shuffled_images}
PE_VIDEO: Makers = {"pixel_values_videos": lambda c: c.floats(1, 8, 3, 336, 336)}
CHUNKS: Makers = {"input_features": lambda c: c.floats(1, bins(c), 1000)}
ONE_IMAGE: Makers = {"pixel_values": images}
TEXT_LINE: Makers = {"pixel_values": lambda c: c.floats(1, 3, 48, 320)}
FEATURES: Makers = {"hidden_states": feature_line}
PROTEIN: Makers = {
    **dict.fromkeys(("token_index", "residue_index"), lambda c: torch.arange(RESIDUES)[None]),
    **dict.fromkeys(
        ("asym_id", "sym_id", "entity_id", "mol_type", "res_type", "input_ids"), lambda c: zeros(1, RESIDUES)
    ),
    "token_bonds": lambda c: c.floats(1, RESIDUES, RESIDUES, 1),
    "attention_mask": lambda c: torch.ones(1, RESIDUES, dtype=torch.bool),
    "atom_inputs": atoms,
}
TILES: Makers = {"pixel_values": tiles}
PACKED: Makers = {"pixel_values": packed_image, "target_sizes": lambda c: torch.tensor([grid(c, 4)], dtype=torch.int32)}
SEMANTIC_CODEC: Makers = {
    "input_values": lambda c: c.floats(1, 1, SECOND),
    "input_features": lambda c: c.floats(1, 50, c.config.semantic_model_config.feature_projection_input_dim),
}
