"""Engines read a cache once, in place: whatever a model does with it, the bytes are those that its cache holds."""

from __future__ import annotations

import pytest
from helpers.language_models import save_small_config

from costlab.generations._generation import setting_of
from costlab.generations.cache_kernels import engine_mult_adds, with_cache_kernels

BATCH, CONTEXT = 2, 40
LATENT = {"qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "qk_head_dim": 32, "v_head_dim": 16, "kv_lora_rank": 32}


def setting(reference, **changes):
    arguments = {"device": None, "weights": None, "cache": "bf16", "tp": 1, "engine": "vllm", "checkpoint": None}
    return setting_of(reference, **{**arguments, **changes}, arguments=None)


def kernels_of(family, folder, **entries):
    traces = setting(save_small_config(family, folder, **entries)).traces
    step = traces.decode(BATCH, CONTEXT)
    rest, kernels = with_cache_kernels(step.profile, BATCH)
    return traces, step.profile, rest, kernels


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt_oss", "phi3", "gpt2", "bloom", "qwen3"])
def test_attention_reads_what_the_cache_holds(family, tmp_path):
    traces, traced, rest, kernels = kernels_of(family, tmp_path)
    assert len(kernels) == 2  # layers
    assert sum(k.cache_bytes for k in kernels) == traces.prefill(BATCH, CONTEXT).cache_bytes
    left = sum(c.mult_adds for op, c in zip(rest.ops, rest.costs, strict=True) if c and not op.free)
    assert left + sum(k.mult_adds for k in kernels) == traced.mult_adds
    assert all(k.weight_bytes == 0 for k in kernels)


def test_states_are_read_and_written(tmp_path):
    traces, _, _, kernels = kernels_of("mamba", tmp_path)
    assert sum(k.cache_bytes for k in kernels) == 2 * traces.prefill(BATCH, CONTEXT).cache_bytes


def test_a_latent_cache_is_not_expanded(tmp_path):
    """The query is multiplied with the weights that would expand the keys (DeepSeek-V2, arXiv 2405.04434, 2.1.2)."""
    traces, traced, _, kernels = kernels_of("deepseek_v3", tmp_path, **LATENT, num_key_value_heads=4)
    assert sum(k.cache_bytes for k in kernels) == traces.prefill(BATCH, CONTEXT).cache_bytes
    assert {k.weight_bytes for k in kernels} == {2 * 4 * (16 + 16) * 32}
    assert {k.mult_adds for k in kernels} == {BATCH * (CONTEXT + 1) * 4 * 2 * 32}
    assert engine_mult_adds(traces.decode(1, CONTEXT).profile) < traces.params + 2 * 4 * (CONTEXT + 1) * 2 * 32
    assert traced.mult_adds > 2 * BATCH * (CONTEXT + 1) * 4 * (16 + 16) * 32  # what the model itself expands


@pytest.mark.slow
def test_a_narrow_cache_takes_less_time(tmp_path):
    reference = save_small_config("llama", tmp_path)
    for engine in ("eager", "graphs", "vllm"):
        wide, narrow = (
            setting(reference, device="h100", engine=engine, cache=cache).generation(8, 200, 2)
            for cache in ("bf16", "fp8")
        )
        assert narrow.decode.parts["cache"] == pytest.approx(wide.decode.parts["cache"] / 2, rel=0.05)
