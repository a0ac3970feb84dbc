"""Types of transformers from their default configurations: inputs fit, every tower runs, counts agree with others."""

from __future__ import annotations

import json
import re
import socket

import pytest
import torch
from helpers.transformers_types import NEVER_READ, attempt_type, save_default_config, without_costlab
from torch.utils.flop_counter import FlopCounterMode

from costlab.cli import run
from costlab.errors import CostlabError
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


@pytest.mark.slow
@pytest.mark.parametrize("model_type", [*TEXT, *VISION, *PATCHES, *SOUND, *SERIES, *TOWERS])
def test_default_inputs_run_all_of_a_network(model_type, tmp_path):
    outcome = attempt_type(model_type, tmp_path)
    assert outcome.error == ""
    assert outcome.uncounted == ()
    assert outcome.guesses == ()
    assert outcome.never_read <= NEVER_READ


HEADS = {
    "BertForMultipleChoice": "bert",
    "BlipForQuestionAnswering": "blip",
    "LukeForEntityPairClassification": "luke",
    "PerceiverForMaskedLM": "perceiver",
    "SplinterForPreTraining": "splinter",
    "T5ForSequenceClassification": "t5",
    "VideoMAEForPreTraining": "videomae",
}
PARTS = "pix2struct_vision_model sam3_detr_decoder speecht5_hifigan superglue xclip_vision_model".split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "architecture"), [*((t, h) for h, t in HEADS.items()), *((part, "") for part in PARTS)]
)
def test_heads_and_parts_get_the_inputs_that_they_need(model_type, architecture, tmp_path):
    outcome = attempt_type(model_type, tmp_path, architecture)
    assert (outcome.error, outcome.uncounted) == ("", ())
    assert outcome.mult_adds > 0
    assert architecture in ("", outcome.network)


