"""Small networks that a machine is calibrated by: every kind of operator, over sizes, none of them a published network.

They are drawn from a seed, so that every machine runs the same. Operators are timed inside a block, where the caches
hold what they hold in a network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

SEED = 0
SIDES = (112, 80, 56, 40, 28, 20, 14, 10, 7)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.Sigmoid)
IN_PLACE = (nn.ReLU6, nn.Hardswish)
MOST_ELEMENTS = 4_000_000  # of a block's input: larger ones say nothing new
MOST_MULT_ADDS = 8e8  # of a convolution


class Block(NamedTuple):
    """A small network, built when it is its turn."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    channels_last: bool = False


class Bottleneck(nn.Module):
    """1 x 1, k x k in groups, 1 x 1, with normalisation, an activation and a shortcut."""

    def __init__(self, channels: int, inner: int, kernel: int, groups: int, activation: type[nn.Module]):
        super().__init__()
        middle = nn.Conv2d(inner, inner, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.body = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            activation(inplace=True) if activation in IN_PLACE else activation(),
            middle,
            nn.BatchNorm2d(inner),
            activation(),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


class Gate(nn.Module):
    """Channels weighed by what they are on average."""

    def __init__(self, channels: int):
        super().__init__()
        inner = max(channels // 4, 8)
        self.reduce, self.expand = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Encoder(nn.Module):
    """Attention and two linear layers over tokens [n, l, d]."""

    def __init__(self, width: int, heads: int, fused: bool):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            seen = F.scaled_dot_product_attention(q, k, v)
        else:
            seen = torch.softmax(q @ k.transpose(-2, -1) * width**-0.5, -1) @ v
        x = x + self.project(seen.transpose(1, 2).reshape(n, length, width))
        return x + self.fall(F.gelu(self.rise(self.norm2(x))))


class Branches(nn.Module):
    """Halves that go different ways and come together again, shuffled."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.right = nn.Sequential(
            nn.Conv2d(half, half, 1), nn.ReLU(), nn.Conv2d(half, half, 3, padding=1, groups=half)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, 1)
        n, c, h, w = x.shape
        joined = torch.cat((left, self.right(right)), 1)
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class ChannelNorm(nn.Module):
    """A large depthwise convolution, a norm over channels and two linear layers, channels innermost in between."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.rise, self.fall = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fall(F.gelu(self.rise(self.norm(self.mix(x).permute(0, 2, 3, 1)))))
        return x + (y * self.scale).permute(0, 3, 1, 2)


class Windows(nn.Module):
    """Images cut into windows of tokens and put together again, shifted."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.size, self.inner = size, Encoder(width, max(width // 32, 1), fused=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [n, h, w, c]
        n, h, w, c = x.shape
        s = self.size
        x = torch.roll(x, (-1, -1), (1, 2))
        cut = x.view(n, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        back = self.inner(cut).view(n, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5)
        return torch.roll(back.reshape(n, h, w, c), (1, 1), (1, 2))


class Pools(nn.Module):
    """Pooling with overlapping windows, and activations in place."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(F.max_pool2d(x, 3, self.stride, 1), inplace=True)
        z = F.relu6(F.avg_pool2d(x, 3, self.stride, 1), inplace=True)
        return F.adaptive_avg_pool2d(y + z, 1)


class Resize(nn.Module):
    """Pooling of all sorts and back."""

    def __init__(self, mode: str):
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(x, 3, 2, 1) + F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 2)[..., : (x.shape[-2] + 1) // 2, :]
        return x + F.interpolate(y, size=x.shape[-2:], mode=self.mode)


def blocks(seed: int = SEED) -> Iterator[Block]:
    """All blocks, the same for the same seed."""
    draw = random.Random(seed)

    def image(channels: int, side: int) -> tuple[int, int, int, int]:
        batch = draw.choice((1, 1, 1, 2, 4, 8))
        while batch > 1 and batch * channels * side * side > MOST_ELEMENTS:
            batch //= 2
        return batch, channels, side, side

    def channels(most: int = 512) -> int:
        return min(most, 8 * draw.randint(1, 12) * draw.choice((1, 2, 4)))

    for number, side in enumerate(SIDES * 4):
        last, c = number % 3 == 2, channels(64 if side > 40 else 256 if side > 14 else 1024)
        inner = min(draw.choice((c // 4, c // 2, c, 2 * c, 4 * c, 6 * c)), 2048) // 8 * 8 or 8
        groups = draw.choice((1, inner, inner, inner // 8 if inner % 8 == 0 else inner))
        kernel = draw.choice((3, 3, 5, 7)) if groups == inner else 3
        while groups == 1 and inner * inner * 9 * side * side > MOST_MULT_ADDS and inner > 16:
            inner //= 2
        activation = draw.choice(ACTIVATIONS)
        yield Block(
            f"bottleneck {c} {inner} {kernel} {groups}",
            lambda c=c, i=inner, k=kernel, g=groups, a=activation: Bottleneck(c, i, k, g, a),  # type: ignore[misc]
            image(c, side),
            last,
        )
    for number, side in enumerate(SIDES * 3):
        c = channels(64 if side > 40 else 256 if side > 14 else 768)
        while c * c * 2 * 9 * side * side > MOST_MULT_ADDS * 2 and c > 8:
            c //= 2
        kernel = draw.choice((3, 3, 3, 5))
        yield Block(
            f"convolutions {c} {kernel}",
            lambda c=c, k=kernel: nn.Sequential(  # type: ignore[misc]
                nn.Conv2d(c, c, k, padding=k // 2),
                nn.ReLU(),
                nn.Conv2d(c, 2 * c, k, stride=2, padding=k // 2),
                Gate(2 * c),
            ),
            image(c, side),
            number % 3 == 2,
        )
    for kernel, stride, side in ((3, 2, 224), (7, 2, 224), (4, 4, 224), (16, 16, 224), (3, 2, 320), (7, 2, 160)):
        c = channels(96)
        yield Block(
            f"stem {c} {kernel}",
            lambda c=c, k=kernel, s=stride: nn.Sequential(  # type: ignore[misc]
                nn.Conv2d(3, c, k, stride=s, padding=k // 2 if s < k else 0), nn.BatchNorm2d(c), nn.ReLU()
            ),
            (draw.choice((1, 4)), 3, side, side),
        )
    for number in range(20):
        width, length = 32 * draw.randint(2, 36), draw.choice((49, 50, 64, 129, 145, 196, 257, 320))
        heads = next(h for h in (width // 64, width // 32, 1) if h and width % h == 0)
        yield Block(
            f"encoder {width} {length}",
            lambda w=width, h=heads, f=number % 3 > 0: Encoder(w, h, f),  # type: ignore[misc]
            (draw.choice((1, 1, 4)), length, width),
        )
    for side in (80, 56, 40, 28, 20, 14, 10, 7):
        c = channels(96 if side > 40 else 384)
        kernel = draw.choice((5, 7, 7, 9))
        yield Block(f"channel norm {c} {kernel}", lambda c=c, k=kernel: ChannelNorm(c, k), image(c, side))  # type: ignore[misc]
        yield Block(f"branches {c}", lambda c=c: Branches(c), image(c, side))  # type: ignore[misc]
    for side, size in ((56, 7), (28, 7), (14, 7), (32, 8), (16, 8)):
        width = 32 * draw.randint(2, 10)
        yield Block(f"windows {width} {size}", lambda w=width, s=size: Windows(w, s), (1, side, side, width))  # type: ignore[misc]
    for number, side in enumerate((112, 80, 56, 28, 28, 14)):
        yield Block(f"pools {side}", lambda s=number % 2 + 1: Pools(s), image(channels(128), side))  # type: ignore[misc]
    for side in (112, 56, 28, 14):
        mode = draw.choice(("nearest", "bilinear"))
        yield Block(f"resize {mode}", lambda m=mode: Resize(m), image(channels(128), side))  # type: ignore[misc]
    for features, classes in ((512, 1000), (1280, 1000), (2048, 1000), (768, 21841), (4096, 4096), (9216, 4096)):
        rows = draw.choice((1, 1, 8))
        yield Block(f"head {features}", lambda f=features, c=classes: nn.Linear(f, c), (rows, features))  # type: ignore[misc]
