"""Growth: the costs of a network over one size of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costlab.core.metrics import METRICS, PREDICTED
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.colours import FAINT, INK
from costlab.latency.verified import mark
from costlab.plots._pareto import column_text
from costlab.plots.style import SMALL, axes_or_new, fix_layout, format_ticks, headline, only_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from costlab.core.growth import Growth


def growth(result: Growth, cost: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Plot a cost over the batch, resolution or length, on logarithmic axes; the knee of the time is marked.

    Args:
        result: what `costlab.scale` returned.
        cost: a total, or "predicted_seconds"; default: the time if it was predicted, else the mult-adds.

    Raises:
        CostlabError: the result does not have that cost.
    """
    key = cost or (PREDICTED if result.seconds is not None else "mult_adds")
    values = result.seconds if key == PREDICTED else result.totals.get(key)
    if values is None:
        known = ", ".join([*result.totals, *([PREDICTED] if result.seconds is not None else [])])
        raise CostlabError(f"no {key!r} in this growth; choose one of {known}")
    ax = axes_or_new(ax, 7, 4)
    only_spines(ax, "bottom", "left")
    ax.plot(result.sizes, values, "o-", color=INK, linewidth=1.2, markersize=4)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    name, write = column_text(key)
    format_ticks(ax.xaxis, lambda size: units.exact(round(size)))
    format_ticks(ax.yaxis, write)
    ax.set_xticks(result.sizes[:: max(1, len(result.sizes) // 8)])
    ax.minorticks_off()
    if key == PREDICTED and result.knee is not None:
        ax.axvline(result.knee, color=FAINT, linewidth=1, zorder=0)
        ax.annotate("knee", (result.knee, max(values)), (4, -4), textcoords="offset points", fontsize=SMALL, va="top")
    ax.set_xlabel(result.axis, fontsize=SMALL, color=INK)
    ax.set_ylabel(METRICS[key].label if key != PREDICTED else name, fontsize=SMALL, color=INK)
    where = f", {result.device}{mark(result.verified)}" if key == PREDICTED else ""
    headline(ax, result.model, f"over {result.axis}{where}")
    fix_layout(ax)
    return ax
