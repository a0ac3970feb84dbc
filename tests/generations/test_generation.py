"""Language models: a whole generation against the model's own `generate`, caches, memory, precision and parallelism."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from helpers.language_models import save_llama, save_small_config
from torch.utils.flop_counter import FlopCounterMode

import costlab
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.generations._generation import setting_of
from costlab.generations.traces import KEPT, summed_over
from costlab.generations.weights import FORMATS, format_of
from costlab.models.providers.transformers import import_transformers
from costlab.tracing.modules import tensors_in

BATCH, PROMPT, GENERATE = 2, 12, 9
FAMILIES = (  # grouped queries, sliding windows, soft caps, learned positions, states, mixtures of experts
    "llama mistral gemma2 gemma3_text phi gpt2 opt bloom qwen3 cohere2 stablelm persimmon exaone4 smollm3 mamba mixtral"
    " gpt_oss qwen3_moe olmo2 granite starcoder2 gpt_neox"
).split()


def setting(reference, **changes):
    arguments = {"device": None, "weights": None, "cache": "bf16", "tp": 1, "engine": "eager", "checkpoint": None}
    return setting_of(reference, **{**arguments, **changes}, arguments=None)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_generation_is_what_the_model_itself_computes(family, tmp_path):
    eager = {"attn_implementation": "eager"}  # written out, so that torch's counter sees every product
    ours = costlab.generation(
        save_small_config(family, tmp_path, **eager), batch=BATCH, prompt=PROMPT, generate=GENERATE
    )
    transformers = import_transformers()
    config = transformers.AutoConfig.from_pretrained(tmp_path, **eager, experts_implementation="eager")
    owner = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model = owner._from_config(config, dtype=torch.bfloat16).eval()
    ids = torch.randint(2, 300, (BATCH, PROMPT))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=GENERATE, min_new_tokens=GENERATE, do_sample=False
        )
        output = model(ids, use_cache=True)
    cache = getattr(output, "past_key_values", None) or output.cache_params
    assert ours.mult_adds == counter.get_total_flops() // 2 - model_pass(model, ids)
    held = {id(t): t for t in tensors_in(cache) if t.dim()}.values()
    assert ours.cache_bytes == sum(t.numel() * t.element_size() for t in held)
    assert ours.params == sum(p.numel() for p in model.parameters())


def model_pass(model, ids):
    """Mult-adds of one forward pass over the prompts with all logits."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(ids, use_cache=True)
    return counter.get_total_flops() // 2


def test_linear_layers_see_each_token_once_and_attention_what_each_query_sees(tmp_path):
    reference = save_small_config("llama", tmp_path)
    g = costlab.generation(reference, batch=BATCH, prompt=PROMPT, generate=GENERATE)
    hidden, wide, heads, pairs, size, words, layers = 64, 96, 4, 2, 16, 320, 2
    linear = layers * (hidden * size * (heads + 2 * pairs) + heads * size * hidden + 3 * hidden * wide)
    tokens = PROMPT + GENERATE - 1
    scores = sum(range(1, tokens + 1))
    expected = tokens * linear + GENERATE * hidden * words + layers * heads * scores * 2 * size
    assert g.computed_mult_adds == BATCH * expected
    hidden_scores = PROMPT * PROMPT - sum(range(1, PROMPT + 1))
    assert g.mult_adds - g.computed_mult_adds == BATCH * layers * heads * hidden_scores * 2 * size


