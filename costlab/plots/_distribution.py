"""Distribution: the cumulative share of the networks of a design space over one cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costlab.formatting import units
from costlab.formatting.colours import FAINT, INK, QUIET
from costlab.latency.device import Device
from costlab.plots._pareto import column_text, scale_axis
from costlab.plots.network_rows import Networks, column, counted, predicted_on, rows_of
from costlab.plots.style import SMALL, axes_or_new, fix_layout, headline, only_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUARTILES = (0.25, 0.5, 0.75)


def distribution(
    networks: Networks,
    x: str = "mult_adds",
    *,
    ax: Axes | None = None,
    device: str | Path | Device | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Plot the empirical distribution function of a cost, as RegNet compares design spaces (arXiv 2003.13678, eq. 1).

    Args:
        networks: profiles, a data frame, or rows that map columns to numbers. Rows without a number in
            `x` are left out.
        x: a column: a cost, or "predicted_seconds" of profiles if there is a device.
        device, amp, fusion, channels_last: as in `costlab.predict`, for the time of profiles.

    Raises:
        CostlabError: no row has a number in the column, or the device is unknown.
    """
    rows = rows_of(networks, device, amp=amp, fusion=fusion, channels_last=channels_last)
    values = sorted(value for value in column(rows, x) if value is not None)
    ax = axes_or_new(ax, 8, 4)
    only_spines(ax, "bottom", "left")
    ax.ecdf(values, color=INK, linewidth=1.5)
    scale_axis(ax.xaxis, ax.set_xscale, x, None, values)
    ax.set_ylim(0, 1)
    ax.yaxis.set_major_formatter(lambda share, _: units.percent(share).replace(".0%", "%"))
    ax.set_ylabel("cumulative share of networks", fontsize=SMALL, color=INK)
    _, write = column_text(x)
    label: dict[str, Any] = {"textcoords": "offset points", "va": "top", "parse_math": False}
    label |= {"fontsize": SMALL, "color": QUIET}
    for share in QUARTILES:
        value = quantile(values, share)
        ax.plot([value, value], [0, share], color=FAINT, linewidth=1, zorder=0)
        ax.annotate(write(value), (value, share), (5, -3), **label)
    count, left_out = counted(len(values), len(rows), "this number")
    headline(ax, count, f"quartiles marked{predicted_on(device, x)}{left_out}")
    fix_layout(ax)
    return ax


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the sorted values that at least this share of them does not exceed."""
    return values[max(0, -int(-share * len(values) // 1) - 1)]
