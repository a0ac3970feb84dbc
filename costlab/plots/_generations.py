"""Generations: throughput over the time of one token, a line for each context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.colours import INK
from costlab.latency.verified import mark
from costlab.plots.style import SMALL, axes_or_new, fix_layout, format_ticks, headline, only_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from costlab.generations.result import Generation


def generations(results: Sequence[Generation], ax: Axes | None = None) -> Axes:
    """Plot generated tokens a second over the time of one decode step: a point for each batch, a line for each context.

    Up and to the left is better. A hollow point does not fit into the device's memory.

    Args:
        results: generations of one model on one device, of several batches or prompts.

    Raises:
        CostlabError: there is none, or none is predicted for a device.
    """
    timed = [r for r in results if r.decode.predicted_seconds is not None]
    if not timed:
        raise CostlabError("a plot of generations needs predicted times: name a device")
    ax = axes_or_new(ax, 8, 5)
    only_spines(ax, "bottom", "left")
    lines: dict[int, list[Generation]] = {}
    for result in timed:
        lines.setdefault(result.prompt, []).append(result)
    for shade, (prompt, row) in enumerate(sorted(lines.items())):
        row.sort(key=lambda r: r.batch)
        xs = [r.decode.predicted_seconds or 0.0 for r in row]
        ys = [r.tokens_per_second or 0.0 for r in row]
        colour = f"C{shade}" if len(lines) > 1 else INK
        ax.plot(xs, ys, color=colour, linewidth=1)
        for x, y, result in zip(xs, ys, row, strict=True):
            filled = colour if result.fits is not False else "none"
            ax.plot([x], [y], "o", markersize=5, markeredgecolor=colour, markerfacecolor=filled)
            ax.annotate(f"{result.batch}", (x, y), (4, 4), textcoords="offset points", fontsize=SMALL, color=colour)
        label = f"{prompt:,} tokens of prompt"
        ax.annotate(label, (xs[-1], ys[-1]), (22, -3), textcoords="offset points", fontsize=SMALL, color=colour)
    ax.set_xscale("log")
    ax.set_yscale("log")
    format_ticks(ax.xaxis, units.seconds)
    format_ticks(ax.yaxis, units.rate)
    ax.margins(x=0.25)
    ax.set_xlabel("time for each further token (less is better)", fontsize=SMALL, color=INK)
    ax.set_ylabel("generated tokens a second (more is better)", fontsize=SMALL, color=INK)
    first = timed[0]
    headline(
        ax,
        f"{first.model} on {first.device}{mark(first.verified)}",
        f"{first.weights} weights, {first.engine}; numbers: batch",
    )
    fix_layout(ax)
    return ax
