"""One row: a network built, traced, linted and predicted. It runs in workers and writes no files."""

import json
import os
import platform
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from costlab.errors import CostlabError
from costlab.sweeps.columns import COSTS, ERROR, NAME, VERDICTS, axis_columns, result_columns, time_columns
from costlab.sweeps.deadlines import DeadlineExceeded, deadline
from costlab.sweeps.space import INPUT_AXES, Space
from costlab.sweeps.versions import FILE, versions_of

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
LONGEST = 500  # characters of an error
NAMED = 2  # the name of a network has the names of at most so many axes, else only values
ONE_AT_A_TIME = threading.Lock()  # tracing and deadlines affect the whole process


class FinishedRow(NamedTuple):
    """The row of one network."""

    position: int
    seconds: float  # to compute it
    failed: bool
    line: str  # of the journal


@dataclass(frozen=True)
class RowTask:
    """What workers need to compute the rows of a space, as plain data."""

    space: Space
    columns: Mapping[str, str]  # of the axes
    varied: tuple[str, ...]  # axes with more than one value
    versions: Mapping[str, str]
    client: tuple[str, int]  # the machine and process of the sweep


def row_task(space: Space) -> RowTask:
    """The task of a space."""
    varied = tuple(name for name, axis in space.axes.items() if len(axis) > 1)
    return RowTask(space, axis_columns(space), varied, space.versions, this_process())


def this_process() -> tuple[str, int]:
    """The machine and the process id."""
    return platform.node(), os.getpid()


def compute_rows(task: RowTask, positions: Sequence[int]) -> list[FinishedRow]:
    """The rows at some positions. What goes wrong with a network is the error of its row.

    Raises CostlabError if this process has other versions than the one of the sweep.
    """
    if task.client != this_process():
        prepare_worker(task)
    with ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [compute_row(task, position) for position in positions]


PREPARED: set[str] = set()


def prepare_worker(task: RowTask) -> None:
    """Once per worker: use one thread, and check the versions that keys depend on. Raises CostlabError."""
    text = json.dumps(task.versions, sort_keys=True)
    if text in PREPARED:
        return
    import torch

    torch.set_num_threads(1)
    own = versions_of(task.space.factory)
    for library in sorted(task.versions.keys() | own.keys()):
        expected, actual = task.versions.get(library), own.get(library)
        if expected != actual:
            what = f"{library} {actual or 'not installed'}, not {expected}"
            what = "a different version of the factory's file" if library == FILE else what
            raise CostlabError(f"a worker on {platform.node()} has {what}")
    PREPARED.add(text)


def compute_row(task: RowTask, position: int) -> FinishedRow:
    """The row at one position."""
    start = time.perf_counter()
    values, timeout = task.space[position], task.space.timeout
    expired = threading.Event()
    try:
        with deadline(timeout, expired, fatal=task.client != this_process()):
            outcome = dict(results(task.space, values))
    except (Exception, SystemExit, DeadlineExceeded) as error:
        outcome = {ERROR: f"takes longer than {timeout:g} s" if expired.is_set() else error_text(error)}
    return finished_row(task, position, values, time.perf_counter() - start, outcome)


def failed_row(task: RowTask, position: int, error: str) -> FinishedRow:
    """The row of a network that a worker did not survive."""
    return finished_row(task, position, task.space[position], 0.0, {ERROR: error})


def finished_row(
    task: RowTask, position: int, values: Mapping[str, Any], seconds: float, outcome: Mapping[str, Any]
) -> FinishedRow:
    """The row with every column in order; results that are not known are None."""
    arguments = {task.columns[name]: value for name, value in values.items()}
    missing = dict.fromkeys(result_columns(task.space))
    row = {NAME: network_name(task, values), **arguments, **missing, ERROR: None, **outcome}
    document = {"key": task.space.key(values), "seconds": round(seconds, 4), **row}
    return FinishedRow(position, seconds, row[ERROR] is not None, json.dumps(document, allow_nan=False) + "\n")


def network_name(task: RowTask, values: Mapping[str, Any]) -> str:
    """What tells a network from the others of its space: `width=0.5 depth=2`."""
    words = [value if isinstance(value, str) else json.dumps(value) for value in map(values.get, task.varied)]
    if len(words) > NAMED:
        return "/".join(words)
    return " ".join(f"{name}={word}" for name, word in zip(task.varied, words, strict=True)) or task.space.factory


def error_text(error: BaseException) -> str:
    """An error in one line, without addresses in memory."""
    text = " ".join(str(error).split())
    if not isinstance(error, CostlabError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return ADDRESS.sub("", text).encode("utf-8", "backslashreplace").decode()[:LONGEST]


def results(space: Space, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The results of one network, by column."""
    from costlab.guidelines import lint
    from costlab.latency._predict import predict_with
    from costlab.models import ModelSpec, profile_of
    from costlab.models.resolve import accepts_argument

    arguments = dict(values)
    changes = {name: arguments.pop(name) for name in space.changes}
    for name in INPUT_AXES:
        if name in arguments and not accepts_argument(space.factory, name):
            changes[name] = arguments.pop(name)
    spec = ModelSpec(space.factory, arguments, space.inputs, mode=space.mode, training=space.training, **changes)
    profile = profile_of(spec)
    yield from ((key, getattr(profile.total, key)) for key in COSTS)
    for column, config in time_columns(space).items():
        yield column, predict_with(profile, config).seconds
    for verdict in lint(profile, select=VERDICTS).verdicts:
        yield verdict.rule, verdict.verdict
        yield f"{verdict.rule}_share", verdict.share
    yield "uncounted", sum(profile.uncounted.values())
    yield "estimated", sum(profile.estimated.values())