SMALL = {"intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 300}


def vision_language(text_width: int) -> dict[str, object]:
    """A small Qwen2-VL whose vision tower gives features 64 wide."""
    text = {**SMALL, "model_type": "qwen2_vl_text", "hidden_size": text_width, "num_key_value_heads": 2}
    sections = [text_width // 8, text_width // 16, text_width // 16]
    rope = {"rope_type": "default", "mrope_section": sections, "rope_theta": 1e4}
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2}
    return {
        "model_type": "qwen2_vl",
        "text_config": {**text, "rope_parameters": rope},
        "vision_config": vision,
        **{f"{name}_token_id": 290 + n for n, name in enumerate(("image", "video", "vision_start", "vision_end"))},
    }


def test_a_vision_language_network_gets_an_image_and_its_tokens(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(vision_language(64)))
    profile = profile_of(ModelSpec(f"hf:{tmp_path}"))
    shapes = {i.name: i.shape for i in profile.trace.inputs}
    assert shapes["pixel_values"] == (256, 3 * 2 * 14 * 14)
    assert shapes["input_ids"] == (1, 8 + 16 * 16 // 4 + 8)
    assert profile.never_ran == {}


def test_a_tower_that_does_not_fit_is_said_to_have_never_run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(vision_language(128)))
    profile = profile_of(ModelSpec(f"hf:{tmp_path}"))
    assert {i.name for i in profile.trace.inputs} == {"input_ids"}
    assert set(profile.never_ran) == {"visual"}
    why = "does not fit, its features are 64 wide, the embeddings of the text 128"
    assert profile.inputs_not_given == f"pixel_values: the vision tower of this configuration {why}"


def test_features_may_be_projected_after_the_tower(tmp_path):
    text = {**SMALL, "model_type": "llama4_text", "hidden_size": 32, "intermediate_size_mlp": 64, "head_dim": 16}
    vision = {
        **SMALL,
        "model_type": "llama4_vision_model",
        "hidden_size": 16,
        "image_size": 56,
        "vision_output_dim": 48,
    }
    sizes = {"projector_input_dim": 48, "projector_output_dim": 48}
    config = {
        "model_type": "llama4",
        "architectures": ["Llama4ForConditionalGeneration"],
        "image_token_index": 299,
        "text_config": {**text, "num_key_value_heads": 2, "num_local_experts": 2},
        "vision_config": {**vision, **sizes},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    profile = profile_of(ModelSpec(f"hf:{tmp_path}"))
    assert {i.name: i.shape for i in profile.trace.inputs}["input_ids"] == (1, 8 + 4 + 8)
    assert profile.never_ran == {}


@pytest.mark.slow
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


@pytest.fixture
def no_connections(monkeypatch):
    """Whoever opens a connection, or asks for an address, is told off."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


BERT = {"model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": 1}
REMOTE = {  # configurations that name something elsewhere
    "timm_backbone": {"model_type": "timm_backbone", "backbone": "resnet18", "use_pretrained_backbone": True},
    "timm hub": {"model_type": "timm_backbone", "backbone": "hf_hub:owned/x", "use_pretrained_backbone": True},
    "timm_wrapper": {
        "model_type": "timm_wrapper",
        "architecture": "resnet18",
        "pretrained_cfg": {"hf_hub_id": "owned/x", "file": "/etc/passwd"},
        "model_args": {"pretrained": True},
    },
    "timm_wrapper hub": {"model_type": "timm_wrapper", "architecture": "hf-hub:owned/x"},
    "detr": {"model_type": "detr", "use_timm_backbone": True, "backbone": "resnet50", "use_pretrained_backbone": True},
    "detr hub": {
        "model_type": "detr",
        "use_timm_backbone": False,
        "backbone": "owned/x",
        "use_pretrained_backbone": True,
    },
    "name": {**BERT, "_name_or_path": "owned/x", "trust_remote_code": True},
    "experts": {**BERT, "experts_implementation": "kernels-community/x"},
    "quantized": {**BERT, "quantization_config": {"quant_method": "gptq", "bits": 4}},
}
REFUSED = {  # with what the line says
    "kernel": ({**BERT, "attn_implementation": "kernels-community/flash-attn"}, "names a kernel outside transformers"),
    "nested code": ({"model_type": "llava", "text_config": {"auto_map": {"AutoModel": "x.Y"}}}, "auto_map"),
    "activation": ({**BERT, "hidden_act": "__import__('os')"}, "KeyError"),
    "dtype": ({**BERT, "torch_dtype": "os.system"}, "rejects the configuration"),
    "architecture": ({**BERT, "architectures": ["Trainer"]}, "Trainer"),
    "layers": ({**BERT, "num_hidden_layers": 100_000}, "num_hidden_layers is 100,000; at most 1,024"),
    "stages": ({"model_type": "swin", "depths": [600, 600, 1, 1]}, "depths is 1,202; at most 1,024"),
    "labels": ({**BERT, "num_labels": 10**9}, "num_labels is 1,000,000,000; at most 16,777,216"),
    "channels": ({"model_type": "wav2vec2", "conv_dim": [10**9] * 7}, "conv_dim is 1,000,000,000"),
}


@pytest.mark.parametrize("name", REMOTE)
def test_what_a_configuration_names_elsewhere_is_never_asked_for(name, tmp_path, no_connections, capsys):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(REMOTE[name]))
    assert run(["report", f"hf:{path}"]) in (0, 2)
    error = capsys.readouterr().err
    assert "connection was opened" not in error
    assert error.count("\n") <= 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_network_can_be_built_of_is_refused_in_one_line(name, tmp_path, no_connections):
    config, what = REFUSED[name]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(CostlabError, match=re.escape(what)) as failure:
        profile_of(ModelSpec(f"hf:{path}"))
    assert "\n" not in str(failure.value)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", "bloom detr mixtral t5 wav2vec2".split())
def test_transformers_alone_has_as_many_mult_adds(model_type, tmp_path):
    answer = without_costlab(model_type)
    assert answer["counted"] == attempt_type(model_type, tmp_path).mult_adds > 0


@pytest.mark.parametrize("model_type", ["glm4v_text", "autoformer", "sam_mask_decoder"])
def test_what_transformers_cannot_is_told_apart(model_type):
    assert "transformers " in without_costlab(model_type)["refused"]


def test_no_configuration_opens_a_connection(tmp_path, no_connections):
    for model_type in ("bert", "detr", "timm_wrapper", "vit"):
        assert attempt_type(model_type, tmp_path).error == ""
