"""Distribution: how many of the networks of a design space cost no more than so much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.colours import FAINT, INK, QUIET
from costlab.latency.devices import Device
from costlab.plots._pareto import axis_for, unit_of
from costlab.plots.canvas import SMALL, axes_of, headline, plain, settled
from costlab.plots.rows import Row, column, row_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUARTILES = (0.25, 0.5, 0.75)


def distribution(
    networks: Sequence[Profile | Row],
    ax: Axes | None = None,
    *,
    x: str = "mult_adds",
    device: str | Path | Device | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """The empirical distribution function of a cost, as RegNet compares design spaces (arXiv 2003.13678, equation 1).

    Args:
        networks: profiles, or rows that map columns to numbers; those without a number in `x` are left out.
        x: a column: of a profile a cost, and "predicted_seconds" where there is a device.
        device, amp, fusion, channels_last: what the time of profiles is predicted for, as in `costlab.predict`.

    Raises:
        CostlabError: no row has a number in the column, or there is no such device.
    """
    running = {"amp": amp, "fusion": fusion, "channels_last": channels_last}
    rows = [row_of(n, device, **running) if isinstance(n, Profile) else n for n in networks]
    values = sorted(value for value in column(rows, x) if value is not None)
    ax = axes_of(ax, 8, 4)
    plain(ax, "bottom", "left")
    ax.ecdf(values, color=INK, linewidth=1.5)
    axis_for(ax.xaxis, ax.set_xscale, x, None, values)
    ax.set_ylim(0, 1)
    ax.yaxis.set_major_formatter(lambda share, _: units.percent(share).replace(".0%", "%"))
    ax.set_ylabel("networks that cost no more", fontsize=SMALL, color=INK)
    _, write = unit_of(x)
    for share in QUARTILES:
        value = quantile(values, share)
        ax.plot([value, value], [0, share], color=FAINT, linewidth=1, zorder=0)
        ax.annotate(
            write(value),
            (value, share),
            (5, -3),
            textcoords="offset points",
            va="top",
            fontsize=SMALL,
            color=QUIET,
            parse_math=False,
        )
    left_out = f"; {len(rows) - len(values)} without this number left out" if len(values) < len(rows) else ""
    count = f"{len(values)} network{'s' if len(values) > 1 else ''}"
    headline(ax, count, f"marked: quarters of them{left_out}")
    settled(ax)
    return ax


def quantile(values: Sequence[float], share: float) -> float:
    """The least of sorted values that so large a share of them does not exceed."""
    return values[max(0, -int(-share * len(values) // 1) - 1)]
