"""A depthwise and a pointwise convolution that replace one convolution.

Shapes: input channels i, outputs o, groups g, kernel elements k, rank r = depthwise kernels per input channel.
"""

from collections import OrderedDict
from math import prod
from typing import Any

import torch
from torch import nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONV_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

# Attributes that networks read from their convolutions, for example to pad their inputs.
ATTRIBUTES = "in_channels out_channels kernel_size stride padding dilation groups padding_mode".split()


class Separable(nn.Sequential):
    """`depthwise` [i r, 1, k...], then `pointwise` [o, i/g r, 1...]; has the attributes of the replaced convolution."""

    depthwise: Conv
    pointwise: Conv

    def __init__(self, replaced: Conv, **parts: nn.Module) -> None:
        super().__init__(OrderedDict(parts))
        for name in ATTRIBUTES:
            setattr(self, name, getattr(replaced, name))
        self.train(replaced.training)

    @property
    def weight(self) -> torch.Tensor:
        """The pointwise weight: networks read dtype and device from the weights of their convolutions."""
        return self.pointwise.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The pointwise bias."""
        return self.pointwise.bias


class DepthwisePointwise(Separable):
    """Two convolutions with nothing between them: together one linear map."""

    @property
    def weight(self) -> torch.Tensor:
        """[o, i/g, k...]: the kernel of the single convolution equal to the pair."""
        kernels, mixing = self.depthwise.weight, self.pointwise.weight
        g, o, i = self.pointwise.groups, self.pointwise.out_channels, self.depthwise.in_channels
        kernels = kernels.reshape(g, i // g, len(kernels) // i, -1)
        mixing = mixing.reshape(g, o // g, i // g, -1)
        return torch.einsum("gcrk,gncr->gnck", kernels, mixing).reshape(o, i // g, *self.depthwise.kernel_size)


def conv_type(conv: Conv) -> type[Conv]:
    """The class of torch.nn that `conv` is an instance of."""
    return next(kind for kind in CONV_TYPES if isinstance(conv, kind))


def separable_pair(conv: Conv, rank: int, device: Any) -> tuple[Conv, Conv]:
    """The depthwise and pointwise convolution, without biases and with torch's initial weights."""
    kind = conv_type(conv)
    inner = conv.in_channels * rank
    options: dict[str, Any] = {"bias": False, "device": device, "dtype": conv.weight.dtype}
    spatial = {name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    depthwise = kind(conv.in_channels, inner, groups=conv.in_channels, **spatial, **options)
    return depthwise, kind(inner, conv.out_channels, 1, groups=conv.groups, **options)


def full_rank(conv: Conv) -> int:
    """min(o/g, k): the number of singular values of the weights of one input channel."""
    return min(conv.out_channels // conv.groups, prod(conv.kernel_size))


def mult_adds(conv: Conv) -> int:
    """o i/g k per output position."""
    return conv.out_channels * (conv.in_channels // conv.groups) * prod(conv.kernel_size)


def mult_adds_of_pair(conv: Conv, rank: int) -> int:
    """r (i k + o i/g) per output position: r g/o + r/k times the mult-adds of `conv`."""
    return rank * (conv.in_channels * prod(conv.kernel_size) + conv.out_channels * (conv.in_channels // conv.groups))
