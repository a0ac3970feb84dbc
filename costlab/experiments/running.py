"""Run an experiment: all of its networks in turns, round by round, so that a slow spell slows all alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from typing import Any

import torch
from torch.utils.benchmark import timer

from costlab.core.gc import gc_paused
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.experiments.designs import WIDTHS, Subject, experiment_named
from costlab.experiments.networks import build
from costlab.experiments.results import Cell, Record
from costlab.latency._predict import predict
from costlab.latency.devices import Device, find_device
from costlab.measurement.environment import environment
from costlab.measurement.measuring import Job, Progress, device_named, prepared, threads_of
from costlab.measurement.result import Timing
from costlab.tracing._profile import profile
from costlab.tracing.inputs import as_inputs

ROUNDS = 30
TURN = 0.02  # seconds that a network runs for at least in each round
MOST_RUNS = 1000  # in one turn
SEED = 0


def run_experiment(
    name: str,
    *,
    device: str = "cpu",
    widths: str | None = None,
    batch: int | None = None,
    threads: int = 1,
    rounds: int = ROUNDS,
    turn: float = TURN,
    predict_for: str | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = timer,
) -> Record:
    """Measure the networks of an experiment. Ctrl-C ends it with the rounds that are complete.

    Args:
        name: "g1", "g2", "g3", "g4", "kernel" or "networks".
        device: where to run: "cpu", "cuda", "cuda:1", "mps".
        widths: the paper's channels for its GPU or its ARM: "gpu" or "arm"; by default the latter on a CPU.
        batch: by default 1, and 8 for whole networks on a GPU: the paper's.
        threads: of the CPU.
        turn: seconds that a network runs for at least in each round.
        predict_for: a device to predict for as well, by name or file.
        progress: called now and then with what is being done and the part of all that is done.
        clock: gives seconds; waits for the device before it does.

    Raises:
        CostlabError: no such experiment or device, or a network that does not fit into memory.
    """
    experiment = experiment_named(name)
    for what, value in (("threads", threads), ("rounds", rounds), ("a batch", 1 if batch is None else batch)):
        if value < 1:
            raise CostlabError(f"{what} of {value}: it takes 1 or more")
    where = device_named(device)
    widths = widths or ("arm" if where.type == "cpu" else "gpu")
    if widths not in WIDTHS:
        raise CostlabError(f"the paper has widths for {' and '.join(WIDTHS)}; {widths!r} is neither")
    batch = batch or (1 if where.type == "cpu" else experiment.gpu_batch)
    report: Progress = progress or (lambda words, part: None)
    target = None if predict_for is None else find_device(predict_for)
    around = environment(where)  # the load among it, before there is ours
    subjects = experiment.subjects(widths)
    with threads_of(threads), torch.inference_mode():
        jobs = []
        for number, subject in enumerate(subjects):
            report(f"preparing {subject.row} {subject.column}".strip(), 0.1 * number / len(subjects))
            jobs.append(job_of(subject, batch, where))
        predicted = [predicted_seconds(job.traced, target) for job in jobs]
        taken = in_rounds(
            [job.ready(compiled=False) for job in jobs],
            rounds,
            turn,
            clock,
            lambda words, part: report(words, 0.1 + 0.9 * part),
        )
    return Record(
        name=name,
        date=datetime.now(UTC).date().isoformat(),
        device=str(where),
        threads=threads,
        batch=batch,
        widths=widths,
        predicted_for=target.name if target else None,
        environment=around,
        cells=tuple(
            Cell(
                row=subject.row,
                column=subject.column,
                network=subject.network,
                arguments=subject.arguments,
                input=(batch, *subject.shape),
                mult_adds=job.traced.total.mult_adds,
                params=job.traced.total.params,
                memory_access=job.traced.total.memory_access,
                measured=timing,
                predicted_seconds=seconds,
                paper=subject.paper,
            )
            for subject, job, timing, seconds in zip(subjects, jobs, taken.timings, predicted, strict=True)
        ),
        interrupted=taken.interrupted,
    )


def with_predictions(record: Record, device: str) -> Record:
    """The same times beside what is predicted for a device, a name or file. Raises CostlabError where there is none."""
    target = find_device(device)
    subjects = record.experiment.subjects(record.widths)
    predicted = [predicted_seconds(traced(subject, build(subject), record.batch), target) for subject in subjects]
    cells = zip(record.cells, predicted, strict=True)
    with_seconds = tuple(replace(cell, predicted_seconds=seconds) for cell, seconds in cells)
    return replace(record, predicted_for=target.name, cells=with_seconds)


def job_of(subject: Subject, batch: int, where: torch.device) -> Job:
    """The network with random weights on the device, its inputs, and its profile."""
    model = build(subject).eval()
    given: tuple[Any, Any] = list(as_inputs((batch, *subject.shape))), {}
    ready = prepared(model, where, None, channels_last=False)
    return Job(ready, given, where, nullcontext, traced(subject, model, batch))


def traced(subject: Subject, model: torch.nn.Module, batch: int) -> Profile:
    return profile(model, (batch, *subject.shape), name=f"{subject.row} {subject.column}".strip())


def predicted_seconds(profile: Profile, device: Device | None) -> float | None:
    """What `costlab.predict` says; None without a device."""
    return None if device is None else predict(profile, device).seconds


@dataclass(frozen=True)
class Taken:
    """The times of every network, as many for each."""

    timings: tuple[Timing, ...]
    interrupted: bool


def in_rounds(
    runs: Sequence[Callable[[], Any]], rounds: int, turn: float, clock: Callable[[], float], report: Progress
) -> Taken:
    """Time everything once a round, each time in another order; a network runs on until its turn is over.

    Raises:
        KeyboardInterrupt: before the first round is complete.
    """
    numbers = [min(MOST_RUNS, max(1, ceil(turn / max(seconds_of(run, 1, clock), 1e-9)))) for run in runs]
    order = list(range(len(runs)))
    shuffle = random.Random(SEED).shuffle
    complete: list[list[float]] = []
    interrupted = False
    try:
        for number in range(rounds):
            report(f"round {number + 1} of {rounds}", number / rounds)
            shuffle(order)
            seconds = [0.0] * len(runs)
            for place in order:
                seconds[place] = seconds_of(runs[place], numbers[place], clock)
            complete.append(seconds)
        report("done", 1.0)
    except KeyboardInterrupt:
        if not complete:
            raise
        interrupted = True
    each = zip(*complete, strict=True)
    return Taken(tuple(Timing(s, n) for s, n in zip(each, numbers, strict=True)), interrupted)


def seconds_of(run: Callable[[], Any], number: int, clock: Callable[[], float]) -> float:
    """The mean of so many runs, one after the other."""
    with gc_paused():
        start = clock()
        for _ in range(number):
            run()
        return (clock() - start) / number
