"""The networks that each experiment compares, and the paper's measurements of them. No torch."""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from costlab.errors import CostlabError

SCALES = (1, 2, 4)  # multipliers of a row's channels: the paper's x1, x2, x4
SIDE = 56  # height and width of the guidelines' inputs
RESOLUTION = 224  # of images, unless a row of Table 8 has its own
WIDTHS = {"gpu": "GPU", "arm": "ARM"}  # the paper's two machines, with different channel counts
KERNELS = (1, 3, 5, 7)
KERNEL_CHANNELS = {"gpu": 128, "arm": 64}  # as in Tables 2 and 3


@dataclass(frozen=True)
class Subject:
    """One network of an experiment: its row and column in the table, and how to build it."""

    row: str
    column: str
    network: str  # a function of `costlab.experiments.networks`, or one of `costlab.zoo`
    arguments: dict[str, Any]
    shape: tuple[int, int, int]  # channels, height and width of an input
    paper: dict[str, float] = field(default_factory=dict)  # batches/s on its GPU, images/s on its ARM


@dataclass(frozen=True)
class Experiment:
    """A table or claim of the paper. Within a column, all rows are compared with the first."""

    name: str
    title: str
    source: str  # where in the paper
    claim: str
    network: str  # description of the networks
    subjects: Callable[[str], list[Subject]]  # by widths, "gpu" or "arm"
    faster: str | None = None  # the row that the guideline expects to be faster: "first" or "last"
    gpu_batch: int = 1


@cache
def published() -> dict[str, Any]:
    """The experiments in words, and the paper's tables, from the data file."""
    return tomllib.loads((files(__package__) / "data" / "shufflenet_v2.toml").read_text(encoding="utf-8"))


def rows_of(table: str) -> list[dict[str, Any]]:
    """The rows of one of the paper's tables."""
    rows: list[dict[str, Any]] = published()[table]["rows"]
    return rows


def speeds(row: dict[str, Any], scale: int) -> dict[str, float]:
    """A row's speeds on the paper's machines, at the scale with that index."""
    return {machine: row[machine][scale] for machine in WIDTHS}


def scaled(table: str, widths: str) -> Iterator[tuple[dict[str, Any], str, Any, dict[str, float]]]:
    """A table's rows at each scale: the row, "x2", its channels, its speeds."""
    for place, scale in enumerate(SCALES):
        for row in rows_of(table):
            channels = row[f"{widths}_c"]
            wide = [scale * c for c in channels] if isinstance(channels, list) else scale * channels
            yield row, f"x{scale}", wide, speeds(row, place)


def image(channels: int) -> tuple[int, int, int]:
    """The shape of the guidelines' inputs."""
    return channels, SIDE, SIDE


def g1(widths: str) -> list[Subject]:
    """Table 1: channel ratios."""
    return [
        Subject(row["name"], column, "channel_ratio", {"c1": c1, "c2": c2}, image(c1), paper)
        for row, column, (c1, c2), paper in scaled("g1", widths)
    ]


def g2(widths: str) -> list[Subject]:
    """Table 2: groups."""
    found = []
    for row, column, c, paper in scaled("g2", widths):
        c = -(-c // row["groups"]) * row["groups"]  # the paper has 180 channels in 8 groups
        arguments = {"c": c, "groups": row["groups"]}
        found.append(Subject(row["name"], column, "grouped", arguments, image(c), paper))
    return found


def g3(widths: str) -> list[Subject]:
    """Table 3: fragments in series and in parallel."""
    found = []
    for row, column, c, paper in scaled("g3", widths):
        c = int(c / row["fragments"] ** 0.5)  # whole channels; the paper's tables have 90 for 128 / sqrt 2
        arguments = {"c": c, "fragments": row["fragments"], "parallel": row["parallel"]}
        found.append(Subject(row["name"], column, "fragmented", arguments, image(c), paper))
    return found


def g4(widths: str) -> list[Subject]:
    """Table 4: ReLU and shortcut."""
    return [
        Subject(
            row["name"],
            column,
            "bottlenecks",
            {"c": c, "relu": row["relu"], "shortcut": row["shortcut"]},
            image(c),
            paper,
        )
        for row, column, c, paper in scaled("g4", widths)
    ]


def kernel(widths: str) -> list[Subject]:
    """Kernel sizes, dense and depthwise."""
    c = KERNEL_CHANNELS[widths]
    return [
        Subject(
            f"{k}x{k}",
            "depthwise" if depthwise else "dense",
            "kernels",
            {"c": c, "kernel": k, "depthwise": depthwise},
            image(c),
        )
        for depthwise in (False, True)
        for k in KERNELS
    ]


def networks(widths: str) -> list[Subject]:
    """The rows of Table 8 that the zoo builds, at their own widths."""
    found = []
    for row in rows_of("networks"):
        if "zoo" in row:
            side = row.get("resolution", RESOLUTION)
            found.append(Subject(row["name"], "", row["zoo"], row["arguments"], (3, side, side), speeds(row, 0)))
    return found


def experiment_of(design: Callable[[str], list[Subject]]) -> Experiment:
    """The experiment with these subjects, in the words of the data file."""
    words = {key: value for key, value in published()[design.__name__].items() if key != "rows"}
    return Experiment(design.__name__, subjects=design, **words)


EXPERIMENTS = {design.__name__: experiment_of(design) for design in (g1, g2, g3, g4, kernel, networks)}


def experiment_named(name: str) -> Experiment:
    """Find an experiment. Raises CostlabError for an unknown name."""
    if name not in EXPERIMENTS:
        raise CostlabError(f"unknown experiment {name!r}; use one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
