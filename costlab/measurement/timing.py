"""The whole network and its operators timed in turns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import Any

import torch
from torch.utils.benchmark import Timer

from costlab.measurement.operator_timing import Call, play, stopwatch_for
from costlab.tracing.restoration import random_state

TURNS = 3  # of a second at most: a slow spell of the machine affects network and operators alike
SHORTEST = 0.05  # seconds that torch's benchmark times at once: what is to take no longer has one turn
SPREAD = 0.05  # IQR over median of a turn at which it has repeated enough
PATIENCE = 4  # a turn ends after so many times its share of the seconds, whatever its spread
ROUNDS = 50  # at most, of the operators in one turn

Progress = Callable[[str, float], None]  # a description of the current step; the fraction done, 0 to 1


def silent(step: str, fraction: float) -> None:
    """Progress that is not shown."""


@dataclass
class RawTimes:
    """Times in seconds, added as they come, so that an interruption loses none."""

    whole: list[float] = field(default_factory=list)
    ops: list[list[float]] = field(default_factory=list)  # of each timed operator
    number: int = 0  # runs that each time of the whole is at least the mean of
    interrupted: bool = False


def time_in_turns(
    run: Callable[[], Any],
    calls: Sequence[Call],
    timed: Sequence[bool],
    device: torch.device,
    min_seconds: float,
    report: Progress,
) -> RawTimes:
    """Time the whole network and its operators in turns, until each has had its time and its spread is small.

    Args:
        run: one forward pass.
        calls: the recorded operators.
        timed: which of `calls` to time.
        min_seconds: time spent on `run`, and again on `calls`.

    Raises:
        KeyboardInterrupt: before anything was measured; later, the result is marked as interrupted.
    """
    times = RawTimes(ops=[[] for wanted in timed if wanted])
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    stopwatch = stopwatch_for(device)
    turns = max(min(TURNS, int(min_seconds / SHORTEST)), ceil(min_seconds))
    budget = min_seconds / turns

    def note(number: int, seconds: float) -> None:
        times.whole.append(seconds / number)
        times.number = min(times.number or number, number)

    try:
        for turn in range(turns):
            report("timing the whole network", turn / turns)
            with random_state():
                limits = {"min_run_time": budget, "max_run_time": PATIENCE * budget}
                timer.adaptive_autorange(SPREAD, **limits, callback=note)  # type: ignore[arg-type]
            if not any(timed):
                continue
            report("timing operators", (turn + 0.5) / turns)
            end = perf_counter() + budget
            for _ in range(ROUNDS):
                for seconds, one in zip(times.ops, play(calls, timed, stopwatch), strict=True):
                    seconds.append(one)
                if perf_counter() >= end:
                    break
        report("done", 1.0)
    except KeyboardInterrupt:
        if not times.whole:
            raise
        times.interrupted = True
    return times


@contextmanager
def threads_of(number: int | None) -> Iterator[None]:
    """Run the body with so many CPU threads; None leaves torch's setting."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if number is not None:
            torch.set_num_threads(before)
