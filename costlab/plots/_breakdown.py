"""Breakdown: which kinds of operators the cost goes to, one bar a cost (after ShuffleNet V2, figure 2)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from costlab.core.profile import Profile
from costlab.formatting.colours import GROUPS, OTHER, Group, ink_on
from costlab.formatting.units import percent, seconds
from costlab.guidelines.analysis.groups import group_of
from costlab.latency._predict import predict
from costlab.latency.devices import Device
from costlab.latency.prediction import Prediction
from costlab.plots.canvas import NORMAL, axes_of, fits, headline, key, plain, settled, words
from costlab.plots.runs import amounts_of, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ("mult_adds", "memory_access", "params")
THICKNESS = 0.72  # of a bar, where the next one is 1 away
HEIGHT = 0.8  # inches of a bar with its margin
UNUSED = "unused"  # parameters that no operator reads
HOST = "host"  # time that the device waits for it

Parts = dict[tuple[Group, str], float]  # by colour and kind


def breakdown(
    profile: Profile,
    ax: Axes | None = None,
    device: str | Path | Device | None = None,
    *,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Shares of the kinds of operators in mult-adds, memory access and parameters, coloured by family.

    Args:
        device: where a fourth bar, of predicted time, is for; a name, a file or a Device.
        amp, fusion, channels_last: how the network runs there, as in `costlab.predict`; fusion joins operators in
            every bar.

    Raises:
        CostlabError: there is no such device or fusion.
    """
    prediction = None
    if device is not None:
        prediction = predict(profile, device, amp=amp, fusion=fusion, channels_last=channels_last)
    profile = profile.fused(fusion)
    bars = {"\n".join(written(profile, cost)): parts_of(profile, cost) for cost in SHOWN}
    if prediction is not None:
        bars[f"predicted time\n{seconds(prediction.seconds)}"] = time_of(profile, prediction)
    ax = axes_of(ax, 8, HEIGHT * len(bars) + 1)
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
    ax.set_yticks([-row for row in range(len(bars))], list(bars))
    plain(ax)
    ax.tick_params(axis="y", length=0, labelsize=NORMAL)
    where = f", predicted for {prediction.setup}" if prediction else ""
    headline(ax, profile, f"share of each kind of operator{where}")
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
    return in_order(parts)


def time_of(profile: Profile, prediction: Prediction) -> Parts:
    """What each kind takes of the predicted time."""
    parts: Counter[tuple[Group, str]] = Counter()
    for op in profile.ops:
        parts[group_of(op), op.kind] += prediction.by_op.get(op.name, 0)  # type: ignore[assignment]
    parts[OTHER, HOST] += prediction.overhead_seconds  # type: ignore[assignment]
    return in_order(parts)


def in_order(parts: Counter[tuple[Group, str]]) -> Parts:
    """Those that take something: by colour, then the dearest first."""
    dearest = sorted(parts.items(), key=lambda part: (GROUPS.index(part[0][0]), -part[1]))
    return {part: amount for part, amount in dearest if amount > 0}
