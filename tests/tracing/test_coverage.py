"""Networks of every provider have no uncounted operators; `make soak` tests all of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.ci_networks import TIMM, TORCHVISION, TRANSFORMERS
from helpers.transformers_families import write_config

from costlab.models import ModelSpec, list_models, profile_of

pytestmark = pytest.mark.slow


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