def test_a_sum_over_contexts_is_exact_with_and_without_kinks():
    asked = []

    def window(n):
        asked.append(n)
        return 3 * min(n, 700) + (n // 1000) * 7

    assert summed_over(window, 5, 4000) == sum(window(n) for n in range(5, 4001))
    asked.clear()
    assert summed_over(lambda n: asked.append(n) or 5 * n + 2, 10, 10_000) == sum(5 * n + 2 for n in range(10, 10_001))
    assert len(asked) == 4


def test_a_sliding_window_ends_the_growth_of_the_cache(tmp_path):
    s = setting(save_small_config("mistral", tmp_path))
    sizes = [s.cache_bytes(1, n) for n in (4, 7, 20, 100)]
    assert sizes[0] < sizes[1] == sizes[2] == sizes[3]


@pytest.mark.slow
def test_active_parameters_are_the_published_ones(tmp_path):
    """Publishers count the input embedding (one row of which a token reads) or leave it out of the active parameters.

    Mixtral 8x7B: 46.7 and 12.9 billion (arXiv 2401.04088); Qwen3: 30.5 and 3.3, 235 and 22 (arXiv 2505.09388), with it.
    DeepSeek-V3: 671 and 36.7 (README_WEIGHTS.md of its repository; both without the module for several tokens) and
    gpt-oss-120b: 116.83 and 5.13 (arXiv 2508.10925, table 1), without it. Figures of two digits may have been cut
    rather than rounded: Qwen3's 3.3 is 3.35.
    """
    transformers = import_transformers()
    qwen = {"num_hidden_layers": 48, "num_key_value_heads": 4, "head_dim": 128}
    large = {"hidden_size": 4096, "num_hidden_layers": 94, "num_attention_heads": 64, "moe_intermediate_size": 1536}
    published = {
        (46.7e9, 12.9e9, True): transformers.MixtralConfig(num_key_value_heads=8),
        (30.5e9, 3.3e9, True): transformers.Qwen3MoeConfig(**qwen),
        (235e9, 22e9, True): transformers.Qwen3MoeConfig(**{**qwen, **large}),
        (671e9, 36.7e9, False): transformers.DeepseekV3Config(),
        (116.83e9, 5.13e9, False): transformers.GptOssConfig(),
    }
    for (total, active, embedding), config in published.items():
        config.save_pretrained(tmp_path)
        traces = setting(str(tmp_path)).traces
        assert traces.params == pytest.approx(total, rel=0.002)
        found = traces.active_params - (0 if embedding else traces.embedding_params)
        assert found == pytest.approx(active, rel=0.01) or int(found / 1e8) == round(active / 1e8)


def test_a_step_reaches_the_expected_number_of_distinct_experts(tmp_path):
    experts = setting(save_small_config("mixtral", tmp_path)).traces.experts
    assert (experts.number, experts.chosen) == (4, 2)
    torch.manual_seed(0)
    drawn = torch.rand(20_000, 5, 4).topk(2).indices
    distinct = torch.zeros(20_000, 4).scatter_(1, drawn.flatten(1), 1.0).sum(1).mean().item()
    assert experts.reached(5) == pytest.approx(distinct, rel=0.01)
    assert experts.reached(1) == 2


@pytest.mark.parametrize("name", FORMATS)
def test_low_precision_changes_bytes_and_nothing_else(name, tmp_path):
    reference = save_llama(tmp_path, num_hidden_layers=2)
    full, low = (costlab.generation(reference, prompt=64, generate=2, weights=w) for w in (None, name))
    assert low.mult_adds == full.mult_adds
    assert low.cache_bytes == full.cache_bytes
    matrices = 2 * (4096 * 4096 * 2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    form = FORMATS[name]
    rows = {4096: matrices - 2 * 4096 * 14336, 14336: 2 * 4096 * 14336}  # by the length of a row
    scales = sum(count // (form.group or length) for length, count in rows.items())
    saved = 2 * matrices - (matrices * form.bits + scales * form.scale_bits) / 8
    assert full.param_bytes - low.param_bytes == pytest.approx(saved, abs=8)
    assert full.decode.bytes_accessed - low.decode.bytes_accessed == pytest.approx(saved, abs=100)


def test_a_quantised_configuration_says_how_it_is_stored(tmp_path):
    int4 = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    reference = save_llama(tmp_path, num_hidden_layers=2)
    path = Path(reference) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": int4}))
    assert costlab.generation(reference, prompt=8, generate=1).weights == "gptq"
    for described, bits in (
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}, 4),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, 4),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            8,
        ),
    ):
        assert format_of(described).bits == bits
    with pytest.raises(CostlabError, match="name its size with --weights"):
        format_of({"quant_method": "of tomorrow"})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"quant_method": "gptq", "bits": "four"}, "has bits 'four': a number up to 32"),
        ({"quant_method": "gptq", "bits": -4}, "has bits -4"),
        ({"quant_method": "awq", "bits": 2**40}, "has bits 1099511627776"),
        ({"quant_method": "awq", "group_size": 1.5}, "has group_size 1.5"),
        ({"quant_method": "awq", "modules_to_not_convert": [None, 3]}, "keeps the modules"),
        ({"quant_method": "awq", "modules_to_not_convert": "lm_head"}, "keeps the modules"),
        ({"quant_method": "fp8", "weight_block_size": "128x128"}, "block size '128x128'"),
        ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "block size"),
        ({"quant_method": "hqq", "quant_config": {"nbits": "x"}}, "has nbits 'x'"),
        ({}, "method '' is unknown"),
    ],
)
def test_a_broken_quantisation_is_one_line(entries, message):
    with pytest.raises(CostlabError, match=re.escape(message)) as caught:
        format_of(entries)
    assert "\n" not in str(caught.value)


