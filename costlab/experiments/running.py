"""Run an experiment: all of its networks in turn, round by round, so that slow periods affect all of them equally."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.measurement.environment import environment
from costlab.measurement.result import Timing
from costlab.measurement.timing import Progress, silent, threads_of
from costlab.measurement.workload import Workload, find_torch_device, prepare
from costlab.tracing._profile import profile

ROUNDS = 30
TURN = 0.02  # minimum seconds of a network in each round
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
    """Measure the networks of an experiment. Ctrl-C stops early and returns the completed rounds.

    Args:
        name: "g1", "g2", "g3", "g4", "kernel" or "networks".
        device: where to run: "cpu", "cuda", "cuda:1" or "mps".
        widths: the paper's channel counts, for its "gpu" or its "arm". Default: "arm" on a CPU, else "gpu".
        batch: batch size. Default, as in the paper: 1, and 8 for whole networks on a GPU.
        threads: CPU threads.
        rounds: times that every network gets its turn.
        turn: minimum seconds of a network in each round.
        predict_for: also predict for this device, a name or the path of a .toml file.
        progress: called with a description of the current step and the fraction done.
        clock: returns seconds, after waiting for the device.

    Raises:
        CostlabError: unknown experiment or device, or a network does not fit into memory.
    """
    experiment = experiment_named(name)
    for option, value in {"threads": threads, "rounds": rounds, "batch": 1 if batch is None else batch}.items():
        if value < 1:
            raise CostlabError(f"{option} must be 1 or more, got {value}")
    where = find_torch_device(device)
    widths = widths or ("arm" if where.type == "cpu" else "gpu")
    if widths not in WIDTHS:
        raise CostlabError(f"widths must be {' or '.join(WIDTHS)}, got {widths!r}")
    batch = batch or (1 if where.type == "cpu" else experiment.gpu_batch)
    report: Progress = progress or silent
    target = None if predict_for is None else find_device(predict_for)
    record = Record(
        name=name,
        date=datetime.now(UTC).date().isoformat(),
        device=str(where),
        threads=threads,
        batch=batch,
        widths=widths,
        predicted_for=target.name if target else None,
        environment=environment(where),  # before the load average includes this run
        cells=(),
    )
    with threads_of(threads), torch.inference_mode():
        return measured(record, where, target, rounds, turn, clock, report)


def measured(
    record: Record,
    where: torch.device,
    target: Device | None,
    rounds: int,
    turn: float,
    clock: Callable[[], float],
    report: Progress,
) -> Record:
    """The record with the times of all networks."""
    subjects = record.experiment.subjects(record.widths)
    workloads = []
    for number, subject in enumerate(subjects):
        report(f"preparing {name_of(subject)}", 0.1 * number / len(subjects))
        shape = (record.batch, *subject.shape)
        workloads.append(prepare(build(subject).eval(), shape, None, where, labels={"name": name_of(subject)}))
    predicted = [predicted_seconds(workload.profile, target) for workload in workloads]
    runs = [workload.warm_up() for workload in workloads]
    timings, interrupted = in_rounds(runs, rounds, turn, clock, lambda step, part: report(step, 0.1 + 0.9 * part))
    rows = zip(subjects, workloads, timings, predicted, strict=True)
    cells = tuple(cell_of(subject, workload, timing, seconds) for subject, workload, timing, seconds in rows)
    return replace(record, cells=cells, interrupted=interrupted)


def cell_of(subject: Subject, workload: Workload, timing: Timing, predicted: float | None) -> Cell:
    """One network of the experiment with its costs and times."""
    total = workload.profile.total
    return Cell(
        row=subject.row,
        column=subject.column,
        network=subject.network,
        arguments=subject.arguments,
        input=(workload.batch, *subject.shape),
        mult_adds=total.mult_adds,
        params=total.params,
        memory_access=total.memory_access,
        measured=timing,
        predicted_seconds=predicted,
        paper=subject.paper,
    )


def with_predictions(record: Record, device: str) -> Record:
    """The record with predictions for a device, a name or the path of a .toml file. Raises CostlabError."""
    target = find_device(device)
    cells = []
    for cell, subject in zip(record.cells, record.experiment.subjects(record.widths), strict=True):
        traced = profile(build(subject), (record.batch, *subject.shape), name=name_of(subject))
        cells.append(replace(cell, predicted_seconds=predicted_seconds(traced, target)))
    return replace(record, predicted_for=target.name, cells=tuple(cells))


def name_of(subject: Subject) -> str:
    """What a network is called: "1:12 x2"."""
    return f"{subject.row} {subject.column}".strip()


def predicted_seconds(profile: Profile, device: Device | None) -> float | None:
    """The prediction for a device; None without a device."""
    return None if device is None else predict(profile, device).seconds


def in_rounds(
    runs: Sequence[Callable[[], Any]], rounds: int, turn: float, clock: Callable[[], float], report: Progress
) -> tuple[list[Timing], bool]:
    """Time everything once a round, each round in another order; also whether Ctrl-C stopped it.

    Raises KeyboardInterrupt before the first round is complete.
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
            for position in order:
                seconds[position] = seconds_of(runs[position], numbers[position], clock)
            complete.append(seconds)
        report("done", 1.0)
    except KeyboardInterrupt:
        if not complete:
            raise
        interrupted = True
    columns = zip(*complete, strict=True)
    return [Timing(seconds, number) for seconds, number in zip(columns, numbers, strict=True)], interrupted


def seconds_of(run: Callable[[], Any], number: int, clock: Callable[[], float]) -> float:
    """Mean seconds of so many runs in a row."""
    with gc_paused():
        start = clock()
        for _ in range(number):
            run()
        return (clock() - start) / number
