"""Stages: what each part of a network costs, from its input to its output, and at which resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, GROUPS, QUIET, Group
from costlab.formatting.units import percent, shape
from costlab.guidelines.analysis.layers import layer_shape
from costlab.plots.canvas import axes_of, headline, keep_apart, key, plain, words
from costlab.plots.runs import Run, amounts_of, mark, runs_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 32  # bars
ROOM = 0.22, 0.1  # above and below the bars for the numbers of a band, of the height of all bars
UP, DOWN = "mult_adds", "memory_access"


class Stage(NamedTuple):
    """Bars next to one another at one resolution."""

    resolution: str
    start: int
    end: int


def stages(profile: Profile, ax: Axes | None = None) -> Axes:
    """Mult-adds upwards and memory access downwards, module by module, in bands of one resolution.

    Bars are stacked by the colours of families. Both sides have one scale: the share of the whole network. The numbers
    of a band add up its bars.
    """
    from matplotlib.ticker import MaxNLocator

    ax = axes_of(ax, 8, 4.4)
    runs = runs_of(profile, MOST)
    bars = {cost: [shares_of(profile, run, cost) for run in runs] for cost in (UP, DOWN)}
    longest = [max((sum(bar.values()) for bar in bars[cost]), default=0) for cost in (UP, DOWN)]
    height = sum(longest) or 1
    for cost, sign in ((UP, 1), (DOWN, -1)):
        for x, bar in enumerate(bars[cost]):
            start = 0.0
            for group in GROUPS:
                if share := bar.get(group):
                    ax.bar(x + 0.5, sign * share, 0.86, start, color=group.colour, linewidth=0)
                    start += sign * share
    ax.axhline(0, color=QUIET, linewidth=0.8)
    ax.set_xlim(0, max(len(runs), 1))
    ax.set_ylim(-longest[1] - ROOM[1] * height, longest[0] + ROOM[0] * height)
    ax.set_xticks([])
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.yaxis.set_major_formatter(lambda y, _: percent(abs(y)))
    plain(ax)
    ax.tick_params(axis="y", length=0)
    for name, va in ((" mult-adds", "bottom"), ("memory access ", "top")):
        words(ax, 1.01, 0, name, transform=ax.get_yaxis_transform(), rotation=90, va=va, color=QUIET)
    headline(ax, profile, "share of mult-adds (up) and of memory access (down) along the depth, by resolution")
    present = {group for side in bars.values() for bar in side for group in bar}
    key(ax, (group for group in GROUPS if group in present))
    mark(ax, [(run.path, x + 0.5) for x, run in enumerate(runs)])
    across = ax.get_xaxis_transform()
    numbers = []
    for i, stage in enumerate(stages_of(profile, runs)):
        if i % 2:
            ax.axvspan(stage.start, stage.end, color=FAINT, alpha=0.4, linewidth=0, zorder=0)
        middle = (stage.start + stage.end) / 2
        for cost, y, va in ((UP, 1.0, "top"), (DOWN, 0.0, "bottom")):
            part = percent(sum(sum(bar.values()) for bar in bars[cost][stage.start : stage.end]))
            text = f"{stage.resolution}\n{part}" if cost == UP else part
            numbers.append(words(ax, middle, y, text, transform=across, ha="center", va=va, fontweight="bold"))
    keep_apart(numbers, within=ax.get_window_extent())
    return ax


def shares_of(profile: Profile, run: Run, cost: str) -> dict[Group, float]:
    """What part of the network's cost a run has, by colour."""
    whole = getattr(profile.total, cost) or 1
    return {group: amount / whole for group, amount in amounts_of(profile, run.positions, cost).items() if amount}


def stages_of(profile: Profile, runs: list[Run]) -> list[Stage]:
    """Neighbouring runs of one resolution; a run without one belongs to those before it."""
    found: list[Stage] = []
    for x, run in enumerate(runs):
        resolution = resolution_of([profile.ops[p] for p in run.positions])
        if found and resolution in (found[-1].resolution, ""):
            found[-1] = found[-1]._replace(end=x + 1)
        else:
            found.append(Stage(resolution, x, x + 1))
    return found


def resolution_of(ops: Sequence[Op]) -> str:
    """Height and width, or tokens, of what the last layer writes that has more than one position; else "".

    The last one: a strided block ends at its new resolution. More than one: squeeze and excitation looks at single
    positions in the midst of a block.
    """
    for op in reversed(ops):
        layer = layer_shape(op)
        if layer is None:
            continue
        sizes = op.output.shape
        channels_last = FAMILY_OF.get(op.kind) != "convolution"
        space = sizes[1:-1] if channels_last else sizes[2 - (len(sizes) < len(op["weight"].shape)) :]
        if any(s > 1 for s in space):
            return shape(space)
    return ""
