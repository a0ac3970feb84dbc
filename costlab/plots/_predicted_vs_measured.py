"""Predicted vs measured: how accurate predictions are."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from costlab.core.correlation import rank_correlation
from costlab.core.metrics import MEASURED, PREDICTED
from costlab.errors import CostlabError
from costlab.formatting.colours import ALARM, FAINT, INK, QUIET
from costlab.formatting.units import factor, percent, seconds
from costlab.plots.network_rows import NetworkRow, column, name_of
from costlab.plots.point_labels import LabelledPoint, boxes_along, label_points, scatter
from costlab.plots.style import SMALL, axes_or_new, fix_layout, format_ticks, headline, only_spines, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WITHIN = 0.2  # relative error of the band
AREA = 20  # square points
MOST = 24  # labels
LONGEST = 28  # characters of a name
ROOM = 1.4  # beyond the outermost point


def predicted_vs_measured(rows: Sequence[NetworkRow], ax: Axes | None = None) -> Axes:
    """Plot predicted over measured seconds, one point per row. Errors above 20 % stand out; the worst are labelled.

    Args:
        rows: each maps "predicted_seconds" and "measured_seconds" to positive numbers, and "name" to a name.

    Raises:
        CostlabError: a row lacks one of the two.
    """
    points = sorted(points_of(rows), key=relative_error, reverse=True)
    errors = [relative_error(point) for point in points]
    ends = min(min(p[:2]) for p in points) / ROOM, max(max(p[:2]) for p in points) * ROOM
    ax = axes_or_new(ax, 6, 6)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    only_spines(ax, "bottom", "left")
    format_ticks(ax.xaxis, seconds)
    format_ticks(ax.yaxis, seconds)
    low, high = ([end * part for end in ends] for part in (1 - WITHIN, 1 + WITHIN))
    ax.fill_between(ends, low, high, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
    ax.plot(ends, ends, color=QUIET, linewidth=1, zorder=1)
    scatter(ax, points)
    ax.set_xlabel("measured", fontsize=SMALL, color=INK)
    ax.set_ylabel("predicted", fontsize=SMALL, color=INK)
    near = percent(sum(error <= WITHIN for error in errors) / len(errors))
    correlation = rank_correlation([p.x for p in points], [p.y for p in points])
    summary = f"median error {percent(median(errors))}, {near} within {percent(WITHIN)}"
    summary += "" if correlation is None else f", rank correlation {factor(correlation)}"
    headline(ax, f"{len(points)} predicted and measured times", summary)
    fix_layout(ax)
    label_points(ax, points, MOST, boxes_along(ax, ends, ends))
    return ax


def points_of(rows: Sequence[NetworkRow]) -> list[LabelledPoint]:
    """Measured seconds across, predicted seconds upwards. Raises CostlabError."""
    points: list[LabelledPoint] = []
    for row, measured, predicted in zip(rows, column(rows, MEASURED), column(rows, PREDICTED), strict=True):
        name = shortened(name_of(row), LONGEST)
        if not measured or not predicted or min(measured, predicted) < 0:
            raise CostlabError(f"row {len(points) + 1} ({name}) needs {PREDICTED} and {MEASURED} above 0")
        point = LabelledPoint(measured, predicted, name, AREA)
        points.append(point._replace(colour=ALARM if relative_error(point) > WITHIN else INK))
    return points


def relative_error(point: LabelledPoint) -> float:
    """The error of a prediction relative to the measured time."""
    return abs(point.y / point.x - 1)
