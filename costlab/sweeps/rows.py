"""One row: a network built, traced, linted and predicted. What runs on workers; nothing here writes files."""

from __future__ import annotations

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

from costlab.core.cost import COST_KEYS
from costlab.errors import CostlabError
from costlab.guidelines import GUIDELINES
from costlab.latency.devices import Device
from costlab.sweeps.deadlines import Expired, deadline
from costlab.sweeps.space import INPUT_AXES, Space, versions_of

NAME, ERROR, SECONDS = "name", "error", "predicted_seconds"
COSTS = (*COST_KEYS, "bytes_accessed", "flops", "unused_params", "peak_activation_bytes", "arithmetic_intensity")
JUDGED = tuple(code for code, guideline in GUIDELINES.items() if guideline.limit is not None)
COUNTS = ("uncounted", "estimated")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
LONGEST = 500  # characters of an error
NAMED = 2  # axes whose names stand in the name of a network; of more only the values do
ONE_AT_A_TIME = threading.Lock()  # tracing and deadlines are of a whole process


class Finished(NamedTuple):
    """One network found out about."""

    position: int
    seconds: float  # that it took
    failed: bool
    line: str  # of the journal


@dataclass(frozen=True)
class Recipe:
    """What all rows of a space have in common, as plain data: workers make the points themselves."""

    space: Space
    columns: Mapping[str, str]  # of the axes
    varied: tuple[str, ...]  # axes of more than one value
    versions: Mapping[str, str]
    client: tuple[str, int]  # machine and process that asks


def recipe_of(space: Space) -> Recipe:
    return Recipe(
        space=space,
        columns=columns_of_axes(space),
        varied=tuple(name for name, axis in space.axes.items() if len(axis) > 1),
        versions=space.versions,
        client=here(),
    )


def here() -> tuple[str, int]:
    return platform.node(), os.getpid()


def columns_of(space: Space) -> tuple[str, ...]:
    """The columns of every row: what was asked, what came out, and what went wrong."""
    return (NAME, *columns_of_axes(space).values(), *results_of(space.devices), ERROR)


def columns_of_axes(space: Space) -> dict[str, str]:
    """The column of each axis; one that is called as a cost steps aside."""
    taken = {NAME, ERROR, "key", "seconds", *results_of(space.devices)}
    return {name: f"argument_{name}" if name in taken else name for name in space.axes}


def results_of(devices: tuple[Device, ...]) -> tuple[str, ...]:
    """The columns of what comes out."""
    verdicts = (name for code in JUDGED for name in (code, f"{code}_share"))
    return (*COSTS, *seconds_of(devices), *verdicts, *COUNTS)


def seconds_of(devices: tuple[Device, ...]) -> dict[str, Device]:
    """The column of each device; one alone needs no name."""
    if len(devices) == 1:
        return {SECONDS: devices[0]}
    return {f"{SECONDS}_{device.name}": device for device in devices}


def finished(recipe: Recipe, positions: Sequence[int]) -> list[Finished]:
    """The rows at some positions, one after the other. What goes wrong with a network is its row's error.

    Raises:
        CostlabError: this process has other versions than the one that asks.
    """
    if recipe.client != here():
        once_in_a_worker(recipe)
    with ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [finished_one(recipe, position) for position in positions]


PREPARED: set[str] = set()


def once_in_a_worker(recipe: Recipe) -> None:
    """One thread, and the versions that the keys of the rows are made of."""
    text = json.dumps(recipe.versions, sort_keys=True)
    if text in PREPARED:
        return
    import torch

    torch.set_num_threads(1)
    found = versions_of(recipe.space.factory)
    for library in sorted(recipe.versions.keys() | found.keys()):
        asked, has = recipe.versions.get(library), found.get(library)
        if asked != has:
            what = (
                "another content of the factory's file" if library == "file" else f"{library} {has or 'not installed'}"
            )
            raise CostlabError(
                f"a worker on {platform.node()} has {what}{'' if library == 'file' else f', not {asked}'}"
            )
    PREPARED.add(text)


def finished_one(recipe: Recipe, position: int) -> Finished:
    start = time.perf_counter()
    values = recipe.space[position]
    found = row_of(recipe, values)
    seconds = time.perf_counter() - start
    line = line_of(recipe.space.key(values), seconds, found)
    return Finished(position, seconds, found[ERROR] is not None, line)


def line_of(key: str, seconds: float, found: Mapping[str, Any]) -> str:
    """The line of a journal."""
    return json.dumps({"key": key, "seconds": round(seconds, 4), **found}, allow_nan=False) + "\n"


def row_of(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and their values; where something goes wrong, what comes out is None."""
    try:
        with deadline(recipe.space.timeout, fatal=recipe.client != here()):
            return row(recipe, values, dict(results(recipe, values)))
    except Expired:
        return row(recipe, values, {ERROR: f"takes longer than {recipe.space.timeout:g} s"})
    except (Exception, SystemExit) as error:
        return row(recipe, values, {ERROR: words_of(error)})


def row(recipe: Recipe, values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Every column in order."""
    asked = {recipe.columns[name]: value for name, value in values.items()}
    unknown = dict.fromkeys(results_of(recipe.space.devices))
    return {NAME: named(recipe, values), **asked, **unknown, ERROR: None, **found}


def unfinished(recipe: Recipe, position: int, error: str) -> Finished:
    """The row of a network that nobody lived to tell about."""
    values = recipe.space[position]
    line = line_of(recipe.space.key(values), 0.0, row(recipe, values, {ERROR: error}))
    return Finished(position, 0.0, True, line)


def named(recipe: Recipe, values: Mapping[str, Any]) -> str:
    """What a network is called among those of its space."""
    words = [value if isinstance(value, str) else json.dumps(value) for value in map(values.get, recipe.varied)]
    if len(words) > NAMED:
        return "/".join(words)
    return " ".join(f"{name}={word}" for name, word in zip(recipe.varied, words, strict=True)) or recipe.space.factory


def words_of(error: BaseException) -> str:
    """One line, the same each time."""
    text = " ".join(str(error).split())
    if not isinstance(error, CostlabError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return ADDRESS.sub("", text).encode("utf-8", "backslashreplace").decode()[:LONGEST]


def results(recipe: Recipe, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What comes out of one network, by column."""
    from costlab.guidelines import lint
    from costlab.latency._predict import predict
    from costlab.models import ModelSpec, profile_of
    from costlab.models.resolve import accepts_argument

    space, arguments = recipe.space, dict(values)
    changes = {name: arguments.pop(name) for name in space.changes}
    for name in INPUT_AXES:
        if name in arguments and not accepts_argument(space.factory, name):
            changes[name] = arguments.pop(name)
    profile = profile_of(ModelSpec(space.factory, arguments, space.inputs, **changes))
    total = profile.total
    yield from ((key, getattr(total, key)) for key in COSTS)
    running: dict[str, Any] = {"amp": space.amp, "fusion": space.fusion, "channels_last": space.channels_last}
    for column, device in seconds_of(space.devices).items():
        yield column, predict(profile, device, **running).seconds
    for verdict in lint(profile, select=JUDGED).verdicts:
        yield verdict.rule, verdict.verdict
        yield f"{verdict.rule}_share", verdict.share
    yield "uncounted", sum(profile.uncounted.values())
    yield "estimated", sum(profile.estimated.values())
