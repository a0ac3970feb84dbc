"""Breakdown: the share of each kind of operator, one bar per cost (after ShuffleNet V2, figure 2)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costlab.core.profile import Profile
from costlab.formatting.colours import GROUP_NAMED, GROUPS, OTHER, Group, ink_on
from costlab.formatting.units import percent, seconds
from costlab.guidelines.analysis.op_classes import group_of
from costlab.latency._predict import predict
from costlab.latency.device import Device
from costlab.latency.prediction import Prediction
from costlab.plots.module_runs import cost_by_group, total_text
from costlab.plots.style import NORMAL, add_text, axes_or_new, fits, fix_layout, headline, legend, only_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = ("mult_adds", "memory_access", "params")
THICKNESS = 0.72  # of a bar; the next bar is at distance 1
HEIGHT = 0.8  # inches per bar
DEPTHWISE = GROUP_NAMED["depthwise convolution"]  # of the same kind as a dense one, so its label says more
UNUSED = "unused"  # parameters that no operator reads
HOST = "host"  # time the device waits for the CPU

Shares = dict[tuple[Group, str], float]  # by colour and kind


def breakdown(
    profile: Profile,
    ax: Axes | None = None,
    device: str | Path | Device | None = None,
    *,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Plot the share of each kind of operator in mult-adds, memory access and parameters, coloured by family.

    Args:
        device: adds a bar of predicted time on this device: a name, a file or a Device.
        amp, channels_last: how the network runs there, as in `costlab.predict`.
        fusion: as in `costlab.predict`; it applies to every bar.

    Raises:
        CostlabError: unknown device or fusion.
    """
    prediction = None
    if device is not None:
        prediction = predict(profile, device, amp=amp, fusion=fusion, channels_last=channels_last)
    profile = profile.fused(fusion)
    bars = {"\n".join(total_text(profile, cost)): cost_by_kind(profile, cost) for cost in COSTS}
    if prediction is not None:
        bars[f"predicted time\n{seconds(prediction.seconds)}"] = time_by_kind(profile, prediction)
    ax = axes_or_new(ax, 8, HEIGHT * len(bars) + 1)
    drawn = []
    for row, amounts in enumerate(bars.values()):
        start, whole = 0.0, sum(amounts.values())
        for (group, kind), amount in amounts.items():
            share = amount / whole
            style: dict[str, Any] = {"color": group.colour, "edgecolor": "white", "linewidth": 0.6, "label": kind}
            (bar,) = ax.barh(-row, share, THICKNESS, start, **style)
            drawn.append((bar, kind, share, group))
            start += share
        if not whole:
            add_text(ax, 0, -row, "none", va="center")
    ax.set(xlim=(0, 1), ylim=(0.5 - len(bars), 0.5), xticks=[])
    ax.set_yticks([-row for row in range(len(bars))], list(bars))
    only_spines(ax)
    ax.tick_params(axis="y", length=0, labelsize=NORMAL)
    where = f", predicted for {prediction.setup}" if prediction else ""
    headline(ax, profile, f"share of each kind of operator{where}")
    legend(ax, {group for amounts in bars.values() for group, _ in amounts})
    fix_layout(ax)
    for bar, kind, share, group in drawn:
        middle = bar.get_x() + share / 2, bar.get_y() + THICKNESS / 2
        name = f"{group.name.partition(' ')[0]}\n{kind}" if group is DEPTHWISE else kind
        for label in (f"{name}\n{percent(share)}", percent(share)):
            text = add_text(ax, *middle, label, ha="center", va="center", color=ink_on(group.colour))
            if fits(text, bar.get_window_extent()):
                break
            text.remove()
    return ax


def cost_by_kind(profile: Profile, cost: str) -> Shares:
    """How much of a cost each kind takes."""
    amounts: Shares = defaultdict(int)
    for p, op in enumerate(profile.ops):
        for group, amount in cost_by_group(profile, [p], cost).items():
            amounts[group, op.kind] += amount
    if cost == "params":
        amounts[OTHER, UNUSED] += profile.total.unused_params
    return ordered(amounts)


def time_by_kind(profile: Profile, prediction: Prediction) -> Shares:
    """How much of the predicted time each kind takes."""
    times: Shares = defaultdict(float)
    for op in profile.ops:
        times[group_of(op), op.kind] += prediction.by_op.get(op.name, 0)
    times[OTHER, HOST] += prediction.overhead_seconds
    return ordered(times)


def ordered(amounts: Shares) -> Shares:
    """The positive amounts by colour, then the largest first."""
    items = sorted(amounts.items(), key=lambda item: (GROUPS.index(item[0][0]), -item[1]))
    return {key: amount for key, amount in items if amount > 0}
