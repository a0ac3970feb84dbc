"""Roofline: the speed of operators under the ceilings of a device (Williams, Waterman and Patterson, 2009)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from math import atan2, degrees
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import Cost
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, GROUPS, INK, QUIET, Group
from costlab.formatting.module_paths import ROOT, merge_paths, path_pattern
from costlab.formatting.units import percent, seconds, short
from costlab.guidelines.analysis.groups import group_of
from costlab.latency._predict import predict
from costlab.latency.ceilings import ceilings, main_dtype
from costlab.latency.devices import Device, find_device
from costlab.plots.canvas import (
    SMALL,
    axes_of,
    extent,
    headline,
    in_units,
    keep_apart,
    key,
    plain,
    settled,
    shortened,
    words,
)
from costlab.plots.naming import Point, along, name_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

LARGEST, SMALLEST = 900, 8  # square points: of an operator that took all of the time, and of the cheapest
NAMED = 12  # the dearest points
LONGEST = 24  # characters of their paths
ROOM = 1.6  # beyond the outermost point
LIFT = 6  # pixels from the slope to the middle of its name


class Work(NamedTuple):
    """Operators of one kind, shape and place in repeated blocks."""

    name: str
    group: Group
    operations: int  # of all of them: 2 a mult-add, 1 an element-wise operation
    bytes: int
    seconds: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.bytes

    @property
    def speed(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


def roofline(
    profile: Profile,
    device: str | Path | Device,
    ax: Axes | None = None,
    *,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Predicted speed of operators over their operations per byte, below what a device can do at most.

    A mult-add is 2 operations, arithmetic outside contractions 1 an element-wise operation, so that both have a place.
    The same operator in repeated blocks is one point; its area is the predicted time. A point above the slope finds in
    a cache what others get from memory.

    Args:
        device: a name, a file or a Device.
        fusion, channels_last: how the network runs there, as in `costlab.predict`. It computes in the traced dtype.

    Raises:
        CostlabError: there is no such device or fusion.
    """
    device = device if isinstance(device, Device) else find_device(device)
    prediction = predict(profile, device, fusion=fusion, channels_last=channels_last)
    profile = profile.fused(fusion)
    points = points_of(profile, prediction.by_op)
    whole = prediction.seconds
    idle = whole - sum(p.seconds for p in points) - prediction.overhead_seconds
    ax = axes_of(ax, 8, 5)
    plain(ax, "bottom", "left")
    ax.set(xscale="log", yscale="log")
    highest = max(ceilings(device))
    ridge = highest / device.bandwidth
    left = min([*(p.intensity for p in points), ridge / 100]) / ROOM
    right = max([*(p.intensity for p in points), ridge]) * ROOM
    lowest = min([*(p.speed for p in points), left * device.bandwidth])
    ax.set_xlim(left, right)
    ax.set_ylim(lowest / ROOM, highest * ROOM)
    in_units(ax.xaxis, lambda x: f"{x:g}")
    in_units(ax.yaxis, lambda y: short(round(y)))
    sizes = [SMALLEST + (LARGEST - SMALLEST) * p.seconds / whole for p in points]
    ax.scatter(
        [p.intensity for p in points],
        [p.speed for p in points],
        sizes,
        [p.group.colour for p in points],
        alpha=0.75,
        edgecolors="white",
        linewidths=0.5,
        zorder=3,
    )
    without = f"; operators without any take {percent(idle / whole)} of the time" if idle > 0 else ""
    ax.set_xlabel(f"operations / byte accessed{without}", fontsize=SMALL, color=INK)
    ax.set_ylabel("operations / predicted second", fontsize=SMALL, color=INK)
    headline(ax, profile, f"{seconds(whole)} predicted for {prediction.setup}; area: share of the time")
    present = {p.group for p in points}
    key(ax, (group for group in GROUPS if group in present))
    taken = draw_ceilings(ax, device, main_dtype(profile))
    named = [Point(p.intensity, p.speed, p.name, size) for p, size in zip(points, sizes, strict=True)]
    slope = along(ax, (left, ridge), (left * device.bandwidth, highest))
    name_points(ax, named, NAMED, [*map(extent, taken), *slope])
    return ax


def points_of(profile: Profile, times: Mapping[str, float]) -> list[Work]:
    """Operators that do any arithmetic, those alike together, the dearest in time first."""
    alike: dict[Hashable, list[tuple[Op, Cost]]] = {}
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        if cost and operations(cost) and cost.bytes_accessed and times.get(op.name):
            alike.setdefault((path_pattern(op.module), op.kind, operations(cost), cost.bytes_accessed), []).append(
                (op, cost)
            )
    found = []
    for members in alike.values():
        path = shortened(merge_paths([op.module for op, _ in members]) or ROOT, LONGEST)
        name = f"{path} {members[0][0].kind}"
        found.append(
            Work(
                name=f"{name} x{len(members)}" if len(members) > 1 else name,
                group=group_of(members[0][0]),
                operations=sum(operations(cost) for _, cost in members),
                bytes=sum(cost.bytes_accessed for _, cost in members),
                seconds=sum(times[op.name] for op, _ in members),
            )
        )
    return sorted(found, key=lambda work: -work.seconds)


def operations(cost: Cost) -> int:
    return cost.flops + cost.element_wise_ops


def draw_ceilings(ax: Axes, device: Device, dtype: str) -> list[Text]:
    """The slope of the memory bandwidth, a peak for every dtype, and the ridge point of `dtype`; their names."""
    left, right = ax.get_xlim()
    bottom, _ = ax.get_ylim()
    peaks = ceilings(device)
    ridge, top = device.ridge_point(dtype), max(peaks) / device.bandwidth
    slope = [(x, x * device.bandwidth) for x in (left, top)]
    ax.plot(*zip(*slope, strict=True), color=QUIET, linewidth=1)
    names = []
    for peak, dtypes in peaks.items():
        own = peak == device.peak_flops(dtype)
        style: dict[str, Any] = {"color": INK if own else QUIET, "linestyle": "-" if own else "--"}
        ax.plot([peak / device.bandwidth, right], [peak, peak], linewidth=1, **style)
        name = f"  {', '.join(dtypes)}  {short(round(peak), 'FLOP/s')}"
        va = "bottom" if peak == max(peaks) else "center"  # the next one may be near
        names.append(words(ax, right, peak, name, va=va, color=style["color"]))
    ax.axvline(ridge, color=FAINT, linewidth=1, zorder=0)
    settled(ax)
    keep_apart(names)
    upright: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "bottom", "color": QUIET}
    foot = words(ax, ridge, bottom, f"  ridge point {ridge:.1f} FLOP/byte", **upright)
    (x0, y0), (x1, y1) = ax.transData.transform(slope)
    along: dict[str, Any] = {"rotation": degrees(atan2(y1 - y0, x1 - x0)), "ha": "center", "va": "center"}
    x, y = ax.transData.inverted().transform(((x0 + x1) / 2 - LIFT, (y0 + y1) / 2 + LIFT))
    return [foot, words(ax, x, y, f"memory {short(round(device.bandwidth), 'B/s')}", color=QUIET, **along)]
