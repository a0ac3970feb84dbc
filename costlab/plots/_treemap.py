"""Treemap: modules inside modules, each with the area of its share of a cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.metrics import sortable_metric
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting.colours import INK, OTHER, QUIET, Group, ink_on
from costlab.formatting.module_paths import ROOT, ancestry
from costlab.formatting.units import percent, seconds
from costlab.guidelines.analysis.op_classes import group_of
from costlab.latency._predict import predict
from costlab.latency.device import Device
from costlab.latency.prediction import Prediction
from costlab.plots.module_runs import cost_by_group, total_text
from costlab.plots.style import SMALLER, add_text, axes_or_new, fits, fix_layout, headline, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = 11.0  # points: the strip above its children that names a module
MARGIN = 1.5  # points around children
SMALLEST = 20.0  # points: a module with a shorter side shows no children
HOST = "(host)"  # time the device waits for the CPU
OWN = "(own)"  # what a module with children costs itself
BACKGROUNDS = ("#FFFFFF", "#F7F7F7", "#EFEFEF", "#E7E7E7", "#DFDFDF")  # by depth


@dataclass
class ModuleTree:
    """A module with the cost of its operators and those of its children."""

    name: str
    amounts: dict[Group, float] = field(default_factory=lambda: defaultdict(float))  # by colour, children included
    children: dict[str, ModuleTree] = field(default_factory=dict)

    @property
    def amount(self) -> float:
        """The cost of the module, children included."""
        return sum(self.amounts.values())


class Box(NamedTuple):
    """A rectangle in points; y grows downwards."""

    x: float
    y: float
    width: float
    height: float


def treemap(
    profile: Profile,
    ax: Axes | None = None,
    cost: str | None = None,
    device: str | Path | Device | None = None,
    *,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Plot nested modules with the area of their share of a cost, in the colour of the family with the largest share.

    Args:
        cost: "mult_adds" (the default), "memory_access", "params" or another cost.
        device: instead of a cost: the area is the share of the predicted time on this device.
        amp, fusion, channels_last: how the network runs there, as in `costlab.predict`.

    Raises:
        CostlabError: unknown cost, device or fusion, or both a cost and a device.
    """
    if device is None:
        cost = sortable_metric(cost or "mult_adds")
        tree, shown = tree_of(profile, cost), ", ".join(total_text(profile, cost))
    elif cost is not None:
        raise CostlabError(f"the area is a cost or the time on a device: leave out cost={cost!r} or the device")
    else:
        prediction = predict(profile, device, amp=amp, fusion=fusion, channels_last=channels_last)
        profile = profile.fused(fusion)
        tree = tree_of(profile, prediction=prediction)
        shown = f"the predicted time, {seconds(prediction.seconds)} on {prediction.setup}"
    ax = axes_or_new(ax, 8, 5)
    ax.set_axis_off()
    headline(ax, profile, f"area: share of {shown}")
    legend(ax, [group for group, amount in tree.amounts.items() if amount])
    fix_layout(ax)
    extent = ax.get_window_extent()
    point = ax.figure.dpi / 72  # pixels
    whole = Box(0, 0, extent.width / point, extent.height / point)
    ax.set(xlim=(0, whole.width), ylim=(whole.height, 0))
    if tree.amount:
        draw(ax, tree, whole, tree.amount, 0)
    else:
        add_text(ax, 0, HEADER, "none")
    return ax


def tree_of(profile: Profile, cost: str = "mult_adds", prediction: Prediction | None = None) -> ModuleTree:
    """The modules with a cost or predicted seconds; what a module with children costs itself is one more child."""
    root = ModuleTree(ROOT)
    costs: list[tuple[str, Group, float]] = []
    for p, op in enumerate(profile.ops):
        if prediction is not None:
            costs.append((op.module, group_of(op), prediction.by_op.get(op.name, 0)))
        else:
            costs += [(op.module, group, amount) for group, amount in cost_by_group(profile, [p], cost).items()]
    if prediction is not None:
        costs.append((HOST, OTHER, prediction.overhead_seconds))
    elif cost == "params":
        costs += [(module.path, OTHER, module.unused_params) for module in profile.trace.modules]
    parents = {above for path, _, amount in costs if amount for above in ancestry(path) if above != path}
    for path, group, amount in costs:
        if not amount:
            continue
        names = path.split(".") if path else []
        tree = root
        tree.amounts[group] += amount
        for name in [*names, *([OWN] if path in parents or not path else [])]:
            tree = tree.children.setdefault(name, ModuleTree(name))
            tree.amounts[group] += amount
    return root


