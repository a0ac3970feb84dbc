"""Inputs of networks whose signature and configuration do not tell their shapes: by model type."""

from __future__ import annotations

from typing import Any

import torch

from costlab.models.providers.transformers.images import channels, grid_thw, image, image_size, images, pair, patches
from costlab.models.providers.transformers.makers import (
    CHUNKS,
    CLIP_LENGTHS,
    CODEBOOKS,
    DECODER_CODEBOOKS,
    DETR_DECODER,
    DETR_ENCODER,
    EMBEDDED,
    FLATTENED,
    FRAMES,
    INKLING2,
    KIMI,
    MASK_DECODER,
    ONE_IMAGE,
    PACKED,
    PE_VIDEO,
    PIXELS,
    QUERIES,
    SEMANTIC_CODEC,
    SHUFFLED,
    STEPS,
    TEXT_LINE,
    TILES,
    VIDEO,
    VOCODER,
    WORDS,
    Makers,
    audio_prompt,
    choices,
    ended,
    every_other_patch,
    half_image,
    hidden,
    image_pair,
    image_positions,
    image_prompt,
    latents,
    merged_patches,
    ones,
    pooled_patches,
    query_prompt,
    separated,
    spacetime_patches,
    square_patches,
    text_session,
    zeros,
)
from costlab.models.providers.transformers.signals import SECOND, SPECTRUM, bins
from costlab.models.providers.transformers.texts import tokens

