"""Pareto: networks in two costs, and those that no other one beats in both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from costlab.core.metrics import MEASURED, METRICS, PREDICTED, Metric
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.colours import INK, PALE
from costlab.latency.devices import Device
from costlab.plots.canvas import SMALL, axes_of, headline, in_units, plain, settled, shortened
from costlab.plots.naming import Point, along, name_points
from costlab.plots.rows import Row, column, name_of, row_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


def tick(metric: Metric) -> Callable[[float], str]:
    """How a metric is written on an axis: counts and bytes are whole numbers."""
    return metric.format if metric.unit == "s" else lambda value: metric.format(round(value))


NAMES: dict[str, tuple[str, Callable[[float], str]]] = {
    **{key: (metric.label, tick(metric)) for key, metric in METRICS.items() if metric.unit in ("", "B")},
    PREDICTED: ("predicted time", units.seconds),
    MEASURED: ("measured time", units.seconds),
}
AREA = 26  # square points
WIDE = 8  # from this ratio of largest to smallest on an axis is logarithmic
MOST = 40  # networks that are named; of more only those of the front
LONGEST = 32  # characters of a name


def pareto(
    networks: Sequence[Profile | Row],
    ax: Axes | None = None,
    *,
    x: str = "mult_adds",
    y: str = "memory_access",
    larger: Collection[str] = (),
    device: str | Path | Device | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Networks as points, and the front of those that none of the others beats in both `x` and `y`.

    Args:
        networks: profiles, or rows that map columns to numbers and "name" to a name. Rows without a number in `x` or
            `y` are left out.
        x, y: columns: of a profile its costs, and "predicted_seconds" where there is a device.
        larger: those of the columns of which more is better, such as an accuracy; of all others less is.
        device, amp, fusion, channels_last: what the time of profiles is predicted for, as in `costlab.predict`.

    Raises:
        CostlabError: no row has numbers in both columns, `larger` is not one of them, or there is no such device.
    """
    for key in larger:
        if key not in (x, y):
            raise CostlabError(f"more is better in {key!r}, which is not drawn: there are {x!r} and {y!r}")
    running = {"amp": amp, "fusion": fusion, "channels_last": channels_last}
    rows = [row_of(n, device, **running) if isinstance(n, Profile) else n for n in networks]
    drawn = [
        Point(across, up, shortened(name_of(row), LONGEST), AREA)
        for row, across, up in zip(rows, column(rows, x), column(rows, y), strict=True)
        if across is not None and up is not None
    ]
    if not drawn:
        raise CostlabError(f"no row has numbers in both {x!r} and {y!r}")
    front = front_of(drawn, x in larger, y in larger)
    others = [point for point in drawn if point not in front]
    ax = axes_of(ax, 8, 5)
    plain(ax, "bottom", "left")
    for points, colour in ((others, PALE), (front, INK)):
        ax.scatter([p.x for p in points], [p.y for p in points], AREA, colour, linewidths=0, zorder=3)
    xs, ys = [x for p in front for x in (p.x, p.x)][1:], [y for p in front for y in (p.y, p.y)][:-1]  # in steps
    ax.plot(xs, ys, color=INK, linewidth=1)
    axis_for(ax.xaxis, ax.set_xscale, x, x in larger, [point.x for point in drawn])
    axis_for(ax.yaxis, ax.set_yscale, y, y in larger, [point.y for point in drawn])
    left_out = f"; {len(rows) - len(drawn)} without these numbers left out" if len(drawn) < len(rows) else ""
    count = f"{len(drawn)} network{'s' if len(drawn) > 1 else ''}"
    headline(ax, count, f"dark: the {len(front)} that no other one beats in both{left_out}")
    settled(ax)
    name_points(ax, front + others, len(drawn) if len(drawn) <= MOST else len(front), along(ax, xs, ys))
    return ax


def front_of(points: Sequence[Point], larger_x: bool, larger_y: bool) -> list[Point]:
    """The points that no other one equals or beats in both, and beats in one; the best in `x` first."""
    right, up = (-1 if larger else 1 for larger in (larger_x, larger_y))
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (right * p.x, up * p.y)):
        if not front or up * point.y < up * front[-1].y or point[:2] == front[-1][:2]:
            front.append(point)
    return front


def axis_for(
    axis: Axis, set_scale: Callable[[str], None], key: str, more: bool | None, values: Sequence[float]
) -> None:
    """A scale that suits the values, with ticks in the unit of their column; `more` says whether more is better."""
    if min(values) > 0 and max(values) >= WIDE * min(values):
        set_scale("log")
    name, write = unit_of(key)
    in_units(axis, write)
    better = "" if more is None else f" ({'more' if more else 'less'} is better)"
    axis.set_label_text(f"{shortened(name)}{better}", fontsize=SMALL, color=INK, parse_math=False)


def unit_of(key: str) -> tuple[str, Callable[[float], str]]:
    """What a column is called, and its numbers as text."""
    if key.startswith(f"{PREDICTED}_"):
        return f"{NAMES[PREDICTED][0]} on {key.removeprefix(f'{PREDICTED}_')}", units.seconds
    return NAMES.get(key, (key, "{:g}".format))
