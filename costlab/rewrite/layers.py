"""A depthwise and a pointwise convolution in place of one convolution.

Shapes: input channels i, outputs o, groups g, kernel elements k, rank r depthwise kernels for each input channel.
"""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import Any

import torch
from torch import nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


# What networks read from their convolutions, to pad for them or to share them out.
ATTRIBUTES = "in_channels out_channels kernel_size stride padding dilation groups padding_mode".split()


class Separable(nn.Sequential):
    """`depthwise` [i r, 1, k...], then `pointwise` [o, i/g r, 1...]; answers as the convolution that it replaces."""

    depthwise: Conv
    pointwise: Conv

    def __init__(self, replaced: Conv, **parts: nn.Module) -> None:
        super().__init__(OrderedDict(parts))
        for name in ATTRIBUTES:
            setattr(self, name, getattr(replaced, name))
        self.train(replaced.training)

    @property
    def weight(self) -> torch.Tensor:
        """That of the pointwise convolution: networks ask their convolutions for dtype and device."""
        return self.pointwise.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self.pointwise.bias


class DepthwisePointwise(Separable):
    """Two convolutions with nothing between them, which amount to one."""

    @property
    def weight(self) -> torch.Tensor:
        """[o, i/g, k...]: the one kernel that both amount to."""
        kernels, mixing = self.depthwise.weight, self.pointwise.weight
        g, o, i = self.pointwise.groups, self.pointwise.out_channels, self.depthwise.in_channels
        kernels = kernels.reshape(g, i // g, len(kernels) // i, -1)
        mixing = mixing.reshape(g, o // g, i // g, -1)
        return torch.einsum("gcrk,gncr->gnck", kernels, mixing).reshape(o, i // g, *self.depthwise.kernel_size)


def kind_of(conv: Conv) -> type[Conv]:
    """The class of torch that `conv` is of, or derives from."""
    return next(kind for kind in KINDS if isinstance(conv, kind))


def pair(conv: Conv, rank: int, device: Any) -> tuple[Conv, Conv]:
    """The two convolutions without a bias, and with weights as torch initialises them."""
    kind = kind_of(conv)
    inner = conv.in_channels * rank
    options: dict[str, Any] = {"device": device, "dtype": conv.weight.dtype}
    depthwise = kind(
        conv.in_channels,
        inner,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        groups=conv.in_channels,
        bias=False,
        padding_mode=conv.padding_mode,
        **options,
    )
    return depthwise, kind(inner, conv.out_channels, 1, groups=conv.groups, bias=False, **options)


def full_rank(conv: Conv) -> int:
    """min(o/g, k): the number of singular values of one input channel's weights."""
    return min(conv.out_channels // conv.groups, prod(conv.kernel_size))


def mult_adds(conv: Conv) -> int:
    """o i/g k for one output position."""
    return conv.out_channels * (conv.in_channels // conv.groups) * prod(conv.kernel_size)


def mult_adds_of_pair(conv: Conv, rank: int) -> int:
    """r (i k + o i/g) for one output position: r g/o + r/k times as much as `conv`."""
    return rank * (conv.in_channels * prod(conv.kernel_size) + conv.out_channels * (conv.in_channels // conv.groups))
