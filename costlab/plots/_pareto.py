"""Pareto: networks in two costs, and the Pareto front among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.pareto import pareto_front
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.colours import INK, PALE
from costlab.latency.device import Device
from costlab.latency.verified import mark_of
from costlab.plots.network_rows import Networks, column, counted, name_of, predicted_on, rows_of
from costlab.plots.point_labels import LabelledPoint, boxes_along, label_points, scatter
from costlab.plots.style import SMALL, axes_or_new, fix_layout, format_ticks, headline, only_spines, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

AREA = 26  # square points
WIDE = 8  # an axis whose values span at least this ratio is logarithmic
MOST = 40  # labels; of more networks only the front is labelled
LONGEST = 32  # characters of a name


def pareto(
    networks: Networks,
    x: str = "mult_adds",
    y: str = "memory_access",
    *,
    ax: Axes | None = None,
    larger: Collection[str] = (),
    device: str | Path | Device | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Plot networks as points, with the Pareto front: the networks that no other one beats in both `x` and `y`.

    Args:
        networks: profiles, a data frame, or rows that map columns to numbers and "name" to a name. Rows without a
            number in `x` or `y` are left out.
        x, y: columns: costs, or "predicted_seconds" of profiles if there is a device.
        larger: the columns in which more is better, such as an accuracy.
        device, amp, fusion, channels_last: as in `costlab.predict`, for the time of profiles.

    Raises:
        CostlabError: no row has numbers in both columns, `larger` is not one of them, or the device is unknown.
    """
    for key in larger:
        if key not in (x, y):
            raise CostlabError(f"larger={key!r} is neither x ({x!r}) nor y ({y!r})")
    rows = rows_of(networks, device, amp=amp, fusion=fusion, channels_last=channels_last)
    points = [
        LabelledPoint(across, up, shortened(name_of(row), LONGEST), AREA, PALE)
        for row, across, up in zip(rows, column(rows, x), column(rows, y), strict=True)
        if across is not None and up is not None
    ]
    if not points:
        raise CostlabError(f"no row has numbers in both {x!r} and {y!r}")
    on_front = pareto_front([(p.x, p.y) for p in points], x in larger, y in larger)
    front = [points[i]._replace(colour=INK) for i in on_front]
    others = [point for i, point in enumerate(points) if i not in set(on_front)]
    ax = axes_or_new(ax, 8, 5)
    only_spines(ax, "bottom", "left")
    scatter(ax, others)
    scatter(ax, front)
    places = dict.fromkeys((p.x, p.y) for p in front)  # ties are one place
    xs, ys = [x for x, _ in places for _ in "vh"][1:], [y for _, y in places for _ in "vh"][:-1]  # in steps
    ax.plot(xs, ys, color=INK, linewidth=1)
    scale_axis(ax.xaxis, ax.set_xscale, x, x in larger, [point.x for point in points])
    scale_axis(ax.yaxis, ax.set_yscale, y, y in larger, [point.y for point in points])
    count, left_out = counted(len(points), len(rows), "these numbers")
    headline(ax, count, f"dark: Pareto front ({len(front)}){predicted_on(device, x, y)}{left_out}")
    fix_layout(ax)
    labelled = len(points) if len(points) <= MOST else min(len(front), MOST)
    label_points(ax, front + others, labelled, boxes_along(ax, xs, ys, 1))
    return ax


def scale_axis(
    axis: Axis, set_scale: Callable[[str], None], key: str, larger: bool | None, values: Sequence[float]
) -> None:
    """Set the scale, the ticks and the label of an axis for a column; `larger` says whether more is better."""
    if min(values) > 0 and max(values) >= WIDE * min(values):
        set_scale("log")
    name, write = column_text(key)
    format_ticks(axis, write)
    better = "" if larger is None else f" ({'more' if larger else 'less'} is better)"
    axis.set_label_text(f"{shortened(name)}{better}", fontsize=SMALL, color=INK, parse_math=False)


def column_text(key: str) -> tuple[str, Callable[[float], str]]:
    """The name of a column, and how its numbers are written."""
    if key.startswith(f"{PREDICTED}_"):
        device = key.removeprefix(f"{PREDICTED}_")
        return f"predicted time on {device}{mark_of(device)}", units.seconds
    metric = METRICS.get(key)
    if metric is None or metric.unit not in ("", "B", "s"):
        return key, "{:g}".format
    if metric.unit == "s":
        return f"{metric.label} time", units.seconds
    return metric.label, lambda value: metric.format(round(value))
