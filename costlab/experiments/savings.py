"""What following the guidelines saves in the paper's experiments, measured and predicted: sentences, table, picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from costlab.core.correlation import rank_correlation
from costlab.experiments.pictures import SERIES, figure_of, key, machine, mark, tick_format
from costlab.experiments.report import listed, verdicts
from costlab.experiments.results import Cell, Record
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.colours import FAINT, INK, QUIET
from costlab.formatting.table import Column, Table
from costlab.plots.style import SMALL, only_spines

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Saving:
    """What following a guideline saves in one forward pass."""

    cell: Cell  # the row compared with the first
    kept: Cell  # the one of the two that follows the guideline
    broken: Cell

    @property
    def measured(self) -> float:
        """Seconds; negative if following the guideline costs time."""
        return self.broken.seconds - self.kept.seconds

    @property
    def predicted(self) -> float | None:
        """Seconds; None if one of the two has no prediction."""
        kept, broken = self.kept.predicted_seconds, self.broken.predicted_seconds
        return None if kept is None or broken is None else broken - kept

    @property
    def measured_share(self) -> float:
        """As a share of the time of the network that breaks the guideline."""
        return self.measured / self.broken.seconds

    @property
    def predicted_share(self) -> float | None:
        """The predicted saving as a share of the predicted time."""
        return None if self.predicted is None else self.predicted / self.broken.predicted_seconds  # type: ignore[operator]


def savings_of(record: Record) -> list[Saving]:
    """Measured and predicted savings of following a guideline (G1 to G4), for each row."""
    if record.experiment.faster is None:
        return []
    found = []
    for cell in record.cells:
        first = record.first(cell)
        if cell is not first:
            kept, broken = (first, cell) if record.experiment.faster == "first" else (cell, first)
            found.append(Saving(cell, kept, broken))
    return found


def batch_sentences(records: Sequence[Record]) -> Iterator[str]:
    """What holds at which batch, and by how much, of one guideline's experiment at several batches."""
    parts = []
    for record in records:
        last = record.column(record.columns[0])[-1].row
        savings = [saving for saving in savings_of(record) if saving.cell.row == last]
        measured = share_range(saving.measured_share for saving in savings)
        shares = [saving.predicted_share for saving in savings if saving.predicted_share is not None]
        beside = f", {share_range(shares)} predicted" if shares else ""
        parts.append(f"at batch {record.batch} it {verdicts(record)} (saves {measured} of the time{beside})")
    yield f"{records[0].name.upper()}: {'; '.join(parts)}."


def share_range(shares: Iterable[float]) -> str:
    """`-35.0% to 6.0%`."""
    low, *_, high = sorted(shares)
    return f"{units.percent(low)} to {units.percent(high)}"


def growth_sentence(small: Sequence[Record], large: Sequence[Record]) -> str:
    """How much longer the same networks take at the larger batch, which tells whether the smaller one fills a card."""
    pairs = [pair for one, other in zip(small, large, strict=True) for pair in zip(one.cells, other.cells, strict=True)]
    growth = [other.seconds / one.seconds for one, other in pairs]
    times = units.factor(large[0].batch / small[0].batch)
    return (
        f"From batch {small[0].batch} to {large[0].batch} the work grows {times} times, but the time"
        f" {units.factor(median(growth))} times (median of the {len(growth)} networks of"
        f" {listed(record.name.upper() for record in small)}, {units.factor(min(growth))} to"
        f" {units.factor(max(growth))})."
        " Where the time hardly grows, the smaller batch waits for the CPU to launch kernels."
    )


def savings_markdown(records: Sequence[Record]) -> str:
    """Measured and predicted savings of following the guidelines, as Markdown."""
    savings = [(record.name.upper(), saving) for record in records for saving in savings_of(record)]
    columns = [
        Column("guideline", [guideline for guideline, _ in savings], left=True),
        Column("at", [saving.cell.column for _, saving in savings], left=True),
        Column("network", [saving.cell.row for _, saving in savings], left=True),
        Column("measured saving", [units.seconds(saving.measured) for _, saving in savings]),
        Column("share", [units.percent(saving.measured_share) for _, saving in savings]),
        Column("predicted saving", [units.seconds(saving.predicted) for _, saving in savings]),
        Column("share", [units.percent(saving.predicted_share) for _, saving in savings]),
    ]
    return tables.markdown(Table(columns)) + "\n"


def savings_sentence(records: Sequence[Record]) -> str:
    """How far predicted savings are from measured ones."""
    savings = [saving for record in records for saving in savings_of(record)]
    pairs = [(s.measured_share, s.predicted_share) for s in savings if s.predicted_share is not None]
    if not pairs:
        return "These times have no predictions."
    agree = sum((measured > 0) == (predicted > 0) for measured, predicted in pairs)
    error = median(abs(measured - predicted) for measured, predicted in pairs)
    correlation = rank_correlation(*zip(*pairs, strict=True))
    return (
        f"The prediction has the right sign for {agree} of {len(pairs)} savings. As shares of the time, predicted"
        f" and measured savings differ by {units.percent(error)} (median); their rank correlation is"
        f" {units.factor(correlation)}."
    )


def savings_picture(records: Sequence[Record]) -> Figure:
    """Predicted against measured savings of following a guideline, one point for each network."""
    figure = figure_of("Time saved by following the guidelines", 5.5, 5.2)
    ax = figure.add_subplot()
    ax.axline((0, 0), slope=1, color=QUIET, linewidth=1, linestyle="--", label="as predicted")
    ax.axhline(0, color=FAINT, linewidth=1, zorder=0)
    ax.axvline(0, color=FAINT, linewidth=1, zorder=0)
    for record, series in zip(records, SERIES, strict=False):
        shares = [(s.measured_share, s.predicted_share) for s in savings_of(record)]
        known = [(measured, predicted) for measured, predicted in shares if predicted is not None]
        mark(ax, known, series, record.name.upper())
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel("measured, as a share of the network's time", fontsize=SMALL, color=INK)
    ax.set_ylabel("predicted, as a share of the network's time", fontsize=SMALL, color=INK)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(tick_format(units.percent))
    only_spines(ax, "bottom", "left")
    key(figure, ax, machine(records[0]))
    return figure
