"""Predicted vs measured: how far predictions are from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from costlab.core.metrics import MEASURED, PREDICTED
from costlab.core.statistics import rank_correlation
from costlab.errors import CostlabError
from costlab.formatting.colours import ALARM, FAINT, INK, QUIET
from costlab.formatting.units import factor, percent, seconds
from costlab.plots.canvas import SMALL, axes_of, headline, in_units, plain, settled, shortened
from costlab.plots.naming import Point, along, name_points
from costlab.plots.rows import Row, column, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WITHIN = 0.2  # relative error of the band
AREA = 20  # square points
MOST = 24  # names
LONGEST = 28  # characters of a name
ROOM = 1.4  # beyond the outermost point


def predicted_vs_measured(rows: Sequence[Row], ax: Axes | None = None) -> Axes:
    """Predicted over measured seconds, a point a row; those further off than 20 % stand out, the worst named first.

    Args:
        rows: each maps "predicted_seconds" and "measured_seconds" to numbers above 0, and "name" to a name.

    Raises:
        CostlabError: a row lacks one of the two.
    """
    points = points_of(rows)
    points.sort(key=error, reverse=True)
    errors = [error(point) for point in points]
    ends = min(min(p[:2]) for p in points) / ROOM, max(max(p[:2]) for p in points) * ROOM
    ax = axes_of(ax, 6, 6)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    plain(ax, "bottom", "left")
    in_units(ax.xaxis, seconds)
    in_units(ax.yaxis, seconds)
    low, high = ([end * part for end in ends] for part in (1 - WITHIN, 1 + WITHIN))
    ax.fill_between(ends, low, high, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
    ax.plot(ends, ends, color=QUIET, linewidth=1, zorder=1)
    colours = [ALARM if far > WITHIN else INK for far in errors]
    ax.scatter([p.x for p in points], [p.y for p in points], AREA, colours, linewidths=0, zorder=3)
    ax.set_xlabel("measured", fontsize=SMALL, color=INK)
    ax.set_ylabel("predicted", fontsize=SMALL, color=INK)
    near = percent(sum(far <= WITHIN for far in errors) / len(errors))
    ranks = rank_correlation([p.x for p in points], [p.y for p in points])
    told = f"median error {percent(median(errors))}, {near} within {percent(WITHIN)}"
    order = "" if ranks is None else f", rank correlation {factor(ranks)}"
    headline(ax, f"{len(points)} predicted and measured times", told + order)
    settled(ax)
    name_points(ax, points, MOST, along(ax, ends, ends))
    return ax


def points_of(rows: Sequence[Row]) -> list[Point]:
    """Measured seconds across, predicted ones upwards."""
    found: list[Point] = []
    for row, measured, predicted in zip(rows, column(rows, MEASURED), column(rows, PREDICTED), strict=True):
        name = shortened(name_of(row), LONGEST)
        if not measured or not predicted or min(measured, predicted) < 0:
            raise CostlabError(f"row {len(found) + 1} ({name}) needs {PREDICTED} and {MEASURED} above 0")
        found.append(Point(measured, predicted, name, AREA))
    return found


def error(point: Point) -> float:
    """How far a prediction is off, relative to what was measured."""
    return abs(point.y / point.x - 1)
