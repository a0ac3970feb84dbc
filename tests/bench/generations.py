"""How far predicted generations are from published ones: docs/language-models.md says where they are.

    python tests/bench/generations.py --engines argonne.csv --prefill decoding.jsonl          # judge
    python tests/bench/generations.py --engines argonne.csv --prefill decoding.jsonl --page docs/language-models.md

The factors of each engine are fitted on one card's rows of one device and printed; `costlab.generations.engines` has
them as literals.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from costlab.formatting.table import markdown_row
from costlab.formatting.units import percent
from costlab.generations._generation import Setting, setting_of
from costlab.generations.engines import ENGINES

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
MODELS: dict[str, dict[str, Any]] = {  # sizes of published configurations
    "meta-llama/Llama-2-7b-hf": {
        **LLAMA, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
    },
    "meta-llama/Meta-Llama-3-8B": {
        **LLAMA, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
    },
    "mistralai/Mistral-7B-v0.1": {
        "model_type": "mistral", "architectures": ["MistralForCausalLM"], "tie_word_embeddings": False,
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768, "sliding_window": 4096,
    },
    "Qwen/Qwen2-7B": {
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": False,
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768,
    },
    "meta-llama/Llama-2-70b-hf": {
        **LLAMA, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
        "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 4096,
    },
    "mistralai/Mixtral-8x7B-v0.1": {
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "tie_word_embeddings": False,
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768, "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
}  # fmt: skip
SIZES = ("7 to 8 billion parameters", "Mixtral-8x7B", "Llama-2-70b")  # groups of models; names but for the first
FRAMEWORKS = {"vLLM": "vllm", "TensorRT-LLM": "tensorrt-llm"}
DEVICE = "a100-40gb"
PLAIN: dict[str, Any] = {"weights": None, "cache": "bf16", "checkpoint": None, "arguments": None}
BOUNDS = ([0.5, 0.0], [3.0, 1e-2])  # of the two factors


class Row(NamedTuple):
    """A published generation beside the parts of its prediction."""

    engine: str
    model: str
    devices: int
    measured: float
    kernels: float  # predicted seconds of its kernels
    steps: float  # of prefill and decode, in all rounds


def published(path: Path) -> Iterable[dict[str, str]]:
    """The rows of models with a known configuration."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.DictReader(file) if row["Model"] in MODELS)


def rows_of(path: Path, folder: Path) -> list[Row]:
    """All rows that fit into the memory, with the engines' factors taken out of the prediction."""
    settings: dict[tuple[str, int], Setting] = {}
    times: dict[tuple[str, int, int, int], tuple[float, float] | None] = {}
    rows = []
    for row in published(path):
        model, devices = row["Model"], int(row["Num of Hardware"])
        length, batch = int(row["Input Output Length"]), int(row["Batch Size"])
        if (model, devices) not in settings:
            settings[model, devices] = setting(model, devices, folder)
        key = model, devices, length, batch
        if key not in times:
            times[key] = parts(settings[model, devices], batch, length)
        found = times[key]
        if found is not None:
            rows.append(Row(FRAMEWORKS[row["Framework"]], model, devices, float(row["Latency"]), *found))
    return rows


def setting(model: str, devices: int, folder: Path) -> Setting:
    """A model on some devices, with an engine without factors."""
    path = folder / f"{model.replace('/', '-')}.json"
    path.write_text(json.dumps(MODELS[model]))
    made = setting_of(str(path), device=DEVICE, tp=devices, engine="vllm", **PLAIN)
    return replace(made, engine=replace(ENGINES["vllm"], device_factor=1.0, step_seconds=0.0))


