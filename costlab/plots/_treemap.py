"""Treemap: modules inside modules, each with the area of its share of a cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.metrics import sortable_metric
from costlab.core.profile import Profile
from costlab.formatting.colours import GROUPS, INK, OTHER, QUIET, Group, ink_on
from costlab.formatting.module_paths import ROOT
from costlab.formatting.units import percent
from costlab.guidelines.analysis.blocks import ancestry
from costlab.plots.canvas import SMALLER, axes_of, fits, headline, key, settled, words
from costlab.plots.runs import amounts_of, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = 11.0  # points: the strip above its children that names a module
MARGIN = 1.5  # points around children
SMALLEST = 20.0  # points: a module with a shorter side shows no children
OWN = "(own)"  # what a module with children does itself
GROUNDS = ("#FFFFFF", "#F7F7F7", "#EFEFEF", "#E7E7E7", "#DFDFDF")  # of modules by how deep they lie


@dataclass
class Branch:
    """A module, with what its operators and those of its children cost."""

    name: str
    amounts: Counter[Group] = field(default_factory=Counter)  # by colour, children included
    children: dict[str, Branch] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        return self.amounts.total()


class Box(NamedTuple):
    """A rectangle in points; y grows downwards."""

    x: float
    y: float
    width: float
    height: float


def treemap(profile: Profile, ax: Axes | None = None, cost: str = "mult_adds") -> Axes:
    """Modules, nested, with the area of their share of a cost, in the colour of the family that takes most of it.

    Args:
        cost: "mult_adds", "memory_access", "params" or another cost.

    Raises:
        CostlabError: there is no such cost.
    """
    cost = sortable_metric(cost)
    tree = tree_of(profile, cost)
    ax = axes_of(ax, 8, 5)
    ax.set_axis_off()
    headline(ax, profile, f"area: share of {', '.join(written(profile, cost))}")
    key(ax, (group for group in GROUPS if tree.amounts[group]))
    settled(ax)
    extent = ax.get_window_extent()
    inch = ax.figure.dpi / 72
    whole = Box(0, 0, extent.width / inch, extent.height / inch)
    ax.set_xlim(0, whole.width)
    ax.set_ylim(whole.height, 0)
    if tree.amount:
        draw(ax, tree, whole, tree.amount, 0)
    else:
        words(ax, 0, HEADER, "none")
    return ax


def tree_of(profile: Profile, cost: str) -> Branch:
    """The modules of a network that cost something; what a module with children does itself is one more child."""
    root = Branch(ROOT)
    found = [
        (op.module, group, amount)
        for p, op in enumerate(profile.ops)
        for group, amount in amounts_of(profile, [p], cost).items()
    ]
    if cost == "params":
        found += [(module.path, OTHER, module.unused_params) for module in profile.trace.modules]
    parents = {above for path, _, amount in found if amount for above in ancestry(path) if above != path}
    for path, group, amount in found:
        if not amount:
            continue
        names = [*path.split("."), *([OWN] if path in parents else [])] if path else [OWN]
        branch = root
        branch.amounts[group] += amount
        for name in names:
            branch = branch.children.setdefault(name, Branch(name))
            branch.amounts[group] += amount
    return root


def draw(ax: Axes, branch: Branch, box: Box, whole: int, depth: int) -> None:
    """A module and, as far as there is room, its children, in a box."""
    names = [branch.name] if depth else []
    while len(branch.children) == 1:  # alone in its parent
        (branch,) = branch.children.values()
        names.append(branch.name)
    name = ".".join(names)
    share = percent(branch.amount / whole)
    if branch.children and min(box.width, box.height) >= SMALLEST:
        inner = box
        if name:
            inner = Box(box.x + MARGIN, box.y + HEADER, box.width - 2 * MARGIN, box.height - HEADER - MARGIN)
            rectangle(ax, box, GROUNDS[min(depth, len(GROUNDS) - 1)], QUIET)
            strip = Box(box.x, box.y, box.width, HEADER)
            label(ax, strip, (f"{name}  {share}", name, share), INK)
        children = sorted(branch.children.values(), key=lambda child: -child.amount)
        for child, place in zip(children, squarified([child.amount for child in children], inner), strict=True):
            draw(ax, child, place, whole, depth + 1)
        return
    colour = branch.amounts.most_common(1)[0][0].colour
    rectangle(ax, box, colour, "white")
    label(ax, box, (f"{name}\n{share}", name, share), ink_on(colour))


def rectangle(ax: Axes, box: Box, colour: str, edge: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle(box[:2], box.width, box.height, facecolor=colour, edgecolor=edge, linewidth=0.5))


def label(ax: Axes, box: Box, choices: Sequence[str], ink: str) -> None:
    """The first of the texts that fits into a box, lying or standing; none where none does."""
    from matplotlib.transforms import Bbox

    room = Bbox.from_extents(box.x, box.y + box.height, box.x + box.width, box.y).transformed(ax.transData)
    middle = box.x + box.width / 2, box.y + box.height / 2
    for choice in choices:
        for rotation in (0, 90):
            text = words(ax, *middle, choice, ha="center", va="center", color=ink, rotation=rotation, fontsize=SMALLER)
            if fits(text, room):
                return
            text.remove()


def squarified(amounts: Sequence[int], box: Box) -> Iterator[Box]:
    """Boxes of areas in proportion to `amounts`, which fall, that fill `box` and are close to squares.

    Bruls, Huizing, van Wijk: Squarified Treemaps (VisSym 2000): rows along the shorter side, each as long as it makes
    its boxes squarer.
    """
    start = 0
    while start < len(amounts):
        left = sum(amounts[start:])
        side = min(box.width, box.height)
        scale = box.width * box.height / left
        end = start + 1
        while end < len(amounts) and worst(amounts[start : end + 1], side, scale) <= worst(
            amounts[start:end], side, scale
        ):
            end += 1
        row = amounts[start:end]
        part = sum(row) / left
        across = 0.0
        for amount in row:
            length = amount / sum(row)
            if box.width >= box.height:
                yield Box(box.x, box.y + across * box.height, box.width * part, box.height * length)
            else:
                yield Box(box.x + across * box.width, box.y, box.width * length, box.height * part)
            across += length
        if box.width >= box.height:
            box = Box(box.x + box.width * part, box.y, box.width * (1 - part), box.height)
        else:
            box = Box(box.x, box.y + box.height * part, box.width, box.height * (1 - part))
        start += len(row)


def worst(row: Sequence[int], side: float, scale: float) -> float:
    """The largest ratio of sides in a row of boxes along `side`."""
    area = sum(row) * scale
    return max(side * side * max(row) * scale / area**2, area**2 / (side * side * min(row) * scale))