def test_a_group_of_minus_one_is_a_row():
    assert format_of({"quant_method": "gptq", "bits": 4, "group_size": -1}).group is None


@pytest.mark.parametrize("family", ["llama", "gemma2", "mixtral", "qwen3_moe", "phi3"])
def test_a_device_holds_its_part_of_a_split_network(family, tmp_path):
    reference = save_small_config(family, tmp_path)
    whole, part = (setting(reference, tp=n).traces for n in (1, 2))
    sizes = [sum(p.numel() for p in t.language.model.parameters()) for t in (whole, part)]
    assert part.params == whole.params == sizes[0]
    assert part.embedding_params == whole.embedding_params
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)  # norms and routers are whole on each
    linear = [t.prefill(1, 16).profile.by_kind()["linear"].mult_adds for t in (whole, part)]
    assert linear[1] == pytest.approx(linear[0] / 2, rel=0.02)
    size, calls = part.plan.reduced_bytes(part.prefill(1, 16).profile)
    gathered = 2 * 2 if family == "phi3" else 0  # its query, key, value and gate products are gathered whole
    buffers = sum(b.numel() * b.element_size() for b in part.language.model.buffers())
    whole_twice = 2 * 2 * (sizes[1] - sizes[0] / 2)  # in bfloat16: half of what is whole is there beyond a half
    assert part.whole_bytes - buffers == pytest.approx(whole_twice, abs=8)
    assert calls == 2 * 2 + 2 + gathered  # attention and MLP of each layer, the embedding, the logits
    assert size >= 5 * 16 * 64 * 2  # sums of one hidden state each


@pytest.mark.slow
def test_predictions_say_whether_it_fits_and_for_which_engine(tmp_path):
    reference = save_llama(tmp_path, num_hidden_layers=4, hidden_size=8192, intermediate_size=28672)
    eager, graphs, vllm = (
        costlab.generation(reference, device="rtx4090", prompt=512, generate=8, engine=engine, batch=batch)
        for engine, batch in (("eager", 1), ("graphs", 1), ("vllm", 2048))
    )
    assert eager.fits
    assert eager.predicted_seconds > graphs.predicted_seconds  # launches
    assert vllm.rounds > 1
    assert "rounds" in vllm.warnings[0]
    assert graphs.decode.bound == "weights"
    both = costlab.generation(reference, device="a100-40gb", prompt=512, generate=8, tp=2, engine="graphs")
    assert both.decode.parts["communication"] > 0
    big = costlab.generation(save_llama(tmp_path, num_hidden_layers=60), device="rtx4090", prompt=64, generate=1)
    assert big.fits is False
    assert "does not fit: " in big.warnings[0]
    assert big.largest_batch == 0


def test_the_largest_batch_fits_and_one_more_does_not(tmp_path):
    s = setting(save_llama(tmp_path, num_hidden_layers=8), device="rtx4090")
    most = s.largest_batch(2048, 256)
    assert s.peak_bytes(most, 2048, 256) <= s.device.memory < s.peak_bytes(most + 1, 2048, 256)


