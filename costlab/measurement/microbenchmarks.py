"""Small networks for calibration: every kind of operator at many sizes, none of them a published network.

They are drawn from a seed, so every machine runs the same ones. Operators are timed inside a block, where the caches
are in the state they have in a network.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

SEED = 0
SIDES = (112, 80, 56, 40, 28, 20, 14, 10, 7)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.Sigmoid)
IN_PLACE = (nn.ReLU6, nn.Hardswish)
MOST_ELEMENTS = 4_000_000  # of a block's input
MOST_MULT_ADDS = 8e8  # of a convolution


class Block(NamedTuple):
    """A small network, built on demand."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    channels_last: bool = False


class Bottleneck(nn.Module):
    """1 x 1, grouped k x k and 1 x 1 convolutions with batch norm, an activation and a shortcut."""

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
    """Squeeze-and-excitation: channels scaled by a function of their means."""

    def __init__(self, channels: int):
        super().__init__()
        inner = max(channels // 4, 8)
        self.reduce, self.expand = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Encoder(nn.Module):
    """A transformer encoder layer over tokens [n, l, d]."""

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
    """Two branches over halves of the channels, concatenated and shuffled."""

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
    """A ConvNeXt block: large depthwise convolution, layer norm over channels, two linear layers."""

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
    """A Swin block: attention within shifted windows."""

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
    """Pooling with overlapping windows, and in-place activations."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(F.max_pool2d(x, 3, self.stride, 1), inplace=True)
        z = F.relu6(F.avg_pool2d(x, 3, self.stride, 1), inplace=True)
        return F.adaptive_avg_pool2d(y + z, 1)


class Resize(nn.Module):
    """Pooling and upsampling."""

    def __init__(self, mode: str):
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(x, 3, 2, 1) + F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 2)[..., : (x.shape[-2] + 1) // 2, :]
        return x + F.interpolate(y, size=x.shape[-2:], mode=self.mode)


def blocks(seed: int = SEED) -> Iterator[Block]:
    """All blocks; the same seed gives the same blocks."""
    draw = random.Random(seed)
    for family in (bottlenecks, convolutions, stems, encoders, mixers, windows, pools, heads):
        yield from family(draw)


def image(draw: random.Random, channels: int, side: int) -> tuple[int, int, int, int]:
    """The shape of a batch of images, neither too large nor always of one."""
    batch = draw.choice((1, 1, 1, 2, 4, 8))
    while batch > 1 and batch * channels * side * side > MOST_ELEMENTS:
        batch //= 2
    return batch, channels, side, side


def channels(draw: random.Random, most: int) -> int:
    """A number of channels, a multiple of 8."""
    return min(most, 8 * draw.randint(1, 12) * draw.choice((1, 2, 4)))


def bottlenecks(draw: random.Random) -> Iterator[Block]:
    """Bottlenecks with dense, grouped and depthwise convolutions."""
    for number, side in enumerate(SIDES * 4):
        c = channels(draw, 64 if side > 40 else 256 if side > 14 else 1024)
        inner = min(draw.choice((c // 4, c // 2, c, 2 * c, 4 * c, 6 * c)), 2048) // 8 * 8 or 8
        groups = draw.choice((1, inner, inner, inner // 8 if inner % 8 == 0 else inner))
        kernel = draw.choice((3, 3, 5, 7)) if groups == inner else 3
        while groups == 1 and inner * inner * 9 * side * side > MOST_MULT_ADDS and inner > 16:
            inner //= 2
        build = partial(Bottleneck, c, inner, kernel, groups, draw.choice(ACTIVATIONS))
        yield Block(f"bottleneck {c} {inner} {kernel} {groups}", build, image(draw, c, side), number % 3 == 2)


def convolutions(draw: random.Random) -> Iterator[Block]:
    """Two dense convolutions and a gate."""

    def build(c: int, kernel: int) -> nn.Module:
        first = nn.Conv2d(c, c, kernel, padding=kernel // 2)
        second = nn.Conv2d(c, 2 * c, kernel, stride=2, padding=kernel // 2)
        return nn.Sequential(first, nn.ReLU(), second, Gate(2 * c))

    for number, side in enumerate(SIDES * 3):
        c = channels(draw, 64 if side > 40 else 256 if side > 14 else 768)
        while c * c * 2 * 9 * side * side > MOST_MULT_ADDS * 2 and c > 8:
            c //= 2
        kernel = draw.choice((3, 3, 3, 5))
        shape = image(draw, c, side)
        yield Block(f"convolutions {c} {kernel}", partial(build, c, kernel), shape, number % 3 == 2)


def stems(draw: random.Random) -> Iterator[Block]:
    """First layers on images."""

    def build(c: int, kernel: int, stride: int) -> nn.Module:
        convolution = nn.Conv2d(3, c, kernel, stride=stride, padding=kernel // 2 if stride < kernel else 0)
        return nn.Sequential(convolution, nn.BatchNorm2d(c), nn.ReLU())

    for kernel, stride, side in ((3, 2, 224), (7, 2, 224), (4, 4, 224), (16, 16, 224), (3, 2, 320), (7, 2, 160)):
        c = channels(draw, 96)
        yield Block(f"stem {c} {kernel}", partial(build, c, kernel, stride), (draw.choice((1, 4)), 3, side, side))


def encoders(draw: random.Random) -> Iterator[Block]:
    """Transformer encoder layers, with fused and unfused attention."""
    for number in range(20):
        width, length = 32 * draw.randint(2, 36), draw.choice((49, 50, 64, 129, 145, 196, 257, 320))
        heads = next(h for h in (width // 64, width // 32, 1) if h and width % h == 0)
        shape = draw.choice((1, 1, 4)), length, width
        yield Block(f"encoder {width} {length}", partial(Encoder, width, heads, number % 3 > 0), shape)


def mixers(draw: random.Random) -> Iterator[Block]:
    """Large depthwise kernels, layer norm over channels, and channel shuffles."""
    for side in (80, 56, 40, 28, 20, 14, 10, 7):
        c = channels(draw, 96 if side > 40 else 384)
        kernel = draw.choice((5, 7, 7, 9))
        yield Block(f"channel norm {c} {kernel}", partial(ChannelNorm, c, kernel), image(draw, c, side))
        yield Block(f"branches {c}", partial(Branches, c), image(draw, c, side))


def windows(draw: random.Random) -> Iterator[Block]:
    """Windowed attention."""
    for side, size in ((56, 7), (28, 7), (14, 7), (32, 8), (16, 8)):
        width = 32 * draw.randint(2, 10)
        yield Block(f"windows {width} {size}", partial(Windows, width, size), (1, side, side, width))


def pools(draw: random.Random) -> Iterator[Block]:
    """Pooling and resizing."""
    for number, side in enumerate((112, 80, 56, 28, 28, 14)):
        yield Block(f"pools {side}", partial(Pools, number % 2 + 1), image(draw, channels(draw, 128), side))
    for side in (112, 56, 28, 14):
        mode = draw.choice(("nearest", "bilinear"))
        yield Block(f"resize {mode}", partial(Resize, mode), image(draw, channels(draw, 128), side))


def heads(draw: random.Random) -> Iterator[Block]:
    """Classifiers."""
    for features, classes in ((512, 1000), (1280, 1000), (2048, 1000), (768, 21841), (4096, 4096), (9216, 4096)):
        rows = draw.choice((1, 1, 8))
        yield Block(f"head {features}", partial(nn.Linear, features, classes), (rows, features))
