"""Graph: a network or one module of it as boxes and arrows, darker where it costs more."""

from __future__ import annotations

import difflib
from itertools import pairwise
from math import floor, isclose
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.metrics import sortable_metric
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting.colours import GROUPS, QUIET, SCALE, Group, ink_on
from costlab.formatting.module_paths import ROOT
from costlab.formatting.units import percent, shape
from costlab.plots.canvas import SMALL, SMALLER, axes_of, fits, headline, key, settled, shortened, words
from costlab.plots.layered import Layout, layered
from costlab.plots.runs import Run, amounts_of, runs_of, within, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40  # boxes
TALLEST = 14  # layers one below the other, before another column begins
NARROWEST = 4.2  # inches of the figure: room for the headline
WIDTH, HEIGHT = 1.75, 0.46  # inches of a box with its margin
BOX, STRIPE = (0.88, 0.7), 0.04  # of a box without its margin, and of its coloured side
GAP, OUTSIDE = 0.2, 0.15  # between columns, and beyond their ends: where edges to the next column go
LONGEST = (26, 22, 18)  # characters of a name in a box, where they fit
DARKEST = 0.8  # of the scale
INPUT, OUTPUT = "input", "output"


class Folded(NamedTuple):
    """A layout in columns of which none is too tall; units are those of a box with its margin, y grows downwards."""

    places: list[tuple[float, float]]
    ways: list[list[tuple[float, float]]]
    width: float
    height: float


class Part(NamedTuple):
    """A box: an operator, or several of one module."""

    name: str
    positions: tuple[int, ...]


