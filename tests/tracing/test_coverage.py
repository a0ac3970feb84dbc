"""Networks of every provider have no uncounted operators; `make soak` tests all of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.transformers_families import write_config

from costlab.models import ModelSpec, list_models, profile_of

pytestmark = pytest.mark.slow

TORCHVISION = (
    "alexnet deeplabv3_resnet50 densenet121 efficientnet_b0 fcos_resnet50_fpn googlenet inception_v3"
    " lraspp_mobilenet_v3_large maxvit_t mnasnet1_0 mvit_v2_s quantized_resnet50 r2plus1d_18 raft_small"
    " regnet_y_400mf retinanet_resnet50_fpn s3d shufflenet_v2_x1_0 squeezenet1_1 ssdlite320_mobilenet_v3_large"
    " swin3d_t swin_v2_t vgg16 vit_b_16"
).split()

TIMM = (
    "beit_base_patch16_224 bat_resnext26ts botnet26t_256 cait_s24_224 coat_tiny coatnet_0_224 convit_tiny"
    " convmixer_768_32 convnext_tiny crossvit_tiny_240 cspdarknet53 davit_tiny dla34 dpn68 edgenext_small"
    " efficientformer_l1 efficientvit_b0 eva02_tiny_patch14_224 fastvit_t8 focalnet_tiny_srf gcvit_tiny gernet_s"
    " ghostnet_100 halonet26t hardcorenas_a hgnet_tiny hiera_tiny_224 hrnet_w18 inception_resnet_v2 inception_v4"
    " lambda_resnet26t levit_128 maxvit_nano_rw_256 mambaout_tiny mixer_b16_224 mobilenetv4_conv_small"
    " mobileone_s0 mobilevitv2_050 nasnetalarge nest_tiny nextvit_small nfnet_f0 pit_ti_224 pnasnet5large"
    " poolformer_s12 pvt_v2_b0 repvgg_a0 res2net50_26w_4s resnest14d resnetv2_50 rexnet_100 seresnet18"
    " sequencer2d_s skresnet18 starnet_s1 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_pcpvt_small vgg11_bn"
    " visformer_tiny vitamin_small_224 volo_d1_224 xception41 xcit_nano_12_p8_224"
).split()

TRANSFORMERS = (
    "bart bert clip deepseek_v3 detr gpt2 gpt_oss llama longformer mamba mixtral recurrent_gemma segformer swin"
    " t5 wav2vec2 whisper xlnet"
).split()


@pytest.mark.parametrize(
    "target", [f"torchvision:{n}" for n in TORCHVISION] + [f"timm:{n}" for n in TIMM], ids=lambda t: t
)
def test_nothing_is_uncounted(target):
    profile = profile_of(ModelSpec(target))
    assert profile.uncounted == {}
    assert profile.mult_adds > 0
    assert sum(r.params for r in profile.by_module().values()) == profile.params


@pytest.mark.parametrize("model_type", TRANSFORMERS)
def test_nothing_is_uncounted_in_transformers(model_type, tmp_path):
    profile = profile_of(ModelSpec(write_config(model_type, tmp_path)))
    assert profile.uncounted == {}
    assert profile.estimated == {}
    assert profile.mult_adds > 0


def test_every_provider_lists_its_networks():
    models = list_models()
    assert len(models["torchvision"]) >= 121
    assert len(models["timm"]) >= 1371


def test_llama_mult_adds_are_two_per_token_weight_and_attention(tmp_path):
    """Llama 7B on 128 tokens: every weight but the embedding once a token, and 32 layers of 2 x 128 x 128 x 4096."""
    profile = profile_of(ModelSpec(write_config("llama", tmp_path)))
    projections = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 32000 * 4096
    assert profile.mult_adds == 128 * projections + 32 * 2 * 128 * 128 * 4096
    assert profile.params == projections + 32000 * 4096 + (2 * 32 + 1) * 4096


def test_mixtral_sends_each_token_to_two_of_eight_experts(tmp_path):
    profile = profile_of(ModelSpec(write_config("mixtral", tmp_path)))
    experts = profile.by_kind()["grouped_mm"].mult_adds
    assert experts == 32 * 128 * 2 * 3 * 4096 * 14336


LLAMA_70B = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "dtype": "bfloat16",
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own peak memory from /proc")
def test_seventy_billion_parameters_need_no_memory(tmp_path):
    """Meta's published size of Llama 3 70B is 70,553,706,496 parameters; the process stays below 1.5 GB."""
    target = write_config("llama", tmp_path, **LLAMA_70B)
    script = (
        "import json; from costlab.models import ModelSpec, profile_of; "
        f"p = profile_of(ModelSpec({target!r})); "
        "peak = next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]; "
        "print(json.dumps([p.params, int(peak), p.uncounted]))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    params, kilobytes, uncounted = json.loads(done.stdout.splitlines()[-1])
    assert params == 70_553_706_496
    assert uncounted == {}
    assert kilobytes * 1024 < 1.5e9
