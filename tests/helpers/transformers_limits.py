"""Types that transformers itself cannot run from their default configuration, found by reading what fails.

The coverage run asks transformers alone as well: a type counts as one of these only if that fails too.
"""

from __future__ import annotations

ROTARY = "the default sections of its rotary embedding do not sum to half of the width of a head"
ODD = "the default width of a head is odd"
NO_FORWARD = "the class has no forward pass, only parts that have"
IMAGE_TOKEN = "the default names no image token"
CHANNELS = "the default widths of backbone and neck differ"

CANNOT_RUN: dict[str, str] = {
    "bark": NO_FORWARD,
    "blip-2": IMAGE_TOKEN,
    "chameleon_vqgan": NO_FORWARD,
    "deepseek_ocr2_vision": "the default widths of its two encoders differ",
    "deepseek_v2": "the default has no number of experts for a token",
    "edgetam": CHANNELS,
    "edgetam_vision_model": CHANNELS,
    "emu3_vqgan": NO_FORWARD,
    "glm46v": ROTARY,
    "glm4v": ROTARY,
    "glm4v_moe": ROTARY,
    "glm4v_moe_text": ROTARY,
    "glm4v_text": ROTARY,
    "glm_image": ROTARY,
    "glm_image_text": ROTARY,
    "glm_image_vqmodel": NO_FORWARD,
    "glmga": ROTARY,
    "instructblip": IMAGE_TOKEN,
    "instructblipvideo": IMAGE_TOKEN,
    "llama4_vision_model": "the default width of the adapter is not that of the shuffled pixels",
    "lw_detr": "the default backbone gives no feature map",
    "pp_ocrv6_small_det": CHANNELS,
    "qwen2_5_omni": NO_FORWARD,
    "qwen3_omni_moe_text": ODD,
    "qwen3_omni_moe_thinker": ODD,
    "step3p5": "the default has no sliding window, which its attention asks for",
    "step3p7": "the default has no sliding window, which its attention asks for",
    "uvdoc": CHANNELS,
}
