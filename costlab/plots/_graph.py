"""Graph: a network or one module of it as boxes and arrows, darker where it costs more."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from math import floor, isclose
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.metrics import sortable_metric
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting.colours import QUIET, SCALE, Group, ink_on
from costlab.formatting.module_paths import ROOT
from costlab.formatting.units import percent, shape
from costlab.plots.layered_layout import LayeredLayout, Position, layered_layout
from costlab.plots.module_runs import ModuleRun, cost_by_group, is_within, module_runs, total_text
from costlab.plots.style import SMALL, SMALLER, add_text, axes_or_new, fits, fix_layout, headline, legend, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40  # boxes
TALLEST = 14  # layers of a column
NARROWEST = 4.2  # inches of the figure: room for the headline
WIDTH, HEIGHT = 1.75, 0.46  # inches of a box with its margin
BOX, STRIPE = (0.88, 0.7), 0.04  # of a box without its margin, and of its coloured side
GAP, OUTSIDE = 0.2, 0.15  # between columns, and beyond their ends: for edges to the next column
LONGEST = (26, 22, 18)  # characters of a name in a box, the first that fits
DARKEST = 0.8  # of the colour scale
INPUT, OUTPUT = "input", "output"


class ColumnLayout(NamedTuple):
    """A layout folded into columns; units are those of a box with its margin, y grows downwards."""

    positions: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    width: float
    height: float


class GraphBox(NamedTuple):
    """An operator, or several of one module."""

    name: str
    positions: tuple[int, ...]


def graph(profile: Profile, ax: Axes | None = None, module: str = "", cost: str = "mult_adds") -> Axes:
    """Plot the network, or one module of it, as a DAG from top to bottom, darker for a larger share of a cost.

    Boxes are operators if there are few, else modules at the deepest level that makes at most 40 boxes. The side of a
    box has the colour of the family with the largest share; views are left out. Long networks continue in the next
    column.

    Args:
        module: the path of a module; by default the whole network.
        cost: "mult_adds", "memory_access", "params" or another cost.

    Raises:
        CostlabError: unknown module or cost.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    cost = sortable_metric(cost)
    boxes = boxes_of(profile, module)
    layout = fold(layered_layout(len(boxes), edges_of(profile, boxes)))
    ax = axes_or_new(ax, max(WIDTH * layout.width, NARROWEST), HEIGHT * layout.height + 1)
    ax.set_axis_off()
    ax.set(xlim=(0, max(layout.width, NARROWEST / WIDTH)), ylim=(layout.height + OUTSIDE, -OUTSIDE))
    amounts = [cost_by_group(profile, box.positions, cost) for box in boxes]
    whole = getattr(profile.total, cost)
    highest = max((amount.total() for amount in amounts), default=0) or 1
    where = f"{shortened(module)}; " if module else ""
    headline(ax, profile, f"{where}darker: larger share of {total_text(profile, cost)[0]}")
    main = [max(amount, key=lambda group: amount[group]) if amount.total() else None for amount in amounts]
    legend(ax, {group for group in main if group})
    for route in layout.routes:
        draw_arrow(ax, route)
    fix_layout(ax)
    for box, amount, group, position in zip(boxes, amounts, main, layout.positions, strict=True):
        colour = to_hex(colormaps[SCALE](DARKEST * amount.total() / highest)) if group else "#FFFFFF"
        outputs = profile.ops[box.positions[-1]].outputs if box.positions else ()
        share = percent(amount.total() / whole) if group else ""
        below = "  ".join(filter(None, [shape(outputs[0].shape) if outputs else "", share]))
        draw_box(ax, position, box.name, below, colour, group)
    return ax