@pytest.mark.parametrize("engine", ["eager", "vllm"])
def test_the_longest_prompt_fits_and_a_longer_one_does_not(engine, tmp_path):
    s = setting(save_llama(tmp_path, num_hidden_layers=4), device="rtx4090", engine=engine)
    most = s.longest_context(1, 1024)
    room = s.engine.memory_share * s.device.memory
    assert most > 16 * 1024
    assert s.peak_bytes(1, round(0.98 * most), 1) <= room < s.peak_bytes(1, round(1.02 * most), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tp", "3"], "does not divide the 4 attention heads"),
        (["--engine", "vlm"], "did you mean 'vllm'?"),
        (["--weights", "int3"], "no weight type 'int3'"),
        (["--cache", "int2"], "no cache type 'int2'"),
        (["--prompt", "0"], "prompt must be a positive integer"),
        (["--over", "batch=1,x"], "write --over batch=1,8,32"),
        (["--over", "batch=1", "--over", "batch=2"], "given twice"),
        (["--device", "raspberry-pi-5", "--tp", "2"], "raspberry-pi-5 has no link to other devices"),
        (["--checkpoint", "missing.gguf"], "does not exist"),
    ],
)
def test_bad_input_is_one_line(options, message, tmp_path, capsys):
    assert run(["llm", f"hf:{save_small_config('llama', tmp_path)}", *options]) == 2
    assert message in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 80])
def test_reports_fit_the_terminal(width, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    reference = f"hf:{save_small_config('mixtral', tmp_path)}"
    for options in ([], ["--device", "h100", "--tp", "2"], ["--device", "h100", "--over", "batch=1,1000"]):
        assert run(["llm", reference, "--prompt", "16", "--generate", "4", *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)


def test_a_long_sweep_keeps_few_steps(tmp_path):
    s = setting(save_small_config("llama", tmp_path))
    for batch in range(1, 12):
        rows = s.generation(batch, 8, 2).without_profiles()
        assert rows.decode.profile is None
        assert rows.decode.mult_adds > 0
    assert max(len(s.traces._prefills), len(s.traces._decodes)) <= KEPT


@pytest.mark.parametrize(
    ("family", "message"), [("bert", "is an encoder"), ("t5", "encoder"), ("vit", "generates text")]
)
def test_networks_that_generate_no_text_are_refused(family, message, tmp_path):
    with pytest.raises(CostlabError, match=message):
        costlab.generation(save_small_config(family, tmp_path), prompt=8000, generate=2)


def test_a_table_of_positions_ends_and_others_are_exceeded_with_a_warning(tmp_path):
    with pytest.raises(CostlabError, match="has a table of 256 positions"):
        costlab.generation(save_small_config("gpt2", tmp_path), prompt=256, generate=1)
    beyond = costlab.generation(save_small_config("llama", tmp_path), prompt=256, generate=1)
    assert "beyond the 256 positions" in beyond.warnings[0]


@pytest.mark.slow
def test_every_format_shows_the_same_numbers(tmp_path, capsys):
    reference = f"hf:{save_small_config('qwen3_moe', tmp_path)}"

    def shown(*options):
        assert run(["llm", reference, "--prompt", "16", "--generate", "4", *options]) == 0
        return capsys.readouterr().out

    data = json.loads(shown("--device", "h100", "--format", "json"))
    direct = costlab.generation(reference, device="h100", prompt=16, generate=4)
    assert data == {"schema_version": 1, "costlab": costlab.__version__, **json.loads(json.dumps(direct.data()))}
    text = shown("--device", "h100")
    assert "prefill (TTFT)" in text
    assert "2.0 of 4 in each layer" in text
    table = json.loads(shown("--over", "batch=1,2", "--over", "context=8,16", "--format", "json"))["generations"]
    assert [(row["batch"], row["prompt"]) for row in table] == [(1, 8), (1, 16), (2, 8), (2, 16)]
    assert len(shown("--over", "batch=1,2", "--format", "csv").splitlines()) == 3
    assert "| 2 | 16 |" in shown("--over", "batch=1,2", "--format", "markdown")
    assert "prefill (TTFT)" in direct._repr_html_()


def test_the_peak_of_prefill_is_what_an_h100_allocated(tmp_path):
    """Measured on an H100 with torch 2.11, transformers 5.17: `max_memory_allocated` less what was there before."""
    sizes = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
    traces = setting(save_llama(tmp_path, **sizes)).traces
    for batch, length, measured in ((1, 512, 50_470_912), (8, 2048, 1_611_284_480), (32, 2048, 6_443_515_904)):
        assert traces.prefill(batch, length).peak_bytes == pytest.approx(measured, rel=0.015)
