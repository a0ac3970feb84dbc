"""What an experiment found, as plain data: raw times beside costs, predictions and the paper's figures. No torch."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import StatisticsError, correlation, median
from typing import Any, ClassVar

from costlab.core.files import os_error_reason
from costlab.errors import CostlabError
from costlab.experiments.designs import EXPERIMENTS, WIDTHS, Experiment
from costlab.measurement.result import Fact, Timing

SCHEMA_VERSION = 1
CERTAIN = 0.9  # of the rounds in which a row has to be faster than another
LARGEST = 50_000_000  # bytes of a saved result


@dataclass(frozen=True)
class Cell:
    """One network of an experiment, timed. Seconds are of one forward pass of the whole batch."""

    row: str
    column: str
    network: str
    arguments: dict[str, Any]
    input: tuple[int, ...]
    mult_adds: int
    params: int
    memory_access: int
    measured: Timing  # a repeat is a round; every network has its turn in each
    predicted_seconds: float | None
    paper: dict[str, float]  # batches/s on its GPU, images/s on its ARM

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return self.measured.median

    @property
    def speed(self) -> float:
        """Batches/s."""
        return 1 / self.seconds


@dataclass(frozen=True)
class Record:
    """What `costlab experiment` found."""

    __pydantic_config__: ClassVar = {"allow_inf_nan": False, "extra": "forbid"}

    name: str  # of the experiment
    date: str  # of the measurement, UTC
    device: str  # "cpu", "cuda:0"
    threads: int
    batch: int
    widths: str  # whose channels: "gpu" or "arm"
    predicted_for: str | None  # the device of the predictions
    environment: dict[str, Fact]
    cells: tuple[Cell, ...]
    interrupted: bool = False  # fewer rounds than were asked for

    @property
    def experiment(self) -> Experiment:
        return EXPERIMENTS[self.name]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(cell.column for cell in self.cells))

    @property
    def rounds(self) -> int:
        return len(self.cells[0].measured.seconds)

    def column(self, name: str) -> list[Cell]:
        """The cells of a column; the first is what the others are held against."""
        return [cell for cell in self.cells if cell.column == name]

    def first(self, cell: Cell) -> Cell:
        return self.column(cell.column)[0]

    def ratios(self, cell: Cell) -> list[float]:
        """The speed of a network over that of the first row in its column, round by round."""
        pairs = zip(self.first(cell).measured.seconds, cell.measured.seconds, strict=True)
        return [first / own for first, own in pairs]

    def relative(self, cell: Cell) -> float:
        """The median of these: what slows a whole round leaves it as it is."""
        return median(self.ratios(cell))

    def predicted_relative(self, cell: Cell) -> float | None:
        """The same as predicted; None where nothing was."""
        ours, theirs = cell.predicted_seconds, self.first(cell).predicted_seconds
        return theirs / ours if ours and theirs else None

    def paper_relative(self, cell: Cell, machine: str) -> float | None:
        """The same on the paper's "gpu" or "arm"."""
        return cell.paper[machine] / self.first(cell).paper[machine] if machine in cell.paper else None

    def rounds_faster(self, one: Cell, other: Cell) -> float:
        """The share of rounds in which `one` is faster than `other`; a tie is half a round."""
        pairs = list(zip(one.measured.seconds, other.measured.seconds, strict=True))
        return sum((a < b) + (a == b) / 2 for a, b in pairs) / len(pairs)

    def verdict(self, column: str) -> str | None:
        """Whether the guideline "holds" in a column, is "reversed", or "open": first and last row, round by round.

        None for an experiment that puts no row before another.
        """
        first, *_, last = self.column(column)
        if self.experiment.faster is None:
            return None
        kept, broken = (first, last) if self.experiment.faster == "first" else (last, first)
        share = self.rounds_faster(kept, broken)
        return "holds" if share >= CERTAIN else "reversed" if share <= 1 - CERTAIN else "open"

    def savings(self) -> list[Saving]:
        """What each row would save by following the guideline, G1 to G4: predicted and measured."""
        if self.experiment.faster is None:
            return []
        found = []
        for cell in self.cells:
            first = self.first(cell)
            if cell is not first:
                kept, broken = (first, cell) if self.experiment.faster == "first" else (cell, first)
                found.append(Saving(cell, kept, broken))
        return found

    def rank_correlations(self) -> dict[str, float | None]:
        """Spearman's coefficient of measured time with mult-adds, memory access, prediction, and the paper's times."""
        measured = [cell.seconds for cell in self.cells]
        predicted = [cell.predicted_seconds for cell in self.cells if cell.predicted_seconds is not None]
        return {
            "mult_adds": rank_correlation([cell.mult_adds for cell in self.cells], measured),
            "memory_access": rank_correlation([cell.memory_access for cell in self.cells], measured),
            "predicted_seconds": rank_correlation(predicted, measured) if len(predicted) == len(measured) else None,
            **{
                machine: rank_correlation([-cell.paper[machine] for cell in self.cells], measured)
                for machine in WIDTHS
                if all(machine in cell.paper for cell in self.cells)
            },
        }

    def to_json(self) -> str:
        """A JSON document (schema version 1) that holds every raw time."""
        head = {key: value for key, value in vars(self).items() if key != "cells"}
        derived = {"rank_correlations": self.rank_correlations()} if self.name == "networks" else {}
        document = {"schema_version": SCHEMA_VERSION, **head, **derived}
        lines = "".join(
            f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n" for key, value in document.items()
        )
        cells = ",\n".join(json.dumps(self.entry(cell), allow_nan=False) for cell in self.cells)
        return "{\n" + lines + '"cells": [\n' + cells + "\n]\n}\n"

    def entry(self, cell: Cell) -> dict[str, Any]:
        """A cell of the document: what was measured, and what follows from it."""
        entry = asdict(cell)
        entry["measured"] = {"median": cell.seconds, "iqr": cell.measured.iqr, **entry["measured"]}
        relative = {"relative_speed": self.relative(cell), "predicted_relative_speed": self.predicted_relative(cell)}
        return {**entry, **relative} if self.name != "networks" else entry

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote; derived numbers are derived again. Raises CostlabError for anything else."""
        from pydantic import TypeAdapter, ValidationError

        try:
            document = json.loads(text)
            if type(document) is not dict or document.get("schema_version") != SCHEMA_VERSION:
                raise ValueError(f"it has no schema_version {SCHEMA_VERSION}")
            if document.get("name") not in list(EXPERIMENTS) or "cells" not in document:
                raise ValueError("it is of no experiment")
            record = TypeAdapter(cls).validate_json(json.dumps(without_derived(document)), strict=True)
            check(record)
            return record
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            raise CostlabError(f"no result of an experiment: {where}: {first['msg']}") from None
        except json.JSONDecodeError as error:
            what = f"no valid JSON in line {error.lineno}: {error.msg}"
            raise CostlabError(f"no result of an experiment: {what}") from None
        except (ValueError, RecursionError) as error:
            what = str(error) if isinstance(error, ValueError) else "lists nest too deep"
            raise CostlabError(f"no result of an experiment: {what[:200]}") from None


def check(record: Record) -> None:
    """Raise ValueError where a record cannot be one of its experiment."""
    if record.widths not in WIDTHS:
        raise ValueError(f"widths should be {' or '.join(WIDTHS)}")
    if record.batch < 1:
        raise ValueError("batch should be 1 or more")
    places = [(subject.row, subject.column) for subject in record.experiment.subjects(record.widths)]
    if [(cell.row, cell.column) for cell in record.cells] != places:
        raise ValueError(f"its rows are not those of {record.name}")
    if len({len(cell.measured.seconds) for cell in record.cells}) > 1:
        raise ValueError("every network should have a time for every round")
    for cell in record.cells:
        numbers = (cell.mult_adds, cell.memory_access, *cell.measured.seconds, *cell.paper.values())
        if min(numbers) <= 0 or (cell.predicted_seconds is not None and cell.predicted_seconds <= 0):
            raise ValueError(f"a number of {cell.row} {cell.column} is not above 0")


@dataclass(frozen=True)
class Saving:
    """What following a guideline saves of one forward pass."""

    cell: Cell  # the row that is held against the first
    kept: Cell  # the one of the two that keeps the guideline
    broken: Cell

    @property
    def measured(self) -> float:
        """Seconds; below zero where following the guideline loses time."""
        return self.broken.seconds - self.kept.seconds

    @property
    def predicted(self) -> float | None:
        """Seconds; None where one of the two has no prediction."""
        kept, broken = self.kept.predicted_seconds, self.broken.predicted_seconds
        return None if kept is None or broken is None else broken - kept

    @property
    def measured_share(self) -> float:
        """Of the time of the network that breaks the guideline."""
        return self.measured / self.broken.seconds

    @property
    def predicted_share(self) -> float | None:
        """The same, both as predicted."""
        return None if self.predicted is None else self.predicted / self.broken.predicted_seconds  # type: ignore[operator]


def without_derived(document: dict[str, Any]) -> dict[str, Any]:
    """A document without the numbers that follow from others."""

    def left(entry: Any, *derived: str) -> Any:
        return {k: v for k, v in entry.items() if k not in derived} if type(entry) is dict else entry

    cells = document["cells"]
    if type(cells) is list:
        cells = [left(cell, "relative_speed", "predicted_relative_speed") for cell in cells]
        cells = [
            {**cell, "measured": left(cell.get("measured"), "median", "iqr")} if type(cell) is dict else cell
            for cell in cells
        ]
    return {**left(document, "schema_version", "rank_correlations"), "cells": cells}


def read_record(path: Path) -> Record:
    """The record in a file. Raises CostlabError, with the name of the file, where there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
    if len(content) > LARGEST:
        raise CostlabError(f"{path} is larger than any result of an experiment, {LARGEST // 1_000_000} MB")
    try:
        return Record.from_json(text)
    except CostlabError as error:
        raise CostlabError(f"{path}: {error}") from None


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's coefficient, ties sharing their mean rank; None where one of the two does not vary."""
    try:
        return correlation(ranks(one), ranks(other))
    except StatisticsError:
        return None


def ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in values]
