"""Growth of time and memory with the network: N equal blocks, each in a new process, slopes on log-log axes."""

from __future__ import annotations

import io
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from statistics import median
from typing import Any

import torch
from apart import apart
from torch import nn

import costlab
from costlab.core.profile import Profile
from costlab.models.meta_init import weightless

SIZES = (10, 30, 100, 300, 1000, 3000)
LARGE = 100_000  # operators
CHANNELS, IMAGE = 16, (1, 16, 8, 8)


class Block(nn.Module):
    """Convolution, batch norm, ReLU and an addition: four operators."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.relu(self.norm(self.conv(x)))


OPERATORS = 4


def blocks(count: int) -> nn.Module:
    return weightless(lambda: nn.Sequential(*(Block() for _ in range(count)))).eval()


def profiled(count: int) -> Profile:
    return costlab.profile(blocks(count), IMAGE)


def text(profile: Profile) -> None:
    from rich.console import Console

    from costlab.reports.profile import text as report
    from costlab.reports.profile_table import default_depth, table

    rows = table(profile, "module", depth=default_depth(profile), top=None, sort=None, fold=True)
    Console(file=io.StringIO(), width=100).print(report(profile, rows, 100, False))


STEPS: dict[str, Callable[[Profile], object]] = {
    "by_module": Profile.by_module,
    "graph": lambda profile: profile.graph,
    "fused": lambda profile: profile.fused("pointwise"),
    "lint": costlab.lint,
    "predict": lambda profile: costlab.predict(profile, "rtx3090"),
    "to_json and from_json": lambda profile: Profile.from_json(profile.to_json()),
    "text report": text,
    "_repr_html_": Profile._repr_html_,
}


def growth(sizes: Sequence[int], rounds: int, large: int) -> dict[str, Any]:
    """`steps`: seconds by size and their slope, with `profile` first; `bytes`: Python's peak memory while it traces."""
    times = [apart(seconds, size, rounds) for size in sizes]
    memory = [apart(peak_bytes, size) for size in sizes]
    return {
        "sizes": list(sizes),
        "operators": OPERATORS,
        "steps": {step: grown(sizes, [each[step] for each in times]) for step in times[0]},
        "bytes": grown(sizes, memory),
        "large": {"operators": large, "seconds": apart(large_seconds, large)},
    }


def grown(sizes: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    return {"values": list(values), "slope": slope(sizes, values), "last_slope": slope(sizes[-2:], values[-2:])}


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the least-squares line through the logarithms: 1 where a value grows in proportion."""
    x, y = [log(size) for size in sizes], [log(value) for value in values]
    middle, height = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)


def seconds(size: int, rounds: int) -> dict[str, float]:
    """Medians of `rounds`, on a new network and a new profile each time, after a small one that does not count."""
    one_round(1)
    turns = [one_round(size) for _ in range(rounds)]
    return {step: median(turn[step] for turn in turns) for step in turns[0]}


def one_round(size: int) -> dict[str, float]:
    model = blocks(size)
    times = {"profile": timed(lambda: costlab.profile(model, IMAGE))}
    profile = profiled(size)
    for step, call in STEPS.items():
        fresh = replace(profile)  # without what another step has worked out
        times[step] = timed(lambda call=call, fresh=fresh: call(fresh))
    return times


def timed(call: Callable[[], object]) -> float:
    """Seconds of the processor: what others do meanwhile does not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


def peak_bytes(size: int) -> int:
    profiled(1)
    model = blocks(size)
    tracemalloc.start()
    profile = costlab.profile(model, IMAGE)
    assert len(profile.ops) == OPERATORS * size
    return tracemalloc.get_traced_memory()[1]


def large_seconds(operators: int) -> float:
    model = blocks(operators // OPERATORS)
    return timed(lambda: costlab.profile(model, IMAGE))
