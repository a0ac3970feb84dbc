"""Stages: what each part of a network costs from input to output, and at which resolution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.colours import FAINT, GROUPS, QUIET, Group
from costlab.formatting.units import percent, shape
from costlab.guidelines.analysis.layers import layer_shape
from costlab.guidelines.analysis.op_classes import group_of
from costlab.latency._predict import predict
from costlab.latency.device import Device
from costlab.latency.prediction import Prediction
from costlab.plots.module_runs import ModuleRun, cost_by_group, label_modules, module_runs
from costlab.plots.style import add_text, axes_or_new, headline, legend, only_spines, remove_overlapping

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 32  # bars
ROOM = 0.22, 0.1  # for numbers above and below the bars, relative to the height of the bars
UP, DOWN = "mult_adds", "memory_access"
Bars = dict[str, list[dict[Group, float]]]  # for both sides, shares by colour of each run
IMAGE = 4  # dimensions of a batch of images, at least


class Stage(NamedTuple):
    """Consecutive bars at one resolution."""

    resolution: str
    start: int
    end: int


def stages(
    profile: Profile,
    ax: Axes | None = None,
    device: str | Path | Device | None = None,
    *,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Axes:
    """Plot mult-adds upwards and memory access downwards, module by module, in bands of one resolution.

    Bars are stacked by the colours of families. Both sides share one scale, the share of the whole network. The numbers
    of a band are the sums of its bars.

    Args:
        device: downwards is the predicted time on this device instead of memory access.
        amp, fusion, channels_last: how the network runs there, as in `costlab.predict`.

    Raises:
        CostlabError: unknown device or fusion.
    """
    ax = axes_or_new(ax, 8, 4.4)
    prediction = None
    if device is not None:
        prediction = predict(profile, device, amp=amp, fusion=fusion, channels_last=channels_last)
        profile = profile.fused(fusion)
    runs = module_runs(profile, MOST)
    bars = {cost: [shares_of(profile, run, cost) for run in runs] for cost in (UP, DOWN)}
    if prediction is not None:
        bars[DOWN] = [time_shares(profile, run, prediction) for run in runs]
    draw_bars(ax, bars)
    below = "memory access" if prediction is None else "predicted time"
    for name, va in ((" mult-adds", "bottom"), (f"{below} ", "top")):
        add_text(ax, 1.01, 0, name, transform=ax.get_yaxis_transform(), rotation=90, va=va, color=QUIET)
    how = f"; {prediction.setup}" if prediction else " along the depth, by resolution"
    headline(ax, profile, f"share of mult-adds (up) and of {below} (down){how}")
    legend(ax, {group for side in bars.values() for bar in side for group in bar})
    label_modules(ax, [(run.path, x + 0.5) for x, run in enumerate(runs)])
    label_stages(ax, stages_of(profile, runs), bars)
    return ax


def draw_bars(ax: Axes, bars: Bars) -> None:
    """Draw the bars of both sides, and set the axes to them."""
    from matplotlib.ticker import MaxNLocator

    above, below = (max((sum(bar.values()) for bar in bars[cost]), default=0) for cost in (UP, DOWN))
    for cost, sign in ((UP, 1), (DOWN, -1)):
        for x, bar in enumerate(bars[cost]):
            start = 0.0
            for group in sorted(bar, key=GROUPS.index):
                ax.bar(x + 0.5, sign * bar[group], 0.86, start, color=group.colour, linewidth=0)
                start += sign * bar[group]
    ax.axhline(0, color=QUIET, linewidth=0.8)
    height = above + below or 1
    ax.set(xlim=(0, max(len(bars[UP]), 1)), ylim=(-below - ROOM[1] * height, above + ROOM[0] * height), xticks=[])
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.yaxis.set_major_formatter(lambda y, _: percent(abs(y)))
    only_spines(ax)
    ax.tick_params(axis="y", length=0)


def label_stages(ax: Axes, stages: Sequence[Stage], bars: Bars) -> None:
    """Draw the bands of one resolution, and write the sums of their bars as far as they fit."""
    numbers = []
    style: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": "center", "fontweight": "bold"}
    for i, stage in enumerate(stages):
        if i % 2:
            ax.axvspan(stage.start, stage.end, color=FAINT, alpha=0.4, linewidth=0, zorder=0)
        middle = (stage.start + stage.end) / 2
        for cost, y, va in ((UP, 1.0, "top"), (DOWN, 0.0, "bottom")):
            part = percent(sum(sum(bar.values()) for bar in bars[cost][stage.start : stage.end]))
            text = f"{stage.resolution}\n{part}" if cost == UP else part
            numbers.append(add_text(ax, middle, y, text, va=va, **style))
    remove_overlapping(numbers, within=ax.get_window_extent())


def shares_of(profile: Profile, run: ModuleRun, cost: str) -> dict[Group, float]:
    """The share of a run in the network's cost, by colour."""
    whole = getattr(profile.total, cost) or 1
    return {group: amount / whole for group, amount in cost_by_group(profile, run.positions, cost).items() if amount}


def time_shares(profile: Profile, run: ModuleRun, prediction: Prediction) -> dict[Group, float]:
    """The share of a run in the predicted time, by colour."""
    shares: dict[Group, float] = defaultdict(float)
    for op in (profile.ops[position] for position in run.positions):
        shares[group_of(op)] += prediction.by_op.get(op.name, 0) / prediction.seconds
    return {group: share for group, share in shares.items() if share}


def stages_of(profile: Profile, runs: list[ModuleRun]) -> list[Stage]:
    """Consecutive runs of one resolution; a run without a resolution belongs to the previous stage."""
    result: list[Stage] = []
    images = any(len(entry.shape) >= IMAGE for entry in profile.trace.inputs)
    for x, run in enumerate(runs):
        resolution = resolution_of([profile.ops[p] for p in run.positions], images)
        if result and resolution in (result[-1].resolution, ""):
            result[-1] = result[-1]._replace(end=x + 1)
        else:
            result.append(Stage(resolution, x, x + 1))
    return result


def resolution_of(ops: Sequence[Op], images: bool) -> str:
    """Height and width, or tokens, written by the last layer with more than one position; else "".

    A square number of tokens of an image is its height and width in one dimension.

    The last one, because a strided block ends at its new resolution. More than one, because squeeze-and-excitation has
    single positions in the middle of a block.
    """
    for op in reversed(ops):
        layer = layer_shape(op)
        if layer is None:
            continue
        sizes = op.output.shape
        channels_last = FAMILY_OF.get(op.kind) != "convolution"
        space = sizes[1:-1] if channels_last else sizes[2 - (len(sizes) < len(op["weight"].shape)) :]
        if any(s > 1 for s in space):
            side = isqrt(space[0])
            if len(space) == 1 and images and side * side == space[0]:
                return shape((side, side))
            return shape(space) if len(space) > 1 else f"{shape(space)} tokens"
    return ""
