"""Memory: what is alive while the network runs, and who is when most is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costlab.core.memory import StorageLifetime, live_activation_bytes, storage_lifetimes
from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, GROUPS, INK, OTHER, QUIET, Group
from costlab.formatting.units import shape, size
from costlab.guidelines.analysis.groups import group_of
from costlab.plots.canvas import axes_of, headline, keep_apart, key, plain, shortened, words
from costlab.plots.runs import mark, runs_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADROOM = 1.06  # height of the axes, the peak being 1
COLUMN, WIDTH = 1.02, 0.03  # the peak's column right of the axes, whose width is 1
LONGEST = 34  # characters of the name of a tensor
MOST = 60  # module names below the axis


def memory(profile: Profile, ax: Axes | None = None) -> Axes:
    """Bytes of live activations over the order of execution; beside them the peak, tensor by tensor.

    Tensors of the peak are drawn for as long as they live, in the colour of the operator that made them.
    """
    ax = axes_of(ax, 8, 4)
    alive = live_activation_bytes(profile.trace)
    top = max(alive, default=0)
    peak = alive.index(top) if alive else 0
    at_peak = [life for life in storage_lifetimes(profile.trace) if life.first <= peak <= life.last]
    at_peak.sort(key=lambda life: (life.bytes, life.last - life.first), reverse=True)
    ax.set_xlim(0, max(len(alive), 1))
    ax.set_ylim(0, (top or 1) * HEADROOM)
    ax.stairs(alive, fill=True, color=FAINT, linewidth=0)
    beside = ax.get_yaxis_transform()
    level = [0] * len(alive)
    labels = []
    for life in at_peak:
        start, above = level[peak], [y + life.bytes * (life.first <= x <= life.last) for x, y in enumerate(level)]
        colour = colour_of(life).colour
        ax.stairs(above, baseline=level, fill=True, color=colour, linewidth=0)
        column: dict[str, Any] = {"transform": beside, "clip_on": False, "edgecolor": "white", "linewidth": 0.4}
        ax.bar(COLUMN, life.bytes, WIDTH, start, align="edge", color=colour, **column)
        maker = life.creator.name if life.creator else "input of the model"
        text = f"{size(life.bytes)}  {shape(life.shape)}\n{shortened(maker, LONGEST)}"
        labels.append(words(ax, COLUMN + WIDTH + 0.01, start + life.bytes / 2, text, transform=beside, va="center"))
        level = above
    ax.plot([peak + 0.5, max(len(alive), 1)], [top, top], ":", color=QUIET, linewidth=1)
    ax.plot(peak + 0.5, top, marker="v", markersize=5, color=INK, clip_on=False)
    plain(ax, "bottom")
    ax.yaxis.set_major_formatter(lambda y, _: size(round(y)))
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([])
    headline(ax, profile, f"live activations in the order of execution; at the peak {size(top)}, tensor by tensor")
    present = {colour_of(life) for life in at_peak}
    key(ax, (group for group in GROUPS if group in present))
    mark(ax, [(run.path, run.middle) for run in runs_of(profile, MOST)])
    keep_apart(labels)
    return ax


def colour_of(life: StorageLifetime) -> Group:
    """The colour of the operator that made a tensor; what the model was handed no operator made."""
    return group_of(life.creator) if life.creator else OTHER