def draw(ax: Axes, tree: ModuleTree, box: Box, whole: float, depth: int) -> None:
    """Draw a module in a box, with its children if there is room."""
    names = [tree.name] if depth else []
    while len(tree.children) == 1:  # an only child shares the box of its parent
        (tree,) = tree.children.values()
        names.append(tree.name)
    name, share = ".".join(names), percent(tree.amount / whole)
    if not tree.children or min(box.width, box.height) < SMALLEST:
        colour = max(tree.amounts, key=tree.amounts.__getitem__).colour
        draw_box(ax, box, colour, "white")
        label(ax, box, (f"{name}\n{share}", name, share), ink_on(colour))
        return
    inner = box
    if name:
        inner = Box(box.x + MARGIN, box.y + HEADER, box.width - 2 * MARGIN, box.height - HEADER - MARGIN)
        draw_box(ax, box, BACKGROUNDS[min(depth, len(BACKGROUNDS) - 1)], QUIET)
        label(ax, box._replace(height=HEADER), (f"{name}  {share}", name, share), INK)
    children = sorted(tree.children.values(), key=lambda child: -child.amount)
    for child, place in zip(children, squarified([child.amount for child in children], inner), strict=True):
        draw(ax, child, place, whole, depth + 1)


def draw_box(ax: Axes, box: Box, colour: str, edge: str) -> None:
    """Draw a filled rectangle."""
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle(box[:2], box.width, box.height, facecolor=colour, edgecolor=edge, linewidth=0.5))


def label(ax: Axes, box: Box, choices: Sequence[str], ink: str) -> None:
    """Write the first of the texts that fits into a box, horizontally or vertically, if any."""
    from matplotlib.transforms import Bbox

    room = Bbox.from_extents(box.x, box.y + box.height, box.x + box.width, box.y).transformed(ax.transData)
    middle = box.x + box.width / 2, box.y + box.height / 2
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": ink, "fontsize": SMALLER}
    for choice in choices:
        for rotation in (0, 90):
            text = add_text(ax, *middle, choice, rotation=rotation, **style)
            if fits(text, room):
                return
            text.remove()


def squarified(amounts: Sequence[float], box: Box) -> list[Box]:
    """Nearly square boxes that fill `box`, with areas in proportion to `amounts`, which are in descending order.

    Bruls, Huizing, van Wijk: Squarified Treemaps (VisSym 2000): rows along the shorter side, each extended as long as
    that makes its boxes more square.
    """
    if not amounts:
        return []
    if box.width < box.height:
        return [Box(y, x, h, w) for x, y, w, h in squarified(amounts, Box(box.y, box.x, box.height, box.width))]
    side, left = box.height, sum(amounts)
    scale = box.width * side / left
    count = 1
    while count < len(amounts) and worst_ratio(amounts[: count + 1], side, scale) <= worst_ratio(
        amounts[:count], side, scale
    ):
        count += 1
    row, width = sum(amounts[:count]), box.width * sum(amounts[:count]) / left
    starts = accumulate((amount / row for amount in amounts[:count]), initial=0.0)
    boxes = [
        Box(box.x, box.y + start * side, width, side * amount / row)
        for start, amount in zip(starts, amounts[:count], strict=False)
    ]
    return boxes + squarified(amounts[count:], Box(box.x + width, box.y, box.width * (1 - row / left), side))


def worst_ratio(row: Sequence[float], side: float, scale: float) -> float:
    """The largest aspect ratio in a row of boxes along `side`."""
    area = sum(row) * scale
    return max(side * side * max(row) * scale / area**2, area**2 / (side * side * min(row) * scale))
