"""How far predicted training steps are from measured ones (docs/training.md says where they come from).

    python tests/bench/training.py --tables DIR                           # judge what costlab ships
    python tests/bench/training.py --tables DIR --page docs/training.md   # and write the figures there
    python tests/bench/training.py --tables DIR --fit --write costlab/latency/parameters.py

`--traces FOLDER` keeps the profiles of all steps there and reads them back: tracing 850 steps takes 20 minutes.
The families of timm that fit are those of the forward pass; NeuSight's cards are left out of the fit one at a time.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from latency_fit import rounded
from tables import NEUSIGHT, TIMM, TRANSFORMERS, checked, families, fitting, read, transformer

import costlab
from costlab.core.graph import PHASES
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.table import markdown_row
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.latency.efficiency import efficiency_of
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import Kernel, lower
from costlab.latency.parameters import TRAINING
from costlab.measurement.fit import Errors, Sample, Samples, errors, fit
from costlab.models._max_batch import FRAGMENTATION, OVERHEAD_BYTES, needed_bytes

TABLE = "train-amp-nchw-pt112-cu113-rtx3090.csv"
EVALUATIONS = 30
PULL = 0.1  # of priors: a kernel of the backward pass takes about as long as one of the forward pass
COLUMNS = ("training steps", "families or card", "rows", "median", "90th percentile", "Spearman, time", "throughput")
OLD_SGD = 15 / 8, 6 / 3  # elements and launches: timm's is Nesterov's, and torch 1.12 zeroes gradients and adds to them
OTHER_RULES = {"TIMM_FUSED_ATTN": "0"}  # torch 1.12 has no fused attention


FIRST_BATCH = 512  # timm lowers it until a step fits, to three quarters and two thirds of what it was in turn


class Step(NamedTuple):
    """A measured training step."""

    name: str
    size: int  # pixels, or tokens
    batch: int
    seconds: Mapping[str, float]  # by phase, or "step"
    device: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.size}-{self.batch}.json"


def timm_steps(lines: Iterable[str]) -> Iterator[Step]:
    """The rows of timm's table."""
    for row in csv.DictReader(lines):
        name = row["model"].partition(".")[0]
        seconds = float(row["train_step_time"]) / 1e3
        yield Step(name, int(row["train_img_size"]), int(row["train_batch_size"]), {"step": seconds}, "rtx3090")


def neusight_steps(lines: Iterable[str]) -> Iterator[Step]:
    """The training rows of NeuSight's labels."""
    for row in csv.DictReader(lines):
        if row["mode"] == "train" and row["model"] in TRANSFORMERS:
            seconds = {phase: float(row[f"{phase}_ms"]) / 1e3 for phase in ("forward", "backward")}
            yield Step(row["model"], int(row["sequence"]), int(row["batch"]), seconds, NEUSIGHT[row["device"]])


def traced(step: Step) -> Profile:
    """The profile of a training step. Raises CostlabError."""
    if step.name in TRANSFORMERS:
        model, inputs = transformer(step.name, step.batch, step.size)
        return costlab.profile(model, kwargs=inputs, name=step.name, mode="step")
    from costlab.models.meta_init import weightless
    from costlab.models.providers.timm import import_timm

    timm = import_timm()
    errors = []
    for arguments in ({}, {"img_size": step.size}):  # networks with position embeddings are built for one size
        try:
            model = weightless(lambda: timm.create_model(step.name, pretrained=False, **arguments))  # noqa: B023
            shape = (step.batch, 3, step.size, step.size)
            return costlab.profile(model, shape, name=step.name, mode="step", optimizer="momentum", amp=True)
        except Exception as error:
            errors.append(str(error))
    raise CostlabError(f"{step.name} cannot be traced at {step.size} x {step.size}: {errors[0]}")


class Traced(NamedTuple):
    """What a trace says of a step."""

    kernels: np.ndarray  # rows of numbers
    needs: int  # bytes on the device
    next_needs: int  # at the batch that was tried before, which did not fit


