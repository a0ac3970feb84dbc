"""One configuration for each of many transformers families: the defaults of the library, at full size."""

from __future__ import annotations

import json
from pathlib import Path

from costlab.models.providers.transformers import import_transformers

# model_type: architecture
FAMILIES = {
    "albert": "AlbertModel",
    "bart": "BartForConditionalGeneration",
    "beit": "BeitModel",
    "bert": "BertForMaskedLM",
    "big_bird": "BigBirdModel",
    "blip": "BlipModel",
    "bloom": "BloomForCausalLM",
    "clip": "CLIPModel",
    "codegen": "CodeGenForCausalLM",
    "cohere": "CohereForCausalLM",
    "convnext": "ConvNextForImageClassification",
    "deberta": "DebertaModel",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "deformable_detr": "DeformableDetrForObjectDetection",
    "deit": "DeiTModel",
    "depth_anything": "DepthAnythingForDepthEstimation",
    "detr": "DetrForObjectDetection",
    "dinov2": "Dinov2Model",
    "distilbert": "DistilBertModel",
    "electra": "ElectraModel",
    "encodec": "EncodecModel",
    "falcon": "FalconForCausalLM",
    "fnet": "FNetModel",
    "funnel": "FunnelModel",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "glm": "GlmForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "gptj": "GPTJForCausalLM",
    "granite": "GraniteForCausalLM",
    "hiera": "HieraModel",
    "hubert": "HubertModel",
    "jamba": "JambaForCausalLM",
    "layoutlm": "LayoutLMModel",
    "led": "LEDModel",
    "llama": "LlamaForCausalLM",
    "longformer": "LongformerModel",
    "mamba": "MambaForCausalLM",
    "mamba2": "Mamba2ForCausalLM",
    "mbart": "MBartForConditionalGeneration",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "mobilevit": "MobileViTForImageClassification",
    "mpt": "MptForCausalLM",
    "nystromformer": "NystromformerModel",
    "olmo": "OlmoForCausalLM",
    "opt": "OPTForCausalLM",
    "pegasus": "PegasusForConditionalGeneration",
    "phi": "PhiForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "recurrent_gemma": "RecurrentGemmaForCausalLM",
    "roberta": "RobertaForMaskedLM",
    "rwkv": "RwkvModel",
    "sam": "SamModel",
    "segformer": "SegformerForImageClassification",
    "siglip": "SiglipModel",
    "speech_to_text": "Speech2TextForConditionalGeneration",
    "starcoder2": "Starcoder2ForCausalLM",
    "swin": "SwinForImageClassification",
    "t5": "T5ForConditionalGeneration",
    "timesformer": "TimesformerModel",
    "videomae": "VideoMAEModel",
    "vit": "ViTForImageClassification",
    "vit_mae": "ViTMAEModel",
    "wav2vec2": "Wav2Vec2ForCTC",
    "whisper": "WhisperForConditionalGeneration",
    "xlnet": "XLNetModel",
    "yoso": "YosoModel",
    "zamba2": "Zamba2ForCausalLM",
}


def write_config(model_type: str, folder: Path, **changes: object) -> str:
    """Save the default configuration of a family; gives the MODEL that `costlab` takes."""
    transformers = import_transformers()
    config = transformers.AutoConfig.for_model(model_type).to_dict()
    config |= {"model_type": model_type, "architectures": [FAMILIES[model_type]]} | changes
    path = folder / f"{model_type}.json"
    path.write_text(json.dumps(config, default=str))
    return f"hf:{path}"
