"""Memory: the activations that are live while the network runs, and those at the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costlab.core.memory import StorageLifetime, live_activation_bytes, storage_lifetimes
from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, INK, OTHER, QUIET, Group
from costlab.formatting.units import shape, size
from costlab.guidelines.analysis.op_classes import group_of
from costlab.plots.module_runs import label_modules, module_runs
from costlab.plots.step_memory import step_memory
from costlab.plots.style import add_text, axes_or_new, headline, legend, only_spines, remove_overlapping, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADROOM = 1.06  # height of the axes relative to the peak
COLUMN, WIDTH = 1.02, 0.03  # the column of the peak, relative to the width of the axes
LONGEST = 34  # characters of the name of a tensor
MOST = 60  # module names below the axis


def memory(profile: Profile, ax: Axes | None = None) -> Axes:
    """Plot the bytes of live activations in execution order, and beside them the peak, tensor by tensor.

    Of a training step, plot everything that lives, by category. Tensors of the peak are drawn for as long as they live,
    in the colour of the operator that created them.
    """
    ax = axes_or_new(ax, 8, 4)
    if profile.trace.step is not None:
        step_memory(profile, profile.trace.step, ax)
        return ax
    live = live_activation_bytes(profile.trace)
    top = max(live, default=0)
    peak = live.index(top) if live else 0
    at_peak = [life for life in storage_lifetimes(profile.trace) if life.first <= peak <= life.last]
    at_peak.sort(key=lambda life: (life.bytes, life.last - life.first), reverse=True)
    ax.set(xlim=(0, max(len(live), 1)), ylim=(0, (top or 1) * HEADROOM), xticks=[])
    ax.stairs(live, fill=True, color=FAINT, linewidth=0)
    beside = ax.get_yaxis_transform()
    column: dict[str, Any] = {"transform": beside, "clip_on": False, "edgecolor": "white", "linewidth": 0.4}
    level = [0] * len(live)
    labels = []
    for life in at_peak:
        start, above = level[peak], [y + life.bytes * (life.first <= x <= life.last) for x, y in enumerate(level)]
        colour = colour_of(life).colour
        ax.stairs(above, baseline=level, fill=True, color=colour, linewidth=0)
        ax.bar(COLUMN, life.bytes, WIDTH, start, align="edge", color=colour, **column)
        creator = life.creator.name if life.creator else "input of the model"
        text = f"{size(life.bytes)}  {shape(life.shape)}\n{shortened(creator, LONGEST)}"
        labels.append(add_text(ax, COLUMN + WIDTH + 0.01, start + life.bytes / 2, text, transform=beside, va="center"))
        level = above
    ax.plot([peak + 0.5, max(len(live), 1)], [top, top], ":", color=QUIET, linewidth=1)
    ax.plot(peak + 0.5, top, marker="v", markersize=5, color=INK, clip_on=False)
    only_spines(ax, "bottom")
    ax.yaxis.set_major_formatter(lambda y, _: size(round(y)))
    ax.tick_params(axis="y", length=0)
    headline(ax, profile, f"live activations in execution order; right: the peak of {size(top)}, tensor by tensor")
    legend(ax, {colour_of(life) for life in at_peak})
    label_modules(ax, [(run.path, run.middle) for run in module_runs(profile, MOST)])
    remove_overlapping(labels)
    return ax


def colour_of(life: StorageLifetime) -> Group:
    """The colour of the operator that created a tensor; "other" for the inputs of the model."""
    return group_of(life.creator) if life.creator else OTHER