def next_batch(batch: int) -> int:
    """The batch that timm tried before it came down to this one."""
    power = 1 << (batch.bit_length() - 1)
    return batch + max(power // 2, 1)


def needs_of(profile: Profile, batch: int) -> tuple[int, int]:
    """What a step needs at its batch and at the next larger one; weights, gradients and states stay the same."""
    steady = ("parameter", "buffer", "gradient", "optimizer")
    kept = sum(s.bytes for s in profile.trace.step.storages if s.category in steady)
    needs = needed_bytes(profile)
    fixed = OVERHEAD_BYTES + round(kept * (1 + FRAGMENTATION))
    return needs, fixed + round((needs - fixed) * next_batch(batch) / batch)


def trace_of(step: Step, traces: Path | None) -> Traced | str:
    """What a trace says of a step; in words why there is none."""
    path = traces / step.file if traces else None
    try:
        if path and path.exists():
            profile = Profile.from_json(path.read_text(encoding="utf-8"))
        else:
            os.environ.update(OTHER_RULES)
            profile = traced(step)
            if path:
                path.write_text(profile.to_json(), encoding="utf-8")
        config = ExecutionConfig(find_device(step.device), optimizer_form="for-loop")
        kernels = np.array(lower(profile, profile, config), dtype=float)
        return Traced(kernels if step.name in TRANSFORMERS else with_old_sgd(kernels), *needs_of(profile, step.batch))
    except CostlabError as error:
        return str(error)


def with_old_sgd(kernels: np.ndarray) -> np.ndarray:
    """The kernels of a step whose optimizer is the one that was measured."""
    columns = Kernel._fields.index
    optimizer = kernels[:, columns("phase")] == PHASES.index("optimizer")
    elements, launches = OLD_SGD
    for name, times in (("constant", elements), ("operations", elements), ("launches", launches)):
        kernels[optimizer, columns(name)] *= times
    return kernels


def all_traced(steps: Sequence[Step], traces: Path | None, jobs: int) -> tuple[list[tuple[Step, Traced]], list[str]]:
    """Steps with what their traces say, and what could not be traced."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        answers = list(pool.map(trace_of, steps, [traces] * len(steps), chunksize=4))
    found = [(step, answer) for step, answer in zip(steps, answers, strict=True) if not isinstance(answer, str)]
    return found, [answer for answer in answers if isinstance(answer, str)]


def largest_batches(found: Sequence[tuple[Step, Traced]], memory: int) -> str:
    """How often the batch that fitted is predicted to fit, and the one tried before it not to."""
    lowered = [trace for step, trace in found if step.batch < FIRST_BATCH]
    small = sum(trace.needs > memory for trace in lowered)
    large = sum(trace.next_needs <= memory for trace in lowered)
    right = len(lowered) - small - large
    share = units.percent(right / max(len(lowered), 1))
    return (
        f"Largest batch: of the {len(lowered)} rows whose batch was lowered until it fitted, "
        f"{right} ({share}) are predicted to fit at that batch, and not at the one "
        f"tried before, a half or a third larger. {small} are predicted not to fit yet, {large} to fit already before."
    )


def samples(device: Device, found: Sequence[tuple[Step, np.ndarray]], phase: str, weight: float = 1.0) -> Samples:
    """Whole steps, or one phase of them."""
    column = {"forward": 0, "backward": 1}.get(phase)
    place = Kernel._fields.index("phase")
    chosen = [(s, k if column is None else k[k[:, place] == column]) for s, k in found if phase in s.seconds]
    return Samples(device, [Sample(s.name, k, 1.0, s.seconds[phase]) for s, k in chosen], weight=weight)


class Judged(NamedTuple):
    """One line of the table."""

    way: str
    label: str
    errors: Errors
    throughput: float | None  # rank correlation of images/s


def judged(way: str, label: str, group: Samples, batches: Sequence[int], values: Mapping[str, float]) -> Judged:
    """How far predictions with these parameters are from a group of samples."""
    seconds = group.predicted(values)
    rates = errors(np.array(batches) / seconds, np.array(batches) / group.measured)
    return Judged(way, label, errors(seconds, group.measured), rates.spearman)


class Rows:
    """All measured steps with their kernels."""

    def __init__(self, folder: Path, traces: Path | None, jobs: int, every: int):
        published = list(checked(folder / "timm" / TABLE, timm_steps))[::every]
        labels = list(checked(folder / "neusight" / "whole.csv", neusight_steps))
        timm = {table for table in read(folder) if table in TIMM}
        tables = read(folder)
        family = families([row.network.architecture for table in timm for row in tables[table]])
        mine = families([step.name for step in published])
        even = fitting(family.values())
        self.unknown = sorted({step.name for step in published if step.name not in mine})
        steps = [step for step in published if step.name in mine]
        self.found, self.failures = all_traced(steps, traces, jobs)
        others, failures = all_traced(labels, traces, jobs)
        self.failures += failures
        self.fitting = [(s, t.kernels) for s, t in self.found if mine[s.name] in even]
        self.judging = [(s, t.kernels) for s, t in self.found if mine[s.name] not in even]
        self.cards: dict[str, list[tuple[Step, np.ndarray]]] = {}
        for step, trace in others:
            self.cards.setdefault(step.device, []).append((step, trace.kernels))

    def values(self, without: str = "") -> dict[str, float]:
        """The parameters fitted to the fitting families and all cards but one."""
        rtx3090 = find_device("rtx3090")
        groups = [samples(rtx3090, self.fitting, "step")]
        for device, found in self.cards.items():
            if device != without and not device.startswith("mi"):
                groups.append(samples(find_device(device), found, "backward", weight=2.0))
        start = {**efficiency_of(rtx3090, "eager"), **{name: p.prior for name, p in TRAINING.items()}}
        return fit([group for group in groups if group.samples], start, TRAINING, EVALUATIONS, PULL)

    def judge(self, left_out: bool) -> list[Judged]:
        """Every group of rows by what costlab ships; NeuSight's cards by a fit without them if `left_out`."""
        shipped = efficiency_of(find_device("rtx3090"), "eager")
        lines = []
        for label, found in (("fitting", self.fitting), ("judging", self.judging)):
            batches = [step.batch for step, _ in found]
            group = samples(find_device("rtx3090"), found, "step")
            lines.append(judged("RTX 3090, autocast, momentum, torch 1.12", label, group, batches, shipped))
        for device, found in self.cards.items():
            values = self.values(device) if left_out else efficiency_of(find_device(device), "eager")
            for phase in ("forward", "backward"):
                group = samples(find_device(device), found, phase)
                batches = [step.batch for step, _ in found]
                lines.append(judged(f"{device}, float32, {phase}", "unseen", group, batches, values))
        return lines


def markdown(lines: Sequence[Judged]) -> str:
    """The table of the page."""
    rows = []
    for line in lines:
        ranks = [f"{value:.3f}" if value is not None else "" for value in (line.errors.spearman, line.throughput)]
        shares = [units.percent(line.errors.median), units.percent(line.errors.ninetieth)]
        rows.append([line.way, line.label, str(line.errors.networks), *shares, *ranks])
    rules = ["---", "---", *["---:"] * 5]
    return "\n".join(markdown_row(cells) for cells in (COLUMNS, rules, *rows))


def with_values(text: str, values: Mapping[str, float]) -> str:
    """The source of `parameters.py` with other values of the training parameters."""

    def line(found: re.Match[str]) -> str:
        value = rounded(values[found[1]])
        return f'    "{found[1]}": P({found[2]}, {value}, {value}, '

    names = "|".join(TRAINING)
    return re.sub(rf'    "({names})": P\(([^,]+), [^,]+, [^,]+, ', line, text)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="folder of the tables")
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="keep profiles there")
    parser.add_argument("--fit", action="store_true", help="fit the parameters first")
    parser.add_argument("--write", type=Path, metavar="FILE", help="with --fit: bring this parameters.py up to date")
    parser.add_argument("--page", type=Path, metavar="FILE", help="bring the figures of docs/training.md up to date")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth network of timm only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if asked.traces:
        asked.traces.mkdir(parents=True, exist_ok=True)
    try:
        rows = Rows(asked.tables, asked.traces, asked.jobs, asked.every)
        if asked.fit:
            values = rows.values()
            for name in TRAINING:
                print(f"{name} {rounded(values[name])}")
            if asked.write:
                asked.write.write_text(with_values(asked.write.read_text(encoding="utf-8"), values), encoding="utf-8")
            return 0
        batches = largest_batches(rows.found, find_device("rtx3090").memory)
        table = f"{markdown(rows.judge(left_out=True))}\n\n{batches}"
    except CostlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table)
    for words, names in (("unknown to this timm", rows.unknown), ("not traced", rows.failures)):
        print(f"{words} ({len(names)}): {', '.join(names) or 'none'}")
    if asked.page:
        from generate.latency_page import page_with

        page = asked.page.read_text(encoding="utf-8")
        asked.page.write_text(page_with(page, steps=table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
    sys.exit(main())
