"""Types of transformers from their default configurations: inputs fit, every tower runs, counts agree with others."""

from __future__ import annotations

import socket

import pytest
import torch
from helpers.transformers_types import NEVER_READ, attempt_type, save_default_config
from torch.utils.flop_counter import FlopCounterMode

from costlab.models import ModelSpec, load, profile_of

TEXT = "albert bert distilbert electra gpt2 opt t5 xglm".split()
VISION = (
    "beit bit convnext convnextv2 cvt data2vec-vision deit dinov2 dinov3_vit dpt focalnet glpn levit mgp-str"
    " mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 poolformer pvt_v2 regnet resnet segformer swiftformer swin"
    " vit vit_mae vit_msn vitdet vivit"
).split()
PATCHES = "siglip2_vision_model gemma4_vision minicpmv4_7_vision qwen3_vl_vision glm_ocr_vision".split()
SOUND = (
    "audio-spectrogram-transformer data2vec-audio hubert mimi_decoder muse_spark_audio sew unispeech univnet"
).split()
SERIES = "decision_transformer patchtsmixer patchtst".split()
TOWERS = "clip git layoutlmv3 owlvit siglip siglip2 xclip".split()
COUNTED = "bert clip deit distilbert dinov2 resnet segformer siglip_vision_model swin vit vit_msn".split()


@pytest.mark.parametrize("model_type", [*TEXT, *VISION, *PATCHES, *SOUND, *SERIES, *TOWERS])
def test_default_inputs_run_all_of_a_network(model_type, tmp_path):
    outcome = attempt_type(model_type, tmp_path)
    assert outcome.error == ""
    assert outcome.uncounted == ()
    assert outcome.guesses == ()
    assert outcome.never_read <= NEVER_READ


@pytest.mark.parametrize("model_type", COUNTED)
def test_torch_counts_the_same_products(model_type, tmp_path):
    target = save_default_config(model_type, tmp_path)
    model, inputs = load(target)
    model = model.to("meta").eval()
    kwargs = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in inputs.kwargs.items()}
    model.set_attn_implementation("eager")
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        model(**kwargs)
    assert 2 * profile_of(ModelSpec(target)).mult_adds == counter.get_total_flops()


def test_no_configuration_opens_a_connection(tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for model_type in ("bert", "detr", "timm_wrapper", "vit"):
        assert attempt_type(model_type, tmp_path).error == ""
