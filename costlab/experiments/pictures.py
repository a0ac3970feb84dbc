"""Figures of an experiment's result, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.correlation import rank_correlation
from costlab.core.files import atomic_write
from costlab.experiments.report import GUIDELINES, heading
from costlab.experiments.results import Cell, Record
from costlab.formatting import units
from costlab.formatting.colours import FAINT, INK, QUIET
from costlab.formatting.escaping import visible
from costlab.plots.style import LARGE, NORMAL, SMALL, only_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Series(NamedTuple):
    """The meaning of a marker, by colour (Okabe and Ito's palette) and shape."""

    name: str
    marker: str
    colour: str
    value: Callable[[Record, Cell], float | None]


SERIES = (
    Series("here", "o", "#0072B2", lambda record, cell: record.relative(cell)),
    Series("predicted", "D", "#E69F00", lambda record, cell: record.predicted_relative(cell)),
    Series("paper's GPU", "^", "#D55E00", lambda record, cell: record.paper_relative(cell, "gpu")),
    Series("paper's ARM", "s", "#009E73", lambda record, cell: record.paper_relative(cell, "arm")),
)
FAMILIES = {
    "mobilenet_v1": ("MobileNet V1", "o", "#0072B2"),
    "mobilenet_v2": ("MobileNet V2", "s", "#D55E00"),
    "shufflenet_v1": ("ShuffleNet V1", "^", "#E69F00"),
    "shufflenet_v2": ("ShuffleNet V2", "D", "#009E73"),
}
LINES = {"dense": ("o", "#0072B2"), "depthwise": ("^", "#D55E00")}
APART = 0.16  # between two markers of a row, in rows


def write_picture(record: Record, path: Path) -> None:
    """Draw a record into a .svg, .png or .pdf file. Raises CostlabError."""
    save_figure(picture(record), path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure reproducibly, byte for byte. Raises CostlabError."""
    import matplotlib

    form = path.suffix[1:].lower()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
    with matplotlib.rc_context({"svg.hashsalt": "costlab"}), atomic_write(path) as file:
        figure.savefig(file, format=form, dpi=150, metadata=undated)


def picture(record: Record) -> Figure:
    """The figure of an experiment."""
    if record.name in GUIDELINES:
        return relative_speeds(record)
    return kernel_times(record) if record.name == "kernel" else times_of_networks(record)


def figure_of(title: str, width: float, height: float) -> Figure:
    """An empty figure with a title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=LARGE, fontweight="bold", color=INK)
    return figure


def relative_speeds(record: Record) -> Figure:
    """One panel for each scale: measured, predicted and published speeds relative to the first row."""
    columns = record.columns
    first = record.column(columns[0])
    figure = figure_of(heading(record), 9, 1.6 + 0.5 * len(first))
    panels: Sequence[Axes] = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False)[0]
    shown = [s for s in SERIES if any(s.value(record, cell) is not None for cell in record.cells)]
    for ax, column in zip(panels, columns, strict=True):
        ax.axvline(1, color=FAINT, linewidth=1, zorder=0)
        for place, series in enumerate(shown):
            offset = APART * (place - (len(shown) - 1) / 2)
            cells = record.column(column)
            heights = [row + offset for row in range(len(cells))]
            known = [(x, y) for cell, y in zip(cells, heights, strict=True) if (x := series.value(record, cell))]
            mark(ax, known, series, series.name)
            if series is shown[0]:
                ax.hlines(heights, *spread(record, cells), color=series.colour, linewidth=1.5)
        only_spines(ax, "bottom")
        ax.set_title(column, fontsize=NORMAL, color=INK, loc="left")
        ax.set_xlim(left=0)
        ax.margins(x=0.08)
        ax.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(first)), [cell.row for cell in first])
    panels[0].set_ylim(len(first) - 0.5, -0.5)
    key(
        figure,
        panels[0],
        f"speed over that of {first[0].row}; bars: interquartile range of the rounds; {machine(record)}",
    )
    return figure


def spread(record: Record, cells: Sequence[Cell]) -> tuple[list[float], list[float]]:
    """The quartiles of the cells' relative speeds."""
    quartiles = []
    for cell in cells:
        ratios = record.ratios(cell)
        low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        quartiles.append((low, high))
    lows, highs = zip(*quartiles, strict=True)
    return list(lows), list(highs)


