"""Everything that a lent GPU is asked for, in one run of at most ten minutes; raw rows go to docs/latency/CARD.

    python tests/bench/collect.py --device cuda            # about 8 minutes: the sum of what the steps say
    python tests/bench/collect.py --small --folder /tmp/x  # the same in small on this CPU, to see that it works

Every row is written as soon as it is measured. A step that has not begun by the end of `--seconds` is left out and
named; the steps are in order of what is hardest to have otherwise. `costlab.measurement.kernel_trace` reads the trace.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest import mock

import torch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "latency"
INFERENCE = """
    timm:resnet50 timm:resnext50_32x4d timm:densenet121 timm:mobilenetv3_large_100 timm:efficientnet_b0
    timm:efficientnetv2_rw_s timm:regnety_032 timm:convnext_tiny timm:vit_small_patch16_224 timm:vit_base_patch16_224
    timm:deit3_small_patch16_224 timm:swin_tiny_patch4_window7_224 timm:mixer_b16_224 timm:poolformer_s12
    timm:mobilevit_s timm:edgenext_small timm:ghostnet_100 timm:hrnet_w18 timm:nasnetalarge timm:vgg16
    torchvision:shufflenet_v2_x1_0 torchvision:googlenet torchvision:inception_v3 torchvision:mnasnet1_0
""".split()
TRAINING = """
    timm:resnet50 timm:vit_small_patch16_224 timm:efficientnet_b0 timm:convnext_tiny timm:mobilenetv3_large_100
    timm:densenet121 timm:swin_tiny_patch4_window7_224
""".split()
SMALL = ("zoo:shufflenet_v2",)
LLAMA = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 32768,
}
SMALL_LLAMA = {**LLAMA, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256}
CONTEXTS = ((1, 512), (1, 2048), (8, 512), (8, 2048), (32, 512))  # batch, tokens of the prompt
NAME = 72  # characters of a kernel's name that are kept
ROUNDS = 10  # of an experiment
REPEATS = 10  # of a training step and of a decode step


@dataclass(frozen=True)
class Job:
    """Where to run, and where rows go."""

    device: torch.device
    folder: Path
    small: bool

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    def add(self, file: str, row: dict[str, Any]) -> None:
        """Append a row to a compressed file."""
        with gzip.open(self.folder / file, "at", encoding="utf-8") as stream:
            stream.write(json.dumps(row, separators=(",", ":")) + "\n")

    def allocated(self, peak: bool = False) -> int | None:
        """Bytes that torch has on the device, now or at most since the last reset; None on a CPU."""
        if not self.gpu:
            return None
        return torch.cuda.max_memory_allocated(self.device) if peak else torch.cuda.memory_allocated(self.device)

    def reset(self) -> None:
        if self.gpu:
            torch.cuda.reset_peak_memory_stats(self.device)

    def seconds(self, run: Callable[[], Any]) -> list[float]:
        """Seconds of each of some runs, the device's work included."""
        from costlab.measurement.operator_timing import synchronise

        times = []
        for _ in range(2 if self.small else REPEATS):
            synchronise(self.device)
            start = perf_counter()
            run()
            synchronise(self.device)
            times.append(perf_counter() - start)
        return times


def load(name: str, job: Job, batch: int) -> Any:
    """A network with weights, and its inputs."""
    from costlab.models import ModelSpec, load_model

    small = {"resolution": 64} if job.small else {}
    return load_model(ModelSpec(name, {}, batch=2 if job.small else batch, **small), weights=True)


def measured(name: str, job: Job, batch: int, **options: Any) -> dict[str, Any]:
    """What `costlab.measure` finds of a network, as plain data."""
    import costlab

    loaded = load(name, job, batch)
    options |= {"device": job.device, "amp": job.gpu, "min_seconds": 0.01 if job.small else 0.3, **loaded.origin}
    found: dict[str, Any] = json.loads(costlab.measure(loaded.model, loaded.inputs, threads=1, **options).to_json())
    return slim(found)


def slim(found: dict[str, Any]) -> dict[str, Any]:
    """A measurement in a tenth of the size: of each operator only the median, of each kernel's name the beginning."""
    for op in found["ops"]:
        for timing in (op, op.get("host", {})):
            if "seconds" in timing:
                timing["seconds"] = [timing["median"]]
    for kernel in (found["activity"] or {}).get("kernels", ()):
        kernel["name"] = kernel["name"][:NAME]
    return found


def inference(job: Job) -> Iterator[None]:
    """A forward pass of each network, per kernel, under autocast at batch 128: 24 networks of about 7 s."""
    for name in SMALL if job.small else INFERENCE:
        job.add("inference.jsonl.gz", measured(name, job, 128))
        yield


def trace(job: Job) -> Iterator[None]:
    """What torch.profiler exports of one small network, for the tests of its reader: 5 s."""
    import costlab
    from costlab.core.cost import RULES
    from costlab.measurement.device_timing import run_passes, traced
    from costlab.measurement.operator_timing import matched, recorded
    from costlab.measurement.workload import prepare

    loaded = load("zoo:shufflenet_v2", job, 8)
    workload = prepare(loaded.model, loaded.inputs, None, job.device)
    with workload.conditions():
        run = workload.warm_up()
        calls = recorded(run, RULES)
        ops = [op if op is not None and not op.free else None for op in matched(calls, workload.profile.ops)]
        text = traced(lambda: run_passes(run, calls, [op is not None for op in ops], 2, job.device))
    names = [op.name for op in ops if op is not None]
    document = {**json.loads(text), "costlab": {"version": costlab.__version__, "operators": names}}
    with gzip.open(job.folder / "trace.json.gz", "wt", encoding="utf-8") as stream:
        json.dump(document, stream)
    yield


