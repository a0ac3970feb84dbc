"""Guidelines G1 and G2: how far above their bounds the layers of a network are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, GROUPS, INK, QUIET, Group
from costlab.formatting.module_paths import ROOT, merge_paths, path_pattern
from costlab.formatting.units import percent
from costlab.guidelines import lint
from costlab.guidelines.analysis.groups import group_of
from costlab.guidelines.analysis.layers import layer_shape
from costlab.guidelines.rules import equal_channel_width, group_convolution
from costlab.plots.canvas import NORMAL, SMALL, axes_of, headline, key, plain, settled, shortened, words
from costlab.plots.naming import Point, along, name_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST, SMALLEST = 300, 12  # square points, of the dearest layer and of one at the bound
NAMED = 8  # the dearest layers of a panel
LONGEST = 24  # characters of their paths
LOWEST, ROOM = 1.25, 1.3  # of the axis upwards: what it reaches at least, and what it has beyond the highest layer
NARROWEST, FEWEST = 8, 16  # x axes reach from 1:8 to 8:1, and to 16 groups, at least
WIDTHS = (0.25, 1, 4)  # c2 / c1 of the curves by groups


Curve = tuple[Sequence[float], Sequence[float]]  # across, upwards


class Layer(NamedTuple):
    """Layers alike in repeated blocks: where they stand in a panel, and what they move beyond the bound."""

    x: float
    ratio: float  # memory access / the least for the same mult-adds
    excess: int  # elements, of all of them
    name: str
    group: Group


def guidelines(profile: Profile, ax: Axes | None = None) -> Axes:
    """The memory access of layers over the least for the same mult-adds: by c2 / c1 (G1), and by groups (G2).

    Batch norm is folded, as the guidelines have it. A point is a layer, or the same one in repeated blocks, its area
    the elements beyond the bound. Curves are of layers that hardly have weights: (1 + r) / (2 sqrt r) for r = c2 / c1,
    and (1 + r) / (1 + r / g) in g groups; weights draw a layer down.
    """
    ax = axes_of(ax, 8, 4)
    ax.set_axis_off()
    headline(ax, profile, "memory access of layers / the least for the same mult-adds; area: elements beyond it")
    by_width, by_groups = points_of(profile.fused("bn"))
    dearest = max((point.excess for point in (*by_width, *by_groups)), default=0) or 1
    judged = lint(profile, select=("G1", "G2")).verdicts
    verdicts = {v.rule: f"{v.verdict}, {percent(v.share)} of memory access" for v in judged}
    left = ax.inset_axes((0, 0, 0.44 if by_groups else 1, 0.92))
    scatter(left, by_width, dearest, f"G1 equal channel width: {verdicts['G1']}")
    panels = [(left, by_width, [width_curve(left, by_width)])]
    if by_groups:
        right = ax.inset_axes((0.54, 0, 0.40, 0.92))
        scatter(right, by_groups, dearest, f"G2 group convolution: {verdicts['G2']}")
        group_curves(right, by_groups)
        panels.append((right, by_groups, []))  # three curves leave no room: names may lie on them
    present = {point.group for point in (*by_width, *by_groups)}
    key(ax, (group for group in GROUPS if group in present))
    settled(ax)
    for panel, points, curves in panels:
        name_dearest(panel, points, dearest, curves)
    return ax


def points_of(profile: Profile) -> tuple[list[Layer], list[Layer]]:
    """The layers that G1 judges, and those that G2 judges, the dearest first."""
    alike: tuple[dict[Hashable, list[Layer]], dict[Hashable, list[Layer]]] = {}, {}
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        layer = layer_shape(op)
        if cost is None or layer is None or not cost.memory_access:
            continue
        judged = (equal_channel_width, layer.outputs / layer.inputs), (group_convolution, layer.groups)
        for groups, (rule, x) in zip(alike, judged, strict=True):
            if rule.applies(layer):
                excess = rule.excess(layer)
                ratio = cost.memory_access / (cost.memory_access - excess)
                point = Layer(x, ratio, excess, op.module, group_of(op))
                groups.setdefault((path_pattern(op.module), op.kind, x, ratio), []).append(point)
    by_width, by_groups = ([together(points) for points in groups.values()] for groups in alike)
    return sorted(by_width, key=lambda p: -p.excess), sorted(by_groups, key=lambda p: -p.excess)


def together(points: Sequence[Layer]) -> Layer:
    """Layers at one place as one point."""
    path = shortened(merge_paths([point.name for point in points]) or ROOT, LONGEST)
    name = f"{path} x{len(points)}" if len(points) > 1 else path
    return points[0]._replace(excess=sum(point.excess for point in points), name=name)


def width_curve(ax: Axes, points: Sequence[Layer]) -> Curve:
    """(1 + r) / (2 sqrt r) over r = c2 / c1, as far as layers go."""
    import numpy as np

    reach = max([NARROWEST, *(max(p.x, 1 / p.x) for p in points)]) * 1.3
    ratios = np.geomspace(1 / reach, reach, 201)
    curve = ratios.tolist(), ((1 + ratios) / (2 * np.sqrt(ratios))).tolist()
    ax.plot(*curve, color=QUIET, linewidth=1)
    ax.set_xscale("log", base=2)
    ax.set_xlim(1 / reach, reach)
    highest = max([LOWEST, *(1 + (p.ratio - 1) * ROOM for p in points)])
    ax.set_ylim(1 - (highest - 1) / 10, highest)
    ax.xaxis.set_major_formatter(lambda x, _: f"1:{x:.0f}" if x >= 1 else f"{1 / x:.0f}:1")
    ax.set_xlabel("input : output channels", fontsize=SMALL)
    return curve


def group_curves(ax: Axes, points: Sequence[Layer]) -> None:
    """(1 + r) / (1 + r / g) over g groups for some r = c2 / c1."""
    import numpy as np

    reach = max([FEWEST, *(p.x for p in points)]) * 1.15
    groups = np.geomspace(1, reach, 101)
    for r in WIDTHS:
        ratios = (1 + r) / (1 + r / groups)
        ax.plot(groups, ratios, color=QUIET, linewidth=1)
        words(ax, reach, ratios[-1], f" 1:{r}" if r >= 1 else f" {1 / r:.0f}:1", color=QUIET, va="center")
    ax.set_xscale("log", base=2)
    ax.set_xlim(0.9, reach)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}")
    ax.set_xlabel("groups; curves by input : output channels", fontsize=SMALL)


def scatter(ax: Axes, points: Sequence[Layer], dearest: int, title: str) -> None:
    """Layers as points, the dearest first, so that it hides none."""
    ax.scatter(
        [point.x for point in points],
        [point.ratio for point in points],
        [area(point, dearest) for point in points],
        [point.group.colour for point in points],
        alpha=0.75,
        edgecolors="white",
        linewidths=0.5,
        zorder=3,
    )
    ax.axhline(1, color=FAINT, linewidth=1, zorder=0)
    ax.set_title(title, loc="left", fontsize=NORMAL, color=INK)
    plain(ax, "bottom", "left")


def name_dearest(ax: Axes, points: Sequence[Layer], dearest: int, curves: Sequence[Curve]) -> None:
    """Names beside the dearest layers, as far as they find room beside the curves and the line at 1."""
    named = [Point(p.x, p.ratio, p.name, area(p, dearest)) for p in points]
    taken = [*along(ax, ax.get_xlim(), (1, 1), 1), *(box for curve in curves for box in along(ax, *curve, 1))]
    name_points(ax, named, min(NAMED, sum(p.excess > 0 for p in points)), taken)


def area(point: Layer, dearest: int) -> float:
    """Square points."""
    return SMALLEST + (LARGEST - SMALLEST) * point.excess / dearest