def parts(made: Setting, batch: int, length: int) -> tuple[float, float] | None:
    """Seconds of kernels, and steps, of prompts and answers of this length; None: it does not fit."""
    largest = made.largest_batch(length, length)
    if not largest:
        return None
    rounds = -(-batch // largest)
    sequences = -(-batch // rounds)
    seconds = made.seconds(sequences, length, length)[2]
    assert seconds is not None
    return rounds * seconds, float(rounds * length)


def fitted(rows: Sequence[Row]) -> np.ndarray:
    """The factor of kernels and the seconds for each step that explain rows best."""
    measured, kernels, steps = (np.array([getattr(r, key) for r in rows]) for key in ("measured", "kernels", "steps"))
    start = np.array([1.2, 3e-3])
    result = least_squares(
        lambda p: np.log((p[0] * kernels + p[1] * steps) / measured), start, loss="soft_l1", f_scale=0.1,
        x_scale=start, bounds=BOUNDS,
    )  # fmt: skip
    return np.asarray(result.x)


def judged(rows: Sequence[Row], factors: Sequence[float]) -> tuple[int, float, float, float]:
    """How many rows, median and 90th percentile of the error, and rank correlation."""
    predicted = np.array([factors[0] * r.kernels + factors[1] * r.steps for r in rows])
    measured = np.array([r.measured for r in rows])
    errors = abs(predicted / measured - 1)
    rank = float(spearmanr(predicted, measured)[0])
    return len(rows), float(np.median(errors)), float(np.quantile(errors, 0.9)), rank


def engine_lines(rows: Sequence[Row]) -> list[str]:
    """A table of the shipped factors on every number of devices, and of all models and each that is larger."""
    lines = [markdown_row(("engine", "devices", "models", "rows", "median", "90th percentile", "rank correlation"))]
    lines.append(markdown_row(("---", "---:", "---", "---:", "---:", "---:", "---:")))
    for name in FRAMEWORKS.values():
        shipped = ENGINES[name].device_factor, ENGINES[name].step_seconds
        own = [r for r in rows if r.engine == name]
        best = fitted([r for r in own if r.devices == 1])
        print(f"{name}: fitted {best[0]:.3f}, {best[1] * 1e6:.1f} us; shipped {shipped}")
        for devices in sorted({r.devices for r in own}):
            there = [r for r in own if r.devices == devices]
            models = {"all": there} | {words: [r for r in there if size_of(r.model) == words] for words in SIZES}
            for words, group in models.items():
                if group and (words == "all" or len(group) < len(there)):
                    count, median, high, rank = judged(group, shipped)
                    cells = (name, str(devices), words, str(count), percent(median), percent(high), f"{rank:.3f}")
                    lines.append(markdown_row(cells))
    return lines


def size_of(model: str) -> str:
    """The group of a model."""
    return next((words for words in SIZES if words in model), SIZES[0])


def prefill_lines(path: Path, folder: Path) -> list[str]:
    """A table of measured prefills on an H100: seconds and peak memory beside the prediction."""
    head = ("batch", "prompt", "measured", "predicted", "error", "peak measured", "peak error")
    lines = [markdown_row(head), markdown_row(["---:"] * len(head))]
    errors = []
    for text in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        config = folder / "measured.json"
        config.write_text(json.dumps({**LLAMA, **row["config"]}))
        made = setting_of(
            str(config),
            device="h100",
            weights=None,
            cache="bf16",
            tp=1,
            engine="eager",
            checkpoint=None,
            arguments=None,
        )
        found = made.generation(row["batch"], row["length"], 1)
        seconds = found.prefill.predicted_seconds
        assert seconds is not None
        error, peak = seconds / row["prefill_seconds"] - 1, found.peak_bytes / row["prefill_peak"] - 1
        errors.append(abs(error))
        times = (f"{1e3 * row['prefill_seconds']:.1f} ms", f"{1e3 * seconds:.1f} ms", f"{100 * error:+.1f}%")
        memory = (f"{row['prefill_peak'] / 1e9:.2f} GB", f"{100 * peak:+.1f}%")
        lines.append(markdown_row((str(row["batch"]), f"{row['length']:,}", *times, *memory)))
    print(f"prefill: median error {percent(float(np.median(errors)))}")
    return lines


def main() -> None:
    """Judge, and write the tables into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=Path, required=True, help="LLM-Inference-Bench's rows")
    parser.add_argument("--prefill", type=Path, required=True, help="measured steps of a Llama on an H100")
    parser.add_argument("--page", type=Path, help="the page whose section to replace")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engines = engine_lines(rows_of(arguments.engines, Path(folder)))
        prefill = prefill_lines(arguments.prefill, Path(folder))
    print("\n".join([*engines, "", *prefill]))
    if arguments.page is not None:
        for mark, lines in (("engines", engines), ("prefill", prefill)):
            pattern = re.compile(rf"(?<=<!-- {mark} -->\n).*?(?=<!-- /{mark} -->)", re.S)
            text = arguments.page.read_text(encoding="utf-8")
            body = "\n".join([*lines, ""])
            arguments.page.write_text(pattern.sub(lambda _, body=body: body, text), encoding="utf-8")


if __name__ == "__main__":
    main()