def boxes_of(profile: Profile, module: str) -> list[GraphBox]:
    """The boxes in the order of execution: input, operators or modules, output."""
    positions = [p for p, op in enumerate(profile.ops) if not op.free and is_within(op.module, module)]
    if not positions:
        close = difflib.get_close_matches(module, {op.module for op in profile.ops if not op.free}, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "costlab report MODEL lists the modules"
        raise CostlabError(f"no operators in module {module!r} of {profile.name}; {hint}")
    if len(positions) <= MOST:
        runs = [ModuleRun(profile.ops[p].module, (p,)) for p in positions]
    else:
        runs = module_runs(profile, MOST, module)
    boxes = [GraphBox(box_name(profile, run, module), run.positions) for run in runs]
    return [GraphBox(INPUT, ()), *boxes, GraphBox(OUTPUT, ())]


def box_name(profile: Profile, run: ModuleRun, module: str) -> str:
    """The name of a part of a module: `conv.0`, or of one operator in it: `conv.0.0 conv2d`."""
    path = run.path[len(module) :].lstrip(".")
    if len(run.positions) > 1:
        return path or ROOT
    return f"{path} {profile.ops[run.positions[0]].kind}".strip()


def edges_of(profile: Profile, boxes: Sequence[GraphBox]) -> set[tuple[int, int]]:
    """Pairs of boxes of which the second reads what the first writes, directly or through views."""
    box = {p: number for number, box in enumerate(boxes) for p in box.positions}
    outside, end = 0, len(boxes) - 1
    sources: list[set[int]] = []  # the boxes from which the result of each operator comes
    returned = set(profile.trace.outputs)
    edges: set[tuple[int, int]] = set()
    for position, op in enumerate(profile.ops):
        reads = set().union(*(sources[i] for i in op.after))
        if any(tensor.role == "input" for tensor in op.inputs):
            reads.add(outside)
        number = box.get(position)
        if number is not None:
            edges |= {(source, number) for source in reads if source != number}
            if any(tensor.storage in returned for tensor in op.outputs):
                edges.add((number, end))
            sources.append({number})
        elif op.free:
            sources.append(reads)
        else:
            edges |= {(source, end) for source in reads if source != outside}
            sources.append({outside})
    return edges


def fold(layout: LayeredLayout) -> ColumnLayout:
    """The layers in columns beside each other; an edge to the next column runs below the first and above the second."""
    points = [point for route in layout.routes.values() for point in route] + layout.positions
    layers = 1 + max((layer for _, layer in points), default=0)
    columns = max(-(-layers // TALLEST), 1)
    tall = -(-layers // columns)
    shift, gaps, width = [], [], -GAP
    for column in range(columns):
        xs = [x for x, layer in points if layer // tall == column]
        shift.append(width + GAP + 0.5 - min(xs))
        gaps.append(width + GAP / 2)  # the middle of the gap to its left
        width += GAP + max(xs) - min(xs) + 1

    def moved(position: Position) -> tuple[float, float]:
        x, layer = position
        return x + shift[layer // tall], layer % tall + 0.5

    def routed(route: list[Position]) -> list[tuple[float, float]]:
        points = [moved(route[0])]
        for before, after in pairwise(route):
            if after[1] // tall > before[1] // tall:
                below, above, gap = tall + OUTSIDE, -OUTSIDE, gaps[after[1] // tall]
                points += [(points[-1][0], below), (gap, below), (gap, above), (moved(after)[0], above)]
            points.append(moved(after))
        return points

    routes = [routed(route) for route in layout.routes.values()]
    return ColumnLayout([moved(position) for position in layout.positions], routes, width, float(tall))


def draw_arrow(ax: Axes, route: list[tuple[float, float]]) -> None:
    """Draw an edge, straight through the layers that it passes and curved between them."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    half = BOX[1] / 2
    ends = [(route[0][0], route[0][1] + half), *route[1:-1], (route[-1][0], route[-1][1] - half)]
    points, codes = [ends[0]], [Path.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(ends):
        if isclose(x, to_x) or y == to_y:
            points.append((to_x, to_y))
            codes.append(Path.LINETO)
        else:
            start, end = floor(y) + 0.5 + half, floor(to_y) + 0.5 - half
            middle = (start + end) / 2
            points += [(x, start), (x, middle), (to_x, middle), (to_x, end)]
            codes += [Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    style: dict[str, Any] = {"color": QUIET, "linewidth": 0.7, "clip_on": False}
    path = Path(points, codes)
    ax.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=6, shrinkA=0, shrinkB=0, **style))


def draw_box(ax: Axes, position: tuple[float, float], name: str, below: str, colour: str, group: Group | None) -> None:
    """Draw a box with as much of its name as fits, and a second line if there is room."""
    from matplotlib.patches import Rectangle

    (x, y), (width, height) = position, BOX
    corner = x - width / 2, y - height / 2
    frame = Rectangle(corner, width, height, facecolor=colour, edgecolor=QUIET, linewidth=0.6, zorder=2)
    ax.add_patch(frame)
    if group:
        ax.add_patch(Rectangle(corner, STRIPE, height, facecolor=group.colour, linewidth=0, zorder=3))
    names = [shortened(name, longest) for longest in LONGEST]
    for lines in [f"{name}\n{below}".rstrip() for name in names] + names:
        for points in (SMALL, SMALLER):
            style = {"fontsize": points, "ha": "center", "va": "center", "color": ink_on(colour)}
            text = add_text(ax, x + STRIPE / 2, y, lines, **style)
            if fits(text, frame.get_window_extent().expanded(1 - 2 * STRIPE, 1)):
                return
            text.remove()