def kernel_times(record: Record) -> Figure:
    """Time against mult-adds, both relative to a 1x1 convolution; on the dashed line they grow alike."""
    figure = figure_of(heading(record), 5.5, 4.8)
    ax = figure.add_subplot()
    largest = max(cell.mult_adds / record.first(cell).mult_adds for cell in record.cells)
    ax.plot([1, largest], [1, largest], color=QUIET, linewidth=1, linestyle="--", label="proportional to mult-adds")
    for column in record.columns:
        marker, colour = LINES.get(column, ("o", INK))
        cells = record.column(column)
        mult_adds = [cell.mult_adds / cells[0].mult_adds for cell in cells]
        times = [1 / record.relative(cell) for cell in cells]
        ax.plot(mult_adds, times, color=colour, marker=marker, label=column)
        for cell, x, y in zip(cells, mult_adds, times, strict=True):
            if cell is not cells[0]:
                label = ax.annotate(cell.row, (x, y), (6, -10), textcoords="offset points", fontsize=SMALL, color=INK)
                label.set_parse_math(False)
    logarithmic(ax, lambda x: f"{x:g}", lambda y: f"{y:g}")
    ax.set_xlabel("mult-adds relative to 1x1", fontsize=SMALL, color=INK)
    ax.set_ylabel("measured time relative to 1x1", fontsize=SMALL, color=INK)
    key(figure, ax, machine(record))
    return figure


def times_of_networks(record: Record) -> Figure:
    """Measured time against mult-adds, memory access and, if there is one, the prediction."""
    measured = [cell.seconds for cell in record.cells]
    costs: dict[str, list[float]] = {
        "mult-adds": [cell.mult_adds for cell in record.cells],
        "memory access": [cell.memory_access for cell in record.cells],
    }
    predicted = [cell.predicted_seconds for cell in record.cells if cell.predicted_seconds is not None]
    if len(predicted) == len(measured):
        costs["predicted time"] = predicted
    figure = figure_of(heading(record), 3.6 * len(costs) + 0.6, 4.4)
    panels: Sequence[Axes] = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for ax, (name, values) in zip(panels, costs.items(), strict=True):
        for network, (family, marker, colour) in FAMILIES.items():
            points = [
                (x, cell.seconds) for x, cell in zip(values, record.cells, strict=True) if cell.network == network
            ]
            if points:
                across, up = zip(*sorted(points), strict=True)
                ax.plot(across, up, color=colour, marker=marker, label=family, linewidth=0.8)
        logarithmic(ax, units.seconds if name == "predicted time" else lambda x: units.short(round(x)), units.seconds)
        ax.set_xlabel(name, fontsize=SMALL, color=INK)
        correlation = units.factor(rank_correlation(values, measured))
        ax.set_title(f"rank correlation {correlation}", fontsize=NORMAL, color=INK, loc="left")
    panels[0].set_ylabel("measured time", fontsize=SMALL, color=INK)
    key(figure, panels[0], machine(record))
    return figure


def mark(ax: Axes, points: Sequence[tuple[float, float]], series: Series, name: str) -> None:
    """Draw points with a series' marker."""
    across, up = [x for x, _ in points], [y for _, y in points]
    ax.scatter(across, up, 34, c=series.colour, marker=series.marker, label=name, zorder=3)


def logarithmic(ax: Axes, horizontal: Callable[[float], str], vertical: Callable[[float], str]) -> None:
    """Make both axes logarithmic, with formatted ticks at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    ax.set_xscale("log")
    ax.set_yscale("log")
    only_spines(ax, "bottom", "left")
    for axis, write in ((ax.xaxis, horizontal), (ax.yaxis, vertical)):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(tick_format(write))


def tick_format(write: Callable[[float], str]) -> Callable[[float, float], str]:
    """A tick formatter for matplotlib."""
    return lambda value, _: write(value)


def machine(record: Record) -> str:
    """The machine and the batch size."""
    around = record.environment
    processor = around.get("gpu") or around.get("cpu") or "unknown processor"
    return visible(f"{record.device}, {processor}, batch {record.batch}")


def key(figure: Figure, ax: Axes, caption: str) -> None:
    """The caption and the legend, below everything."""
    entries = ax.get_legend_handles_labels()
    legend = figure.legend(
        *entries, loc="outside lower left", ncols=5, frameon=False, fontsize=SMALL, title=caption, alignment="left"
    )
    title = legend.get_title()
    title.set(fontsize=SMALL, color=QUIET, parse_math=False)
