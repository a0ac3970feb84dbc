"""The result of an experiment as plain data: raw times, costs, predictions and the paper's figures. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from costlab.core.correlation import rank_correlation
from costlab.errors import CostlabError
from costlab.experiments.designs import EXPERIMENTS, WIDTHS, Experiment
from costlab.measurement.documents import SCHEMA_VERSION, parse, read, without
from costlab.measurement.result import EnvironmentValue, Timing

CERTAIN = 0.9  # share of rounds in which one row must be faster than another
WHAT = "an experiment result"


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
    measured: Timing  # one repeat a round
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
    """The result of `costlab experiment`."""

    __pydantic_config__: ClassVar = {"allow_inf_nan": False, "extra": "forbid"}

    name: str  # of the experiment
    date: str  # of the measurement, in UTC
    device: str  # "cpu", "cuda:0"
    threads: int
    batch: int
    widths: str  # which of the paper's channel counts: "gpu" or "arm"
    predicted_for: str | None  # device of the predictions
    environment: dict[str, EnvironmentValue]
    cells: tuple[Cell, ...]
    interrupted: bool = False  # stopped early: fewer rounds than asked for

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
        """The cells of a column; the first is the baseline of the others."""
        return [cell for cell in self.cells if cell.column == name]

    def first(self, cell: Cell) -> Cell:
        return self.column(cell.column)[0]

    def ratios(self, cell: Cell) -> list[float]:
        """The speed of a network over that of the first row in its column, round by round."""
        pairs = zip(self.first(cell).measured.seconds, cell.measured.seconds, strict=True)
        return [first / own for first, own in pairs]

    def relative(self, cell: Cell) -> float:
        """The median over rounds of `ratios`, unaffected by slow rounds."""
        return median(self.ratios(cell))

    def predicted_relative(self, cell: Cell) -> float | None:
        """The predicted speed over that of the first row; None without predictions."""
        ours, theirs = cell.predicted_seconds, self.first(cell).predicted_seconds
        return theirs / ours if ours and theirs else None

    def paper_relative(self, cell: Cell, machine: str) -> float | None:
        """The speed on the paper's "gpu" or "arm" over that of the first row; None if the paper has none."""
        return cell.paper[machine] / self.first(cell).paper[machine] if machine in cell.paper else None

    def rounds_faster(self, one: Cell, other: Cell) -> float:
        """The share of rounds in which `one` is faster than `other`; a tie is half a round."""
        pairs = list(zip(one.measured.seconds, other.measured.seconds, strict=True))
        return sum((a < b) + (a == b) / 2 for a, b in pairs) / len(pairs)

    def verdict(self, column: str) -> str | None:
        """Whether the guideline "holds" in a column, is "reversed" or "open", comparing its first and last row.

        None for an experiment that expects no order.
        """
        first, *_, last = self.column(column)
        if self.experiment.faster is None:
            return None
        kept, broken = (first, last) if self.experiment.faster == "first" else (last, first)
        share = self.rounds_faster(kept, broken)
        return "holds" if share >= CERTAIN else "reversed" if share <= 1 - CERTAIN else "open"

    def rank_correlations(self) -> dict[str, float | None]:
        """Rank correlations of measured time with mult-adds, memory access, prediction and the paper's times."""
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
        """A JSON document (schema version 1) with every raw time."""
        head = {key: value for key, value in vars(self).items() if key != "cells"}
        derived = {"rank_correlations": self.rank_correlations()} if self.name == "networks" else {}
        document = {"schema_version": SCHEMA_VERSION, **head, **derived}
        lines = "".join(
            f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n" for key, value in document.items()
        )
        cells = ",\n".join(json.dumps(self.entry(cell), allow_nan=False) for cell in self.cells)
        return "{\n" + lines + '"cells": [\n' + cells + "\n]\n}\n"

    def entry(self, cell: Cell) -> dict[str, Any]:
        """A cell as plain data, with derived numbers."""
        entry = asdict(cell)
        entry["measured"] = {"median": cell.seconds, "iqr": cell.measured.iqr, **entry["measured"]}
        relative = {"relative_speed": self.relative(cell), "predicted_relative_speed": self.predicted_relative(cell)}
        return {**entry, **relative} if self.name != "networks" else entry

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote; derived numbers are computed again. Raises CostlabError for anything else."""
        record = parse(cls, text, WHAT, raw_record)
        problem = problem_of(record)
        if problem:
            raise CostlabError(f"not {WHAT}: {problem}")
        return record


def raw_record(document: dict[str, Any]) -> dict[str, Any]:
    """A document without derived numbers. Raises ValueError if it names no experiment."""
    cells = document.get("cells")
    if document.get("name") not in list(EXPERIMENTS) or type(cells) is not list:
        raise ValueError("it has no experiment's name and cells")
    cells = [without(cell, "relative_speed", "predicted_relative_speed") for cell in cells]
    timed = [
        {**cell, "measured": without(cell.get("measured"), "median", "iqr")} if type(cell) is dict else cell
        for cell in cells
    ]
    return {**without(document, "rank_correlations"), "cells": timed}


def problem_of(record: Record) -> str | None:
    """Why a record cannot come from its experiment; None if it can."""
    if record.widths not in WIDTHS:
        return f"widths should be {' or '.join(WIDTHS)}"
    if record.batch < 1:
        return "batch should be 1 or more"
    places = [(subject.row, subject.column) for subject in record.experiment.subjects(record.widths)]
    if [(cell.row, cell.column) for cell in record.cells] != places:
        return f"its rows are not those of {record.name}"
    if len({len(cell.measured.seconds) for cell in record.cells}) > 1:
        return "every network should have a time for every round"
    for cell in record.cells:
        numbers = [cell.mult_adds, cell.memory_access, *cell.measured.seconds, *cell.paper.values()]
        predicted = [] if cell.predicted_seconds is None else [cell.predicted_seconds]
        if min(numbers + predicted) <= 0:
            return f"{cell.row} {cell.column} has a number that is not greater than 0"
    return None


def read_record(path: Path) -> Record:
    """The record in a file. Raises CostlabError, with the name of the file."""
    return read(path, Record.from_json)
