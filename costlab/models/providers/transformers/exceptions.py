"""Inputs of networks whose signature and configuration do not tell their shapes: by model type."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from typing import Any

import torch

from costlab.models.providers.transformers.context import Context
from costlab.models.providers.transformers.images import channels, grid, image_size, images, pair
from costlab.models.providers.transformers.signals import SECOND, SPECTRUM, bins

Makers = dict[str, Callable[[Context], Any]]

STEPS = 20  # of a trajectory
FRAMES = 25  # of a codec


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


def latents(c: Context) -> torch.Tensor:
    """[1, hidden, frames] of a codec."""
    return c.floats(1, c.entry("hidden_size", "codebook_dim"), FRAMES)


def stacked(entry: str, factor: Callable[[Context], int]) -> Callable[[Context], torch.Tensor]:
    """[1, frames, bins of several frames]."""
    return lambda c: c.floats(1, SPECTRUM // 4, c.entry(entry) * factor(c))


def video_session(c: Context) -> Any:
    """A session with one frame and a point on one object, which the first call segments."""
    names = vars(sys.modules[type(c.model).__module__])
    session_class = next(value for name, value in names.items() if name.endswith("InferenceSession"))
    height, width = image_size(c)
    session = session_class(
        video=c.floats(1, 3, height, width),
        video_height=height,
        video_width=width,
        dtype=c.dtype,
        **dict.fromkeys(("inference_device", "inference_state_device", "video_storage_device"), "meta"),
    )
    point = {"point_coords": c.floats(1, 1, 1, 2), "point_labels": torch.ones(1, 1, 1, dtype=torch.int32)}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, point)
    session.obj_with_new_inputs = [1]
    return session


VIDEO: Makers = {"inference_session": video_session, "frame_idx": lambda c: 0}
TIME_SERIES: Makers = {"future_values": lambda c: c.floats(1, c.config.prediction_length)}
KIMI: Makers = {"pixel_values": square_patches}
INKLING2: Makers = {"pixel_values": merged_squares}
SHUFFLED: Makers = {"pixel_values": shuffled_images}
PE_VIDEO: Makers = {"pixel_values_videos": lambda c: c.floats(1, 8, 3, 336, 336)}
CHUNKS: Makers = {"input_features": lambda c: c.floats(1, bins(c), 1000)}
ONE_IMAGE: Makers = {"pixel_values": images}
TILES: Makers = {"pixel_values": tiles}
PACKED: Makers = {
    "pixel_values": packed_image,
    "target_sizes": lambda c: torch.tensor([grid(c, 4)], dtype=torch.int32),
}
SEMANTIC_CODEC: Makers = {
    "input_values": lambda c: c.floats(1, 1, SECOND),
    "input_features": lambda c: c.floats(1, 50, c.config.semantic_model_config.feature_projection_input_dim),
}

MAKERS: dict[str, Makers] = {
    "aria": {"pixel_values": lambda c: c.floats(1, 3, *[35 * c.config.vision_config.patch_size] * 2)},
    "blip_2_qformer": {"encoder_hidden_states": lambda c: c.floats(1, 257, c.config.encoder_hidden_size)},
    "clap": {
        "input_features": lambda c: c.floats(1, 1, 1001, c.config.audio_config.num_mel_bins),
        "is_longer": lambda c: torch.zeros(1, 1, dtype=torch.bool),
    },
    "clvp": {"input_features": lambda c: c.floats(1, c.config.decoder_config.feature_size, SPECTRUM)},
    "csm": {"input_values": lambda c: None},  # its codec has no codes to begin with
    "decision_transformer": {
        "states": lambda c: c.floats(1, STEPS, c.config.state_dim),
        "actions": lambda c: c.floats(1, STEPS, c.config.act_dim),
        "returns_to_go": lambda c: c.floats(1, STEPS, 1),
        "timesteps": lambda c: torch.arange(STEPS)[None],
        "attention_mask": lambda c: ones(1, STEPS),
    },
    "depth_pro": {  # its smallest scale is one patch
        "pixel_values": lambda c: c.floats(1, 3, *[int(c.config.patch_size / min(c.config.scaled_images_ratios))] * 2)
    },
    "dia": {"decoder_input_ids": lambda c: zeros(1, 128, c.config.decoder_config.num_channels)},
    "edgetam_video": VIDEO,
    "efficientloftr": {"pixel_values": image_pair},
    "fun_asr_nano": {"input_features": lambda c: c.floats(1, SPECTRUM // 4, 560)},
    "fun_asr_nano_encoder": {"input_features": lambda c: c.floats(1, SPECTRUM // 4, 560)},
    "fuyu": {"pixel_values": lambda c: c.floats(1, 64, 3 * c.config.patch_size**2)},
    "gemma3n": {  # as many frames as its 188 audio tokens stand for
        "input_features": lambda c: c.floats(1, 3008, bins(c)),
        "input_features_mask": lambda c: torch.ones(1, 3008, dtype=torch.bool),
    },
    "gemma4": {"pixel_values": pooled_patches},
    "gemma4_audio": {"input_features": lambda c: c.floats(1, SPECTRUM, 128)},
    "gemma4_unified": {"pixel_values": merged_patches},
    "gemma4_vision": {"pixel_values": pooled_patches},
    "granite4_vision": TILES,
    "granite_docling": {
        "pixel_values": images,
        "pixel_attention_mask": lambda c: torch.ones(1, 1, dtype=torch.bool),
    },
    "granite_speech5_ctc": {"input_features": lambda c: c.floats(1, SPECTRUM // 4, 320)},
    "granite_speech5_encoder": {"input_features": lambda c: c.floats(1, SPECTRUM // 4, 320)},
    "idefics": {
        "pixel_values": images,
        "image_attention_mask": lambda c: ones(1, c.made["input_ids"].shape[1], 1),
    },
    "idefics2": ONE_IMAGE,
    "idefics3": SHUFFLED,
    "inkling2": INKLING2,
    "inkling2_vision": INKLING2,
    "inkling_mm_model": {"pixel_values": spacetime_patches},
    "kimi_k25": KIMI,
    "kimi_k25_vision": KIMI,
    "kosmos-2": {"image_embeds_position_mask": image_positions},
    "kyutai_speech_to_text": {"input_ids": lambda c: zeros(1, 128, c.config.num_codebooks + 1)},
    "lightglue": {"pixel_values": image_pair},
    "llava_next": TILES,
    "llava_next_video": TILES,
    "llava_onevision": TILES,
    "lxmert": {
        "visual_feats": lambda c: c.floats(1, 36, c.config.visual_feat_dim),
        "visual_pos": lambda c: c.floats(1, 36, c.config.visual_pos_dim),
    },
    "mimi_decoder": {"latents": latents},
    "minicpm_ocr": PACKED,
    "minicpm_ocr_vision": PACKED,
    "minicpmv4_6": PACKED,
    "minicpmv4_7": {**PACKED, "mm_token_type_ids": lambda c: torch.zeros_like(c.made["input_ids"])},
    "minicpmv4_7_vision": PACKED,
    "mllama": {
        "pixel_values": lambda c: c.floats(1, 1, c.config.vision_config.max_num_tiles, channels(c), *image_size(c)),
        "aspect_ratio_ids": lambda c: ones(1, 1),
        "aspect_ratio_mask": lambda c: ones(1, 1, c.config.vision_config.max_num_tiles),
    },
    "modernvbert": SHUFFLED,
    "molmo2": {
        "pixel_values": lambda c: c.floats(1, 729, 3 * c.config.vision_config.patch_size**2),
        "image_token_pooling": lambda c: zeros(196, 4),
        "image_grids": lambda c: torch.tensor([[14, 14, 0, 0]]),
    },
    "moss_transcribe_diarize": {"padding_mask": lambda c: ones(1, c.config.audio_chunk_size)},
    "muse_glimmer_assistant": {
        "noise_embeds": lambda c: c.floats(1, c.config.block_size, c.config.hidden_size),
        "context_hidden_states": lambda c: c.floats(1, 128, c.config.hidden_size * len(c.config.target_layer_ids)),
    },
    "muse_spark_audio": {"input_values": lambda c: c.floats(1, 16 * c.config.samples_per_token)},
    "neomme": {"pixel_values": lambda c: c.floats(64, c.config.patch_dim)},
    "neucodec": SEMANTIC_CODEC,
    "omdet-turbo": {
        "pixel_values": lambda c: c.floats(1, 3, *pair(c.config.image_size)),
        "classes_input_ids": lambda c: zeros(2, 16),
        "classes_attention_mask": lambda c: ones(2, 16),
        "tasks_input_ids": lambda c: zeros(1, 16),
        "tasks_attention_mask": lambda c: ones(1, 16),
        "classes_structure": lambda c: torch.tensor([2]),
    },
    "oneformer": {"task_inputs": lambda c: zeros(1, c.config.task_seq_len)},
    "pe_audio_video": PE_VIDEO,
    "pe_audio_video_encoder": PE_VIDEO,
    "pe_video": PE_VIDEO,
    "pe_video_encoder": PE_VIDEO,
    "perceiver": {"inputs": lambda c: c.floats(1, c.config.max_position_embeddings, c.config.d_model)},
    "pi0": {
        "pixel_values": images,
        "pixel_attention_mask": lambda c: torch.ones(1, 1, dtype=torch.bool),
        "input_ids": image_prompt,
        "action_embeds": lambda c: c.floats(1, 1 + c.config.chunk_size, c.config.dit_config.hidden_size),
    },
    "pocket_tts_audio_tokenizer_decoder": {"latents": latents},
    "qwen2_audio": {"input_ids": audio_prompt(750)},
    "qwen3_asr": CHUNKS,
    "qwen3_asr_encoder": CHUNKS,
    "rf_detr": {"pixel_values": lambda c: c.floats(1, 3, 560, 560)},  # a multiple of patches and windows
    "sam2_video": VIDEO,
    "sam3_tracker_video": VIDEO,
    "seggpt": dict.fromkeys(("pixel_values", "prompt_pixel_values", "prompt_masks"), half_image),
    "smolvlm": SHUFFLED,
    "speech_to_text": {"input_features": lambda c: c.floats(1, SPECTRUM, bins(c))},
    "SpeechT5ForSpeechToSpeech": {"decoder_input_values": lambda c: c.floats(1, 100, c.config.num_mel_bins)},
    "SpeechT5ForTextToSpeech": {"decoder_input_values": lambda c: c.floats(1, 100, c.config.num_mel_bins)},
    "SpeechT5Model": dict.fromkeys(
        ("input_values", "decoder_input_values"), lambda c: c.floats(1, 100, c.config.hidden_size)
    ),
    "t5gemma2": {"pixel_values": lambda c: None},  # 14 patches a side cannot be pooled to 16
    "tvp": {"pixel_values": lambda c: c.floats(1, 1, 3, c.config.max_img_size, c.config.max_img_size)},
    "ultravbert": SHUFFLED,
    "univnet": {"input_features": lambda c: c.floats(1, 100, c.config.num_mel_bins)},
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": lambda c: c.floats(1, c.config.hidden_size, FRAMES)},
    "vibevoice_acoustic_tokenizer_encoder": {"hidden_states": lambda c: c.floats(1, 1, 24_000)},
    "voxtral_realtime": {"input_ids": lambda c: zeros(1, 375)},
    "xclip": {"pixel_values": lambda c: c.floats(1, c.config.vision_config.num_frames, 3, *image_size(c))},
    "xcodec2": SEMANTIC_CODEC,
}


def makers_of(model_type: str, architecture: str) -> Makers:
    """The makers for a type, with those for one of its classes."""
    return {**MAKERS.get(model_type, {}), **MAKERS.get(architecture, {})}
