"""The order of execution in parts: runs of operators of one module, and module names below the axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.metrics import METRICS
from costlab.core.profile import Profile, cut
from costlab.formatting.colours import QUIET, Group
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.analysis.op_classes import group_of
from costlab.plots.style import SMALL, add_text, fix_layout, remove_overlapping, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 72  # of an inch
GAP = 4  # points between the names and the label of the axis
LONGEST = 18  # characters of a name below the axis


class ModuleRun(NamedTuple):
    """Consecutive operators of one module, without views."""

    path: str
    positions: tuple[int, ...]

    @property
    def middle(self) -> float:
        """The middle of the run on an axis of positions."""
        return (self.positions[0] + self.positions[-1] + 1) / 2


def module_runs(profile: Profile, most: int, module: str = "") -> list[ModuleRun]:
    """A module in the order of execution, at the deepest paths that make at most `most` runs."""
    inside = [p for p, op in enumerate(profile.ops) if not op.free and is_within(op.module, module)]
    shallowest = len(module.split(".")) + 1 if module else 1
    deepest = max((len(profile.ops[p].module.split(".")) for p in inside), default=shallowest)
    runs = runs_at(profile, inside, shallowest)
    for depth in range(shallowest + 1, deepest + 1):
        finer = runs_at(profile, inside, depth)
        if len(finer) > most:
            break
        runs = finer
    return runs


def runs_at(profile: Profile, positions: Iterable[int], depth: int) -> list[ModuleRun]:
    """Consecutive operators whose paths have the same first `depth` names."""
    grouped = groupby(positions, lambda p: cut(profile.ops[p].module, depth))
    return [ModuleRun(path, tuple(members)) for path, members in grouped]


def is_within(path: str, module: str) -> bool:
    """Whether a path is that of a module or of one of its submodules."""
    return not module or path == module or path.startswith(f"{module}.")


def cost_by_group(profile: Profile, positions: Iterable[int], cost: str) -> Counter[Group]:
    """The sum of a cost over operators, by colour; parameters are known even for uncounted operators."""
    amounts: Counter[Group] = Counter()
    for p in positions:
        op = profile.ops[p]
        amounts[group_of(op)] += op.params if cost == "params" else getattr(profile.costs[p], cost, 0)
    return amounts


def total_text(profile: Profile, cost: str) -> tuple[str, str]:
    """The name of a cost and the total of the network: `mult-adds`, `300.8 M`."""
    return METRICS[cost].label, METRICS[cost].format(getattr(profile.total, cost))


def label_modules(ax: Axes, positions: Iterable[tuple[str, float]]) -> None:
    """Module paths below the axis, as many as fit, each at its first position. Fixes the layout, which makes room."""
    style = {"transform": ax.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top"}
    first: dict[str, float] = {}
    for path, x in positions:
        first.setdefault(shortened(path or ROOT, LONGEST), x)
    labels = [add_text(ax, x, -0.02, name, **style) for name, x in first.items()]
    fix_layout(ax)
    remove_overlapping(labels)
    bottom = ax.get_window_extent().y0
    lowest = min((label.get_window_extent().y0 for label in labels if label.axes), default=bottom)
    below = (bottom - lowest) * POINTS / ax.figure.dpi + GAP
    ax.set_xlabel("modules in execution order", fontsize=SMALL, color=QUIET, labelpad=below)
    fix_layout(ax)
