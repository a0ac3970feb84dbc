"""The memory of a training step by category: how it fills in the forward pass and empties in the backward pass."""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from costlab.core.graph import TrainingStep
from costlab.core.memory import live_bytes, peak_of_step
from costlab.core.profile import Profile
from costlab.formatting.colours import INK, MEMORY, PALE, QUIET
from costlab.formatting.units import size
from costlab.plots.module_runs import label_modules, module_runs
from costlab.plots.style import SMALL, add_text, headline, legend, only_spines, remove_overlapping, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADROOM = 1.12  # height of the axes relative to the peak
COLUMN, WIDTH = 1.02, 0.03  # the column of the peak, relative to the width of the axes
MOST = 40  # module names below the axis
LONGEST = 40  # characters of the operator at the peak


def step_memory(profile: Profile, step: TrainingStep, ax: Axes) -> None:
    """Plot the bytes of each category in execution order, and beside them those of the peak.

    What lives from the beginning to the end is at the bottom.
    """
    count = len(profile.ops)
    live = live_bytes(step, count)
    peak = peak_of_step(profile.trace)
    groups = [group for group in MEMORY if any(live[group.families[0]])]
    level = [0] * count
    ax.set(xlim=(0, max(count, 1)), ylim=(0, (peak.bytes or 1) * HEADROOM), xticks=[])
    beside, labels, start = ax.get_yaxis_transform(), [], 0
    for group in groups:
        values = live[group.families[0]]
        above = [low + high for low, high in zip(level, values, strict=True)]
        ax.stairs(above, baseline=level, fill=True, color=group.colour, linewidth=0, label=group.name)
        amount = values[peak.position]
        ax.bar(COLUMN, amount, WIDTH, start, align="edge", color=group.colour, transform=beside, clip_on=False)
        text = f"{size(amount)}  {group.name}"
        if amount:
            at = start + amount / 2
            labels.append((amount, add_text(ax, COLUMN + WIDTH + 0.01, at, text, transform=beside, va="center")))
        level, start = above, start + amount
    label_phases(profile, ax)
    ax.plot(peak.position + 0.5, peak.bytes, marker="v", markersize=5, color=INK, clip_on=False)
    only_spines(ax, "bottom")
    ax.yaxis.set_major_formatter(lambda y, _: size(round(y)))
    ax.tick_params(axis="y", length=0)
    where = shortened(profile.ops[peak.position].name, LONGEST) if profile.ops else ""
    headline(
        ax, profile, f"memory of a training step in execution order; right: the peak of {size(peak.bytes)} at {where}"
    )
    legend(ax, groups, MEMORY)
    label_modules(ax, [(run.path, run.middle) for run in module_runs(profile, MOST)])
    remove_overlapping([label for _, label in sorted(labels, key=lambda one: -one[0])])


def label_phases(profile: Profile, ax: Axes) -> None:
    """A line between forward, backward and optimizer, and their names above."""
    runs = [(phase, len(list(members))) for phase, members in groupby(op.phase for op in profile.ops)]
    ends = list(accumulate(length for _, length in runs))
    beside = ax.get_xaxis_transform()
    names = []
    for (phase, length), end in zip(runs, ends, strict=True):
        style = {"transform": beside, "ha": "center", "va": "top", "color": QUIET, "fontsize": SMALL}
        names.append(add_text(ax, end - length / 2, 0.985, phase, **style))
        if end < len(profile.ops):
            ax.axvline(end, color=PALE, linewidth=0.8, linestyle=":")
    remove_overlapping(names)
