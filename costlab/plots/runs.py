"""The order of execution in parts: modules one after the other, and their names below the axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.metrics import METRICS
from costlab.core.profile import Profile, cut
from costlab.formatting.colours import Group
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.analysis.groups import group_of
from costlab.plots.canvas import keep_apart, settled, shortened, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 18  # characters of a name below the axis


class Run(NamedTuple):
    """Operators of one module, one after the other; views are left out."""

    path: str
    positions: tuple[int, ...]

    @property
    def middle(self) -> float:
        return (self.positions[0] + self.positions[-1] + 1) / 2


def runs_of(profile: Profile, most: int, module: str = "") -> list[Run]:
    """A module in the order of execution, cut to the deepest paths that make no more than `most` runs."""
    inside = [p for p, op in enumerate(profile.ops) if not op.free and within(op.module, module)]
    shallowest = len(module.split(".")) + 1 if module else 1
    deepest = max((len(profile.ops[p].module.split(".")) for p in inside), default=shallowest)
    runs = runs_at(profile, inside, shallowest)
    for depth in range(shallowest + 1, deepest + 1):
        finer = runs_at(profile, inside, depth)
        if len(finer) > most:
            break
        runs = finer
    return runs


def runs_at(profile: Profile, positions: Iterable[int], depth: int) -> list[Run]:
    """Neighbours whose paths begin with the same `depth` names."""
    grouped = groupby(positions, lambda p: cut(profile.ops[p].module, depth))
    return [Run(path, tuple(members)) for path, members in grouped]


def within(path: str, module: str) -> bool:
    """Whether a path is that of a module or of something in it."""
    return not module or path == module or path.startswith(f"{module}.")


def amounts_of(profile: Profile, positions: Iterable[int], cost: str) -> Counter[Group]:
    """What operators cost together, by colour; parameters are known of every operator."""
    amounts: Counter[Group] = Counter()
    for p in positions:
        op = profile.ops[p]
        amounts[group_of(op)] += op.params if cost == "params" else getattr(profile.costs[p], cost, 0)
    return amounts


def written(profile: Profile, cost: str) -> tuple[str, str]:
    """The name of a cost, and how much of it the network takes: `mult-adds`, `300.8 M`."""
    metric = METRICS[cost]
    return metric.label, metric.format(getattr(profile.total, cost))


def mark(ax: Axes, places: Iterable[tuple[str, float]]) -> None:
    """Module paths below the axis, each at its place, as many as find room. Moves the axes to make room for them."""
    style = {"transform": ax.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top"}
    labels = [words(ax, x, -0.02, shortened(path or ROOT, LONGEST), **style) for path, x in places]
    settled(ax)
    keep_apart(labels)
    settled(ax)