MAKERS: dict[str, Makers] = {
    "aria": {"pixel_values": lambda c: c.floats(1, 3, *[35 * c.config.vision_config.patch_size] * 2)},
    "blip-2": QUERIES,
    "blip_2_qformer": {"encoder_hidden_states": lambda c: c.floats(1, 257, c.config.encoder_hidden_size)},
    "BlipForQuestionAnswering": {"decoder_input_ids": tokens},
    "blt": {"patch_lengths": lambda c: torch.tensor([[1] + [4] * 31 + [3]])},
    "bridgetower_vision_model": {"image": image},
    "clap": {
        "input_features": lambda c: c.floats(1, 1, 1001, c.config.audio_config.num_mel_bins),
        "is_longer": lambda c: torch.zeros(1, 1, dtype=torch.bool),
    },
    "clap_audio_model": {
        "input_features": lambda c: c.floats(1, 1, 1001, c.config.num_mel_bins),
        "is_longer": lambda c: torch.zeros(1, 1, dtype=torch.bool),
    },
    "clvp": {"input_features": lambda c: c.floats(1, c.config.decoder_config.feature_size, SPECTRUM)},
    "colmodernvbert": SHUFFLED,
    "colqwen2": {"pixel_values": lambda c: patches(c)[None]},
    "csm": {"input_values": lambda c: None},  # its codec has no codes to begin with
    "CsmBackboneModel": {"input_ids": lambda c: zeros(1, 128, c.config.num_codebooks)},
    "decision_transformer": {
        "states": lambda c: c.floats(1, STEPS, c.config.state_dim),
        "actions": lambda c: c.floats(1, STEPS, c.config.act_dim),
        "returns_to_go": lambda c: c.floats(1, STEPS, 1),
        "timesteps": lambda c: torch.arange(STEPS)[None],
        "attention_mask": lambda c: ones(1, STEPS),
    },
    "deepseek_ocr2_encoder": {"inputs_embeds": hidden(256), "num_patches": lambda c: 256},
    "depth_pro": {  # its smallest scale is one patch
        "pixel_values": lambda c: c.floats(1, 3, *[int(c.config.patch_size / min(c.config.scaled_images_ratios))] * 2)
    },
    "dia": {"decoder_input_ids": lambda c: zeros(1, 128, c.config.decoder_config.num_channels)},
    "dia_decoder": {
        "input_ids": lambda c: zeros(1, 128, c.config.num_channels),
        "encoder_hidden_states": hidden(128, "cross_hidden_size"),
    },
    "dots3_note_audio_encoder": {
        "input_features": lambda c: c.floats(1, bins(c), 3000),
        "chunk_sample_lengths": lambda c: torch.tensor([30 * SECOND]),
    },
    "edgetam_video": VIDEO,
    "efficientloftr": {"pixel_values": image_pair},
    "fastspeech2_conformer_hifigan": VOCODER,
    "FlavaForPreTraining": {"return_loss": lambda c: False, "input_ids_masked": tokens},
    "florence_vision": {"hidden_states": image},
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
    "granite_speech_encoder": {"hidden_states": hidden(SPECTRUM, "input_dim")},
    "granite_speech_plus_encoder": {"hidden_states": hidden(SPECTRUM, "input_dim")},
    "idefics": {
        "pixel_values": images,
        "image_attention_mask": lambda c: ones(1, c.made["input_ids"].shape[1], 1),
    },
    "idefics2": ONE_IMAGE,
    "idefics2_perceiver": {"context": hidden(64), "attention_mask": lambda c: ones(1, 64)},
    "idefics3": SHUFFLED,
    "inkling2": INKLING2,
    "inkling2_vision": INKLING2,
    "inkling_audio": {
        "audio_input_ids": lambda c: zeros(1, 128, c.entry("num_codebooks", "n_mel_bins", "num_mel_bins"))
    },
    "inkling_mm_model": {"pixel_values": spacetime_patches},
    "inkling_vision": {"pixel_values": spacetime_patches},
    "instructblip": QUERIES,
    "instructblipvideo": {
        "pixel_values": lambda c: c.floats(1, 4, channels(c), *image_size(c)),
        "input_ids": lambda c: query_prompt(c).repeat_interleave(4, dim=1),
    },
    "janus_vqgan": {"pixel_values": lambda c: c.floats(1, 3, *[16 * c.config.num_patches] * 2)},
    "jev": {
        "marks": lambda c: torch.tensor([[64, 128]]),
        "num_options": lambda c: torch.tensor([[2, 2]]),
        "question_type_ids": lambda c: zeros(1, 2),
    },
    "kimi_k25": KIMI,
    "kimi_k25_vision": KIMI,
    "kosmos-2": {"image_embeds_position_mask": image_positions},
    "kosmos-2.5": {
        **FLATTENED,
        "input_ids": lambda c: zeros(1, c.config.latent_query_num + 128),
        "image_embeds_position_mask": image_positions,
        "width": lambda c: torch.tensor([32]),
        "height": lambda c: torch.tensor([64]),
    },
    "kosmos_2_5_vision_model": FLATTENED,
    "kyutai_speech_to_text": {"input_ids": lambda c: zeros(1, 128, c.config.num_codebooks + 1)},
    "lightglue": {"pixel_values": image_pair},
    "llava_next": TILES,
    "llava_next_video": TILES,
    "llava_onevision": TILES,
    "LongformerForQuestionAnswering": {"input_ids": separated},
    "luke": {
        "entity_ids": lambda c: zeros(1, 2),
        "entity_attention_mask": lambda c: ones(1, 2),
        "entity_position_ids": lambda c: zeros(1, 2, 30),
        "entity_start_positions": lambda c: zeros(1, 2),
        "entity_end_positions": lambda c: zeros(1, 2),
    },
    "lxmert": {
        "visual_feats": lambda c: c.floats(1, 36, c.config.visual_feat_dim),
        "visual_pos": lambda c: c.floats(1, 36, c.config.visual_pos_dim),
    },
    "mimi_decoder": {"latents": latents},
    "minicpm_ocr": PACKED,
    "minicpm_ocr_vision": PACKED,
    "minicpmv4_6": PACKED,
    "minicpmv4_6_vision": PACKED,
    "minicpmv4_7": {**PACKED, "mm_token_type_ids": lambda c: torch.zeros_like(c.made["input_ids"])},
    "minicpmv4_7_vision": PACKED,
    "mllama": {
        "pixel_values": lambda c: c.floats(1, 1, c.config.vision_config.max_num_tiles, channels(c), *image_size(c)),
        "aspect_ratio_ids": lambda c: ones(1, 1),
        "aspect_ratio_mask": lambda c: ones(1, 1, c.config.vision_config.max_num_tiles),
    },
    "mllama_vision_model": {
        "pixel_values": lambda c: c.floats(1, 1, c.config.max_num_tiles, channels(c), *image_size(c)),
        "aspect_ratio_ids": lambda c: ones(1, 1),
        "aspect_ratio_mask": lambda c: ones(1, 1, c.config.max_num_tiles),
    },
    "modernvbert": SHUFFLED,
    "molmo2": {
        "pixel_values": lambda c: c.floats(1, 729, 3 * c.config.vision_config.patch_size**2),
        "image_token_pooling": lambda c: zeros(196, 4),
        "image_grids": lambda c: torch.tensor([[14, 14, 0, 0]]),
    },
    "molmo2_adapter": {
        "image_features": lambda c: c.floats(1, 729, 2 * c.config.hidden_size),  # of two layers
        "pooled_patches_idx": lambda c: torch.arange(196 * 4).reshape(196, 4) % 729,
    },
    "molmo2_vision": {"pixel_values": lambda c: c.floats(1, 729, 3 * c.config.patch_size**2)},
    "moshi_depth": {
        "input_ids": lambda c: zeros(1, c.config.num_codebooks),
        "last_hidden_state": hidden(1, "input_size"),
    },
    "moss_transcribe_diarize": {"padding_mask": lambda c: ones(1, c.config.audio_chunk_size)},
    "muse_glimmer_assistant": {
        "noise_embeds": lambda c: c.floats(1, c.config.block_size, c.config.hidden_size),
        "context_hidden_states": lambda c: c.floats(1, 128, c.config.hidden_size * len(c.config.target_layer_ids)),
    },
    "muse_spark_audio": {"input_values": lambda c: c.floats(1, 16 * c.config.samples_per_token)},
    "musicgen_decoder": CODEBOOKS,
    "musicgen_melody_decoder": CODEBOOKS,
    "MusicgenForConditionalGeneration": DECODER_CODEBOOKS,
    "MusicgenMelodyForConditionalGeneration": {
        **DECODER_CODEBOOKS,
        "input_features": lambda c: c.floats(1, 235, c.config.num_chroma),
    },
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
    "paddleocr_vl": {"pixel_values": lambda c: square_patches(c)[None]},
    "paddleocr_vl_vision": {"pixel_values": lambda c: square_patches(c)[None], "grid_thw": grid_thw},
    "pe_audio_video": PE_VIDEO,
    "pe_audio_video_encoder": PE_VIDEO,
    "pe_video": PE_VIDEO,
    "pe_video_encoder": PE_VIDEO,
    "perceiver": {"inputs": lambda c: c.floats(1, c.config.max_position_embeddings, c.config.d_model)},
    "PerceiverForImageClassificationConvProcessing": PIXELS,
    "PerceiverForImageClassificationFourier": PIXELS,
    "PerceiverForImageClassificationLearned": {"inputs": lambda c: c.floats(1, 3, *[c.config.image_size] * 2)},
    "PerceiverForMaskedLM": WORDS,
    "PerceiverForOpticalFlow": {"inputs": lambda c: c.floats(1, 2, 27, *c.config.train_size)},
    "PerceiverForSequenceClassification": WORDS,
    "phi4_multimodal_audio": {
        "hidden_states": hidden(SPECTRUM, "input_size"),
        "mask": lambda c: torch.ones(1, SPECTRUM, dtype=torch.bool),
    },
    "pi0": {
        "pixel_values": images,
        "pixel_attention_mask": lambda c: torch.ones(1, 1, dtype=torch.bool),
        "input_ids": image_prompt,
        "action_embeds": lambda c: c.floats(1, 1 + c.config.chunk_size, c.config.dit_config.hidden_size),
    },
    "PI0ForConditionalGeneration": {
        "state": lambda c: c.floats(1, c.config.max_state_dim),
        "action_embeds": lambda c: None,
    },
    "pix2struct": FLATTENED,
    "pix2struct_vision_model": FLATTENED,
    "pocket_tts_audio_tokenizer_decoder": {"latents": latents},
    "pop2piano": {"input_ids": lambda c: None},
    "pp_ocrv5_mobile_det": {"hidden_states": image},
    "PPOCRV5ServerRecForTextRecognition": TEXT_LINE,
    "PPOCRV6SmallRecForTextRecognition": TEXT_LINE,
    "PPOCRV6TinyRecForTextRecognition": TEXT_LINE,
    "qwen2_5_omni_audio_encoder": CLIP_LENGTHS,
    "qwen2_5_omni_bigvgan": {"mel_spectrogram": lambda c: c.floats(1, c.config.mel_dim, 100)},
    "qwen2_5_omni_dit": {
        "hidden_states": hidden(100, "mel_dim"),
        "condition_vector": hidden(100, "mel_dim"),
        "speaker_embedding": hidden(100, "enc_emb_dim"),
        "quantized_code": lambda c: zeros(1, 100 // c.config.repeats),
        "time_step": lambda c: c.floats(1),
    },
    "qwen2_audio": {"input_ids": audio_prompt(750)},
    "qwen3_asr": CHUNKS,
    "qwen3_asr_encoder": CHUNKS,
    "qwen3_omni_moe_audio_encoder": CLIP_LENGTHS,
    "qwen3_omni_moe_talker_code_predictor": {"input_ids": lambda c: None, "inputs_embeds": hidden(16)},
    "rag": {
        "context_input_ids": lambda c: zeros(c.config.n_docs, 128),
        "context_attention_mask": lambda c: ones(c.config.n_docs, 128),
        "doc_scores": lambda c: c.floats(1, c.config.n_docs),
    },
    "rf_detr": {"pixel_values": lambda c: c.floats(1, 3, 560, 560)},  # a multiple of patches and windows
    "sam2_video": VIDEO,
    "sam3_detr_decoder": DETR_DECODER,
    "sam3_detr_encoder": DETR_ENCODER,
    "sam3_lite_text_detr_decoder": DETR_DECODER,
    "sam3_lite_text_detr_encoder": DETR_ENCODER,
    "sam3_lite_text_mask_decoder": MASK_DECODER,
    "sam3_mask_decoder": MASK_DECODER,
    "sam3_tracker_video": VIDEO,
    "sam3_video": {"inference_session": text_session, "frame_idx": lambda c: 0},
    "SeamlessM4TTextToUnitForConditionalGeneration": EMBEDDED,
    "SeamlessM4TTextToUnitModel": EMBEDDED,
    "SeamlessM4Tv2TextToUnitForConditionalGeneration": EMBEDDED,
    "SeamlessM4Tv2TextToUnitModel": EMBEDDED,
    "seggpt": dict.fromkeys(("pixel_values", "prompt_pixel_values", "prompt_masks"), half_image),
    "slanet": {"hidden_states": hidden(256, "post_conv_out_channels")},
    "smolvlm": SHUFFLED,
    "speech-encoder-decoder": {"input_values": lambda c: c.floats(1, SECOND)},
    "speech_to_text": {"input_features": lambda c: c.floats(1, SPECTRUM, bins(c))},
    "speecht5_hifigan": VOCODER,
    "SpeechT5ForSpeechToSpeech": {"decoder_input_values": lambda c: c.floats(1, 100, c.config.num_mel_bins)},
    "SpeechT5ForTextToSpeech": {"decoder_input_values": lambda c: c.floats(1, 100, c.config.num_mel_bins)},
    "SpeechT5Model": dict.fromkeys(
        ("input_values", "decoder_input_values"), lambda c: c.floats(1, 100, c.config.hidden_size)
    ),
    "SplinterForPreTraining": {"input_ids": lambda c: torch.full((1, 128), c.config.question_token_id)},
    "superglue": {"pixel_values": image_pair},
    "t5gemma2": {"pixel_values": lambda c: None},  # 14 patches a side cannot be pooled to 16
    "tvp": {"pixel_values": lambda c: c.floats(1, 1, 3, c.config.max_img_size, c.config.max_img_size)},
    "ultravbert": SHUFFLED,
    "univnet": {"input_features": lambda c: c.floats(1, 100, c.config.num_mel_bins)},
    "unlimited_ocr_vision_encoder": {
        "patch_embeds": lambda c: c.floats(
            1, c.config.hidden_size, *(side // pair(c.config.patch_size)[0] for side in image_size(c))
        )
    },
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": lambda c: c.floats(1, c.config.hidden_size, FRAMES)},
    "vibevoice_acoustic_tokenizer_encoder": {"hidden_states": lambda c: c.floats(1, 1, 24_000)},
    "VideoMAEForPreTraining": {"bool_masked_pos": every_other_patch},
    "VisualBertForQuestionAnswering": {"attention_mask": lambda c: ones(1, 128)},
    "VisualBertForRegionToPhraseAlignment": {
        "attention_mask": lambda c: ones(1, 128),
        "region_to_phrase_position": lambda c: zeros(1, 128),
    },
    "voxtral_realtime": {"input_ids": lambda c: zeros(1, 375)},
    "xclip": {"pixel_values": lambda c: c.floats(1, c.config.vision_config.num_frames, 3, *image_size(c))},
    "xclip_vision_model": {"pixel_values": lambda c: c.floats(8, channels(c), *image_size(c))},
    "xcodec2": SEMANTIC_CODEC,
    "xmod": {"lang_ids": lambda c: zeros(1)},
}


# Inputs by the end of a class's name.
HEADS: dict[str, Makers] = {"ForMultipleChoice": {"input_ids": choices}, "Backbone": {"hidden_states": image}}
AFTER_ENCODER: dict[str, Makers] = {"ForSequenceClassification": {"input_ids": ended}}


def makers_of(config: Any, architecture: str) -> Makers:
    """The makers for a type, with those for one of its classes."""
    heads = {**HEADS, **AFTER_ENCODER} if getattr(config, "is_encoder_decoder", False) else HEADS
    head = next((makers for end, makers in heads.items() if architecture.endswith(end)), {})
    return {**head, **MAKERS.get(config.model_type, {}), **MAKERS.get(architecture, {})}
