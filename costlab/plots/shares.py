"""Breakdown: which kinds of operators the cost goes to, one bar a cost (after ShuffleNet V2, figure 2)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from costlab.plots.canvas import NORMAL, axes_of, fits, headline, key, plain, settled, words
from costlab.plots.colours import GROUPS, OTHER, Group, ink_on
from costlab.plots.runs import amounts_of, written
from costlab.profiles import Profile
from costlab.reports.units import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ("mult_adds", "memory_access", "params")
THICKNESS = 0.72  # of a bar, where the next one is 1 away
UNUSED = "unused"  # parameters that no operator reads

Parts = dict[tuple[Group, str], int]  # by colour and kind


def breakdown(profile: Profile, ax: Axes | None = None) -> Axes:
    """Shares of the kinds of operators in mult-adds, memory access and parameters, coloured by family."""
    ax = axes_of(ax, 8, 3.4)
    bars = {cost: parts_of(profile, cost) for cost in SHOWN}
    drawn = []
    for row, parts in enumerate(bars.values()):
        start, whole = 0.0, sum(parts.values())
        for (group, kind), amount in parts.items():
            share = amount / whole
            (bar,) = ax.barh(
                -row, share, THICKNESS, start, color=group.colour, edgecolor="white", linewidth=0.6, label=kind
            )
            drawn.append((bar, kind, share, group))
            start += share
        if not whole:
            words(ax, 0, -row, "none", va="center")
    ax.set_xlim(0, 1)
    ax.set_ylim(0.5 - len(bars), 0.5)
    ax.set_xticks([])
    ax.set_yticks([-row for row in range(len(bars))], ["\n".join(written(profile, cost)) for cost in bars])
    plain(ax)
    ax.tick_params(axis="y", length=0, labelsize=NORMAL)
    headline(ax, profile, "share of each kind of operator")
    present = {group for parts in bars.values() for group, _ in parts}
    key(ax, (group for group in GROUPS if group in present))
    settled(ax)
    for bar, kind, share, group in drawn:
        middle = bar.get_x() + share / 2, bar.get_y() + THICKNESS / 2
        for label in (f"{kind}\n{percent(share)}", percent(share)):
            text = words(ax, *middle, label, ha="center", va="center", color=ink_on(group.colour))
            if fits(text, bar.get_window_extent()):
                break
            text.remove()
    return ax


def parts_of(profile: Profile, key: str) -> Parts:
    """How much of a cost each kind takes, without those that take nothing: by colour, then the dearest first."""
    parts: Counter[tuple[Group, str]] = Counter()
    for p, op in enumerate(profile.ops):
        parts.update({(group, op.kind): amount for group, amount in amounts_of(profile, [p], key).items()})
    if key == "params":
        parts[OTHER, UNUSED] += profile.total.unused_params
    dearest = sorted(parts.items(), key=lambda part: (GROUPS.index(part[0][0]), -part[1]))
    return {part: amount for part, amount in dearest if amount}
