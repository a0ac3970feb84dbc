"""The RegNetX design space of Radosavovic et al., "Designing Network Design Spaces" (2020, arXiv 2003.13678)."""

from __future__ import annotations

from itertools import groupby
from math import log

from torch import nn

STAGES = 4
STEM = 32
DIVISOR = 8  # of every width


def widths(depth: int, w0: int, wa: float, wm: float) -> list[int]:
    """The width of each block: equations 2 to 4.

    A line u_j = w0 + wa j is quantised to powers of wm: with s_j such that u_j = w0 wm^s_j the width is
    w0 wm^round(s_j), rounded to a multiple of 8.
    """
    line = [w0 + wa * block for block in range(depth)]
    powers = [round(log(u / w0) / log(wm)) for u in line]
    return [DIVISOR * round(w0 * wm**power / DIVISOR) for power in powers]


def stages(depth: int, w0: int, wa: float, wm: float, group_width: int) -> list[tuple[int, int, int]]:
    """Depth, width and group width of each stage: widths become multiples of the group width."""
    found = []
    for width, blocks in groupby(widths(depth, w0, wa, wm)):
        group = min(group_width, width)
        found.append((len(list(blocks)), max(group, round(width / group) * group), group))
    return found


def regnet(depth: int, w0: int, wa: float, wm: float, group_width: int, num_classes: int = 1000) -> nn.Module:
    """A network of the space, with bottlenecks of ratio 1.

    Raises:
        ValueError: the numbers give another count of stages than four, which the paper leaves out.
    """
    parts = stages(depth, w0, wa, wm, group_width)
    if len(parts) != STAGES:
        raise ValueError(f"{len(parts)} stages, not {STAGES}")
    blocks: list[nn.Module] = [conv(3, STEM, 3, stride=2), nn.ReLU(inplace=True)]
    before = STEM
    for count, width, group in parts:
        for block in range(count):
            blocks.append(Block(before, width, 2 if block == 0 else 1, width // group))
            before = width
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))


def conv(c1: int, c2: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its batch norm."""
    return nn.Sequential(nn.Conv2d(c1, c2, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c2))


class Block(nn.Module):
    """The X block (figure 4): 1x1, grouped 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, c1: int, c2: int, stride: int, groups: int) -> None:
        super().__init__()
        self.shortcut = conv(c1, c2, 1, stride) if stride > 1 or c1 != c2 else nn.Identity()
        self.residual = nn.Sequential(
            conv(c1, c2, 1),
            nn.ReLU(inplace=True),
            conv(c2, c2, 3, stride, groups),
            nn.ReLU(inplace=True),
            conv(c2, c2, 1),
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.shortcut(x) + self.residual(x))