def graph(profile: Profile, ax: Axes | None = None, module: str = "", cost: str = "mult_adds") -> Axes:
    """The network, or one module of it, as a DAG from top to bottom, darker where more of a cost goes.

    Operators where there are few, else modules at the depth that makes no more than 40 boxes. The side of a box has
    the colour of the family that takes most; views are left out. Long networks go on in the next column.

    Args:
        module: the path of a module; by default the whole network.
        cost: "mult_adds", "memory_access", "params" or another cost.

    Raises:
        CostlabError: there is no such module or cost.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    cost = sortable_metric(cost)
    parts = parts_of(profile, module)
    layout = folded(layered(len(parts), edges_of(profile, parts)))
    ax = axes_of(ax, max(WIDTH * layout.width, NARROWEST), HEIGHT * layout.height + 1)
    ax.set_axis_off()
    ax.set_xlim(0, max(layout.width, NARROWEST / WIDTH))
    ax.set_ylim(layout.height + OUTSIDE, -OUTSIDE)
    amounts = [amounts_of(profile, part.positions, cost) for part in parts]
    whole = getattr(profile.total, cost)
    highest = max((amount.total() for amount in amounts), default=0) or 1
    name, _ = written(profile, cost)
    where = f"{shortened(module)}; " if module else ""
    headline(ax, profile, f"{where}darker: larger share of {name}")
    main = [max(amount, key=lambda group: amount[group]) if amount.total() else None for amount in amounts]
    key(ax, (group for group in GROUPS if group in main))
    for way in layout.ways:
        arrow(ax, way)
    settled(ax)
    for part, amount, group, at in zip(parts, amounts, main, layout.places, strict=True):
        colour = to_hex(colormaps[SCALE](DARKEST * amount.total() / highest)) if group else "#FFFFFF"
        below = ""
        if part.positions:
            outputs = profile.ops[part.positions[-1]].outputs
            share = percent(amount.total() / whole) if group else ""
            below = "  ".join(filter(None, [shape(outputs[0].shape) if outputs else "", share]))
        box(ax, at, part.name, below, colour, group)
    return ax


def parts_of(profile: Profile, module: str) -> list[Part]:
    """The boxes in the order of execution: what comes in, operators or modules, what comes out."""
    positions = [p for p, op in enumerate(profile.ops) if not op.free and within(op.module, module)]
    if not positions:
        paths = {op.module for op in profile.ops if not op.free}
        close = difflib.get_close_matches(module, paths, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "a report by module lists the paths"
        raise CostlabError(f"no operators in module {module!r} of {profile.name}; {hint}")
    few = len(positions) <= MOST
    runs = [Run(profile.ops[p].module, (p,)) for p in positions] if few else runs_of(profile, MOST, module)
    return [Part(INPUT, ()), *(Part(named(profile, run, module), run.positions) for run in runs), Part(OUTPUT, ())]


def named(profile: Profile, run: Run, module: str) -> str:
    """A part of a module: `conv.0`, or an operator in it: `conv.0.0 conv2d`."""
    path = run.path[len(module) :].lstrip(".")
    if len(run.positions) > 1:
        return path or ROOT
    return f"{path} {profile.ops[run.positions[0]].kind}".strip()


def edges_of(profile: Profile, parts: list[Part]) -> set[tuple[int, int]]:
    """Pairs of boxes: the second reads what the first wrote, through views or not."""
    box = {p: number for number, part in enumerate(parts) for p in part.positions}
    outside, end = 0, len(parts) - 1
    sources: list[set[int]] = []  # of every operator's result, the boxes that it comes from
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


def folded(layout: Layout) -> Folded:
    """The layers in columns next to one another."""
    layers = 1 + max((layer for _, layer in layout.places), default=0)
    columns = max(-(-layers // TALLEST), 1)
    tall = -(-layers // columns)
    points = [point for way in layout.ways.values() for point in way] + layout.places
    shift, left, width = [], [], -GAP
    for column in range(columns):
        xs = [x for x, layer in points if layer // tall == column]
        shift.append(width + GAP + 0.5 - min(xs))
        left.append(width + GAP / 2)
        width += GAP + max(xs) - min(xs) + 1

    def moved(place: tuple[float, int]) -> tuple[float, float]:
        x, layer = place
        return x + shift[layer // tall], layer % tall + 0.5

    def way_of(chain: list[tuple[float, int]]) -> list[tuple[float, float]]:
        way = [moved(chain[0])]
        for before, after in pairwise(chain):
            if after[1] // tall > before[1] // tall:
                side = left[after[1] // tall]
                way += [
                    (way[-1][0], tall + OUTSIDE),
                    (side, tall + OUTSIDE),
                    (side, -OUTSIDE),
                    (moved(after)[0], -OUTSIDE),
                ]
            way.append(moved(after))
        return way

    ways = [way_of(chain) for chain in layout.ways.values()]
    return Folded([moved(place) for place in layout.places], ways, width, float(tall))


def arrow(ax: Axes, way: list[tuple[float, float]]) -> None:
    """An edge, straight through the layers that it passes and smooth between them."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    half = BOX[1] / 2
    ends = [(way[0][0], way[0][1] + half), *way[1:-1], (way[-1][0], way[-1][1] - half)]
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


def box(ax: Axes, place: tuple[float, float], name: str, below: str, colour: str, group: Group | None) -> None:
    """A box with as much of its name as fits, and what stands below it where there is room."""
    from matplotlib.patches import Rectangle

    (x, y), (width, height) = place, BOX
    corner = x - width / 2, y - height / 2
    frame = Rectangle(corner, width, height, facecolor=colour, edgecolor=QUIET, linewidth=0.6, zorder=2)
    ax.add_patch(frame)
    if group:
        ax.add_patch(Rectangle(corner, STRIPE, height, facecolor=group.colour, linewidth=0, zorder=3))
    names = [shortened(name, longest) for longest in LONGEST]
    for lines in [f"{name}\n{below}".rstrip() for name in names] + names:
        for points in (SMALL, SMALLER):
            text = words(ax, x + STRIPE / 2, y, lines, fontsize=points, ha="center", va="center")
            text.set_color(ink_on(colour))
            if fits(text, frame.get_window_extent().expanded(1 - 2 * STRIPE, 1)):
                return
            text.remove()
