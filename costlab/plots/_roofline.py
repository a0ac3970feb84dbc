"""Roofline: the speed of operators below the ceilings of a device (Williams, Waterman and Patterson, 2009)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import atan2, degrees
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import Cost
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, INK, QUIET, Group
from costlab.formatting.module_paths import ROOT, merge_paths, path_pattern
from costlab.formatting.units import percent, seconds, short
from costlab.guidelines.analysis.op_classes import group_of
from costlab.latency._predict import predict
from costlab.latency.ceilings import ceilings, main_dtype
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.plots.point_labels import LabelledPoint, boxes_along, label_points, scatter_bubbles
from costlab.plots.style import (
    SMALL,
    add_text,
    axes_or_new,
    fix_layout,
    format_ticks,
    headline,
    legend,
    only_spines,
    remove_overlapping,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

LARGEST, SMALLEST = 900, 8  # square points: of an operator with all of the time, and of the fastest
LABELS = 12  # of the slowest points
LONGEST = 24  # characters of a path
ROOM = 1.6  # beyond the outermost point
LIFT = 6  # pixels from the slope to its label


class RooflinePoint(NamedTuple):
    """The same operator in repeated blocks."""

    name: str
    group: Group
    operations: int  # of all of them: 2 per mult-add, 1 per element-wise operation
    bytes: int
    seconds: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.bytes

    @property
    def speed(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


def roofline(
    profile: Profile,
    device: str | Path | Device,
    ax: Axes | None = None,
    *,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Plot the predicted speed of operators over their operations per byte, below the ceilings of a device.

    A mult-add is 2 operations, an element-wise operation 1. The same operator in repeated blocks is one point; its area
    is the predicted time. A point above the slope reads from a cache what others read from memory.

    Args:
        device: a name, a file or a Device.
        fusion, channels_last: how the network runs there, as in `costlab.predict`. It computes in the traced dtype.

    Raises:
        CostlabError: unknown device or fusion.
    """
    device = device if isinstance(device, Device) else find_device(device)
    prediction = predict(profile, device, fusion=fusion, channels_last=channels_last)
    profile = profile.fused(fusion)
    points = roofline_points(profile, prediction.by_op)
    whole = prediction.seconds
    ax = axes_or_new(ax, 8, 5)
    only_spines(ax, "bottom", "left")
    set_axes(ax, points, device)
    idle = whole - sum(p.seconds for p in points) - prediction.overhead_seconds
    without = f"; operators without any take {percent(idle / whole)} of the time" if idle > 0 else ""
    ax.set_xlabel(f"operations / byte accessed{without}", fontsize=SMALL, color=INK)
    ax.set_ylabel("operations / predicted second", fontsize=SMALL, color=INK)
    areas = (SMALLEST + (LARGEST - SMALLEST) * p.seconds / whole for p in points)
    bubbles = [
        LabelledPoint(p.intensity, p.speed, p.name, area, p.group.colour) for p, area in zip(points, areas, strict=True)
    ]
    scatter_bubbles(ax, bubbles)
    headline(ax, profile, f"{seconds(whole)} predicted for {prediction.setup}; area: share of the time")
    legend(ax, {p.group for p in points})
    label_points(ax, bubbles, LABELS, draw_ceilings(ax, device, main_dtype(profile)))
    return ax


def set_axes(ax: Axes, points: Sequence[RooflinePoint], device: Device) -> None:
    """Logarithmic axes with room for all points, the slope and the ceilings."""
    highest = max(ceilings(device))
    ridge = highest / device.bandwidth
    left = min([*(p.intensity for p in points), ridge / 100]) / ROOM
    right = max([*(p.intensity for p in points), ridge]) * ROOM
    lowest = min([*(p.speed for p in points), left * device.bandwidth])
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(lowest / ROOM, highest * ROOM))
    format_ticks(ax.xaxis, lambda x: f"{x:g}")
    format_ticks(ax.yaxis, lambda y: short(round(y)))


def roofline_points(profile: Profile, times: Mapping[str, float]) -> list[RooflinePoint]:
    """Operators with arithmetic, the same ones merged, the slowest first."""
    alike: dict[Hashable, list[tuple[Op, Cost]]] = {}
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        if cost and operations(cost) and cost.bytes_accessed and times.get(op.name):
            key = path_pattern(op.module), op.kind, operations(cost), cost.bytes_accessed
            alike.setdefault(key, []).append((op, cost))
    points = []
    for members in alike.values():
        (op, cost), count = members[0], len(members)
        path = shortened(merge_paths([op.module for op, _ in members]) or ROOT, LONGEST)
        points.append(
            RooflinePoint(
                name=f"{path} {op.kind}{f' x{count}' if count > 1 else ''}",
                group=group_of(op),
                operations=count * operations(cost),
                bytes=count * cost.bytes_accessed,
                seconds=sum(times[op.name] for op, _ in members),
            )
        )
    return sorted(points, key=lambda point: -point.seconds)


def operations(cost: Cost) -> int:
    """2 per mult-add, 1 per element-wise operation."""
    return cost.flops + cost.element_wise_ops


def draw_ceilings(ax: Axes, device: Device, dtype: str) -> list[Bbox]:
    """Draw memory bandwidth, the peak of each dtype, and the ridge point of `dtype`; return their boxes in pixels."""
    (left, right), (bottom, _) = ax.get_xlim(), ax.get_ylim()
    peaks = ceilings(device)
    ridge, top = device.ridge_point(dtype), max(peaks) / device.bandwidth
    xs, ys = (left, top), (left * device.bandwidth, top * device.bandwidth)
    ax.plot(xs, ys, color=QUIET, linewidth=1)
    labels = []
    for peak, dtypes in peaks.items():
        own = peak == device.peak_flops(dtype)
        colour = INK if own else QUIET
        ax.plot(
            [peak / device.bandwidth, right], [peak, peak], linewidth=1, color=colour, linestyle="-" if own else "--"
        )
        name = f"  {', '.join(dtypes)}  {short(round(peak), 'FLOP/s')}"
        va = "bottom" if peak == max(peaks) else "center"  # the next one may be near
        labels.append(add_text(ax, right, peak, name, va=va, color=colour))
    ax.axvline(ridge, color=FAINT, linewidth=1, zorder=0)
    fix_layout(ax)
    remove_overlapping(labels)
    upright: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "bottom", "color": QUIET}
    foot = add_text(ax, ridge, bottom, f"  ridge point {ridge:.1f} FLOP/byte", **upright)
    (x0, y0), (x1, y1) = ax.transData.transform([*zip(xs, ys, strict=True)])
    along: dict[str, Any] = {"rotation": degrees(atan2(y1 - y0, x1 - x0)), "ha": "center", "va": "center"}
    x, y = ax.transData.inverted().transform(((x0 + x1) / 2 - LIFT, (y0 + y1) / 2 + LIFT))
    bandwidth = add_text(ax, x, y, f"memory {short(round(device.bandwidth), 'B/s')}", color=QUIET, **along)
    return [foot.get_window_extent(), bandwidth.get_window_extent(), *boxes_along(ax, xs, ys)]