def training(job: Job) -> Iterator[None]:
    """A step of SGD with momentum of each network, batch 64, autocast: 7 networks of about 8 s."""
    for name in SMALL if job.small else TRAINING:
        job.add("training.jsonl.gz", measured(name, job, 64, mode="step", optimizer="momentum"))
        yield


def decoding(job: Job) -> Iterator[None]:
    """Prefill and one decode step of a Llama of 1.2 billion parameters: 5 contexts of about 4 s."""
    from costlab.models.providers.torchvision import import_torchvision

    import_torchvision()  # transformers imports it, which fails where its binaries are those of another torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = SMALL_LLAMA if job.small else LLAMA
    dtype = torch.bfloat16 if job.gpu else torch.float32
    with torch.device(job.device):
        model = LlamaForCausalLM(LlamaConfig(**config)).to(dtype).eval()
    for batch, length in ((2, 16),) if job.small else CONTEXTS:
        ids = torch.zeros((batch, length), dtype=torch.long, device=job.device)
        row = {"config": config, "batch": batch, "length": length, "resident": job.allocated()}

        def prefill(ids: torch.Tensor = ids) -> Any:
            return model(ids, use_cache=True, logits_to_keep=1)

        def decode(cache: Any, ids: torch.Tensor = ids) -> None:
            model(ids[:, :1], past_key_values=cache, use_cache=True)  # the context grows by a token a step

        with torch.inference_mode():
            prefill()
            job.reset()
            row["prefill_seconds"] = median(job.seconds(prefill))
            row["prefill_peak"] = job.allocated(peak=True)
            cache = prefill().past_key_values
            row["decode_seconds"] = median(job.seconds(lambda cache=cache: decode(cache)))
        job.add("decoding.jsonl.gz", row)
        yield


def calibrated(job: Job) -> Iterator[None]:
    """The device profile of this machine, and the blocks that it was fitted to: about 100 s."""
    from costlab.cli import run
    from costlab.measurement import calibration
    from costlab.measurement.microbenchmarks import Block

    measured_block = calibration.measured_block

    def kept(block: Block, *how: Any) -> Any:
        found = measured_block(block, *how)
        job.add("blocks.jsonl.gz", slim(json.loads(found.to_json())))
        return found

    words = ["calibrate", "--device", str(job.device), "--force", "-o", str(job.folder / "here.toml")]
    with mock.patch.object(calibration, "measured_block", kept):
        run([*words, *(["--quick"] if job.small else [])])
    yield


def experiments(job: Job) -> Iterator[None]:
    """The paper's experiments at two batches, 10 rounds: 12 runs of about 10 s."""
    from costlab.cli import run
    from costlab.experiments.designs import EXPERIMENTS

    for batch in (1, 2) if job.small else (None, 32):
        place = job.folder / "experiments" / (job.device.type if batch is None else f"{job.device.type}-batch{batch}")
        place.mkdir(parents=True, exist_ok=True)
        for name in ("g1",) if job.small else EXPERIMENTS:
            result = str(place / f"{name}.json")
            words = ["experiment", name, "--device", str(job.device), "--format", "json", "-o", result]
            words += ["--batch", str(batch)] if batch else []
            run([*words, "--rounds", "1", "--quick"] if job.small else [*words, "--rounds", str(ROUNDS)])
            yield


STEPS = (trace, inference, calibrated, training, decoding, experiments)


def collect(job: Job, limit: float) -> list[str]:
    """Run all steps; what was left out or failed, in words. Ends soon after `limit` seconds."""
    begin, missed = perf_counter(), []
    for step in STEPS:
        rows = step(job)
        while True:
            if perf_counter() - begin > limit:
                missed.append(f"{step.__name__}: not finished, {limit:.0f} s are over")
                break
            try:
                next(rows)
            except StopIteration:
                break
            except Exception as error:  # the next step may work, and the machine is lent for minutes
                traceback.print_exc()
                missed.append(f"{step.__name__}: {type(error).__name__}: {error}")
                break
            print(f"{perf_counter() - begin:6.1f} s  {step.__name__}", flush=True)
    return missed


@contextmanager
def one_thread() -> Iterator[None]:
    """The body with one CPU thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(words: list[str] | None = None) -> int:
    from costlab.measurement.environment import environment
    from costlab.measurement.workload import find_torch_device

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where to run: cpu or cuda")
    parser.add_argument("--small", action="store_true", help="one small network, a few rounds")
    parser.add_argument("--seconds", type=float, default=540.0, help="begin nothing after so long")
    parser.add_argument("--folder", type=Path, help="instead of docs/latency/CARD")
    asked = parser.parse_args(words)

    device = find_torch_device(asked.device)
    facts = environment(device)
    card = re.sub(r"[^a-z0-9]+", "-", str(facts.get("gpu") or facts["cpu"]).lower()).strip("-")
    folder = asked.folder or FOLDER / card
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("inference", "training", "decoding"):
        (folder / f"{file}.jsonl.gz").unlink(missing_ok=True)
    (folder / "environment.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    with one_thread():
        missed = collect(Job(device, folder, asked.small), asked.seconds)
    for line in missed:
        print(f"missing: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
