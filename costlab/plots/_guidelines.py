"""Guidelines G1 and G2: how far the layers of a network are above their bounds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, INK, QUIET, Group
from costlab.formatting.module_paths import ROOT, merge_paths, path_pattern
from costlab.formatting.units import percent
from costlab.guidelines import lint
from costlab.guidelines.analysis.layers import layer_shape
from costlab.guidelines.analysis.op_classes import group_of
from costlab.guidelines.rules import equal_channel_width, group_convolution
from costlab.plots.point_labels import LabelledPoint, boxes_along, label_points, scatter_bubbles
from costlab.plots.style import (
    NORMAL,
    SMALL,
    add_text,
    axes_or_new,
    fix_layout,
    headline,
    legend,
    only_spines,
    panel_in,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST, SMALLEST = 300, 12  # square points: of the layer with the most excess, and of one at the bound
LABELS = 8  # per panel
LONGEST = 24  # characters of a path
LOWEST, ROOM = 1.25, 1.3  # least upper end of the y axis, and its room above the highest layer
NARROWEST, FEWEST = 8, 16  # the x axes reach at least from 1:8 to 8:1, and to 16 groups
WIDTHS = (0.25, 1, 4)  # c2 / c1 of the curves over groups

Curve = tuple[Sequence[float], Sequence[float]]  # x, y


class LayerPoint(NamedTuple):
    """The same layer in repeated blocks: its position in a panel, and the sum of the excess."""

    x: float
    ratio: float  # memory access / the least for the same mult-adds
    excess: int  # elements
    name: str
    group: Group


def guidelines(profile: Profile, ax: Axes | None = None) -> Axes:
    """Plot the memory access of layers over the least for the same mult-adds, by c2 / c1 (G1) and by groups (G2).

    Batch norm is folded, as for the guidelines. A point is a layer, or the same layer in repeated blocks; its area is
    the excess in elements. The curves are the limit for layers with few weights: (1 + r) / (2 sqrt r) for r = c2 / c1,
    and (1 + r) / (1 + r / g) with g groups; weights lower the ratio.
    """
    ax = axes_or_new(ax, 8, 4)
    ax.set_axis_off()
    headline(ax, profile, "memory access of layers / the least for the same mult-adds; area: elements beyond it")
    by_width, by_groups = layer_points(profile.fused("bn"))
    most = max((point.excess for point in (*by_width, *by_groups)), default=0) or 1
    verdicts = {
        v.rule: f"{v.verdict}, {percent(v.share)} of memory access" for v in lint(profile, select=("G1", "G2")).verdicts
    }
    left = panel_in(ax, (0, 0, 0.44 if by_groups else 1, 0.92))
    panels = [(left, by_width, [width_curve(left, by_width)])]
    draw_panel(left, bubbles(by_width, most), f"G1 equal channel width: {verdicts['G1']}")
    if by_groups:
        right = panel_in(ax, (0.54, 0, 0.40, 0.92))
        draw_panel(right, bubbles(by_groups, most), f"G2 group convolution: {verdicts['G2']}")
        group_curves(right, by_groups)
        panels.append((right, by_groups, []))  # three curves leave no room: labels may cover them
    legend(ax, {point.group for point in (*by_width, *by_groups)})
    fix_layout(ax)
    for panel, points, curves in panels:
        occupied = boxes_along(panel, panel.get_xlim(), (1, 1), 1)
        occupied += [box for curve in curves for box in boxes_along(panel, *curve, 1)]
        label_points(panel, bubbles(points, most), min(LABELS, sum(p.excess > 0 for p in points)), occupied)
    return ax


def layer_points(profile: Profile) -> tuple[list[LayerPoint], list[LayerPoint]]:
    """The layers that G1 and G2 apply to, the most excess first."""
    alike: tuple[dict[Hashable, list[LayerPoint]], dict[Hashable, list[LayerPoint]]] = {}, {}
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        layer = layer_shape(op)
        if cost is None or layer is None or not cost.memory_access:
            continue
        panels = (equal_channel_width, layer.outputs / layer.inputs), (group_convolution, layer.groups)
        for groups, (rule, x) in zip(alike, panels, strict=True):
            if rule.applies(layer):
                excess = rule.excess(layer)
                ratio = cost.memory_access / (cost.memory_access - excess)
                point = LayerPoint(x, ratio, excess, op.module, group_of(op))
                groups.setdefault((path_pattern(op.module), op.kind, x, ratio), []).append(point)
    by_width, by_groups = (sorted(map(merged, groups.values()), key=lambda p: -p.excess) for groups in alike)
    return by_width, by_groups


def merged(points: Sequence[LayerPoint]) -> LayerPoint:
    """The same layer in repeated blocks as one point."""
    path = shortened(merge_paths([point.name for point in points]) or ROOT, LONGEST)
    name = f"{path} x{len(points)}" if len(points) > 1 else path
    return points[0]._replace(excess=sum(point.excess for point in points), name=name)


def bubbles(points: Sequence[LayerPoint], most: int) -> list[LabelledPoint]:
    """Points with areas by excess."""
    areas = (SMALLEST + (LARGEST - SMALLEST) * p.excess / most for p in points)
    return [LabelledPoint(p.x, p.ratio, p.name, area, p.group.colour) for p, area in zip(points, areas, strict=True)]


def draw_panel(ax: Axes, points: Sequence[LabelledPoint], title: str) -> None:
    """Draw the points of one guideline and its bound."""
    scatter_bubbles(ax, points)
    ax.axhline(1, color=FAINT, linewidth=1, zorder=0)
    ax.set_title(title, loc="left", fontsize=NORMAL, color=INK)
    only_spines(ax, "bottom", "left")


def width_curve(ax: Axes, points: Sequence[LayerPoint]) -> Curve:
    """Draw (1 + r) / (2 sqrt r) over r = c2 / c1, and set the range of the axes."""
    import numpy as np

    reach = max([NARROWEST, *(max(p.x, 1 / p.x) for p in points)]) * 1.3
    ratios = np.geomspace(1 / reach, reach, 201)
    curve = ratios.tolist(), ((1 + ratios) / (2 * np.sqrt(ratios))).tolist()
    ax.plot(*curve, color=QUIET, linewidth=1)
    highest = max([LOWEST, *(1 + (p.ratio - 1) * ROOM for p in points)])
    ax.set_xscale("log", base=2)
    ax.set(xlim=(1 / reach, reach), ylim=(1 - (highest - 1) / 10, highest))
    ax.xaxis.set_major_formatter(lambda x, _: f"1:{x:.0f}" if x >= 1 else f"{1 / x:.0f}:1")
    ax.set_xlabel("input : output channels", fontsize=SMALL)
    return curve


def group_curves(ax: Axes, points: Sequence[LayerPoint]) -> None:
    """Draw (1 + r) / (1 + r / g) over g groups for some r = c2 / c1, and set the range of the x axis."""
    import numpy as np

    reach = max([FEWEST, *(p.x for p in points)]) * 1.15
    groups = np.geomspace(1, reach, 101)
    for r in WIDTHS:
        ratios = (1 + r) / (1 + r / groups)
        ax.plot(groups, ratios, color=QUIET, linewidth=1)
        add_text(ax, reach, ratios[-1], f" 1:{r}" if r >= 1 else f" {1 / r:.0f}:1", color=QUIET, va="center")
    ax.set_xscale("log", base=2)
    ax.set_xlim(0.9, reach)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}")
    ax.set_xlabel("groups; curves by input : output channels", fontsize=SMALL)
