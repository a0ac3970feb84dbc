"""MobileNet V2: inverted residuals and linear bottlenecks (Sandler et al., arXiv 1801.04381, Tables 1 and 2).

State dicts are interchangeable with torchvision's `mobilenet_v2`.
"""

from __future__ import annotations

from torch import Tensor, nn

from costlab.zoo import arguments
from costlab.zoo.layers import conv_bn, initialise, round_channels

# Table 2: expansion t, output channels c, repeats n, stride s of the first.
FIRST_CHANNELS, LAST_CHANNELS = 32, 1280
TABLE_2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """Table 1: expand 1x1, depthwise 3x3, project 1x1 without activation; a shortcut if the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [conv_bn(inputs, hidden, kernel=1, activation=nn.ReLU6)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_bn(hidden, hidden, stride=stride, groups=hidden, activation=nn.ReLU6),
            *conv_bn(hidden, outputs, kernel=1, activation=None),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """x [n, 3, h, w] -> logits [n, num_classes]."""

    def __init__(self, width: float, num_classes: int, dropout: float) -> None:
        super().__init__()
        channels = round_channels(FIRST_CHANNELS * width)
        last = round_channels(LAST_CHANNELS * max(1.0, width))
        layers: list[nn.Module] = [conv_bn(3, channels, stride=2, activation=nn.ReLU6)]
        for expansion, outputs, repeats, stride in TABLE_2:
            outputs = round_channels(outputs * width)
            for repeat in range(repeats):
                layers.append(InvertedResidual(channels, outputs, stride if repeat == 0 else 1, expansion))
                channels = outputs
        layers.append(conv_bn(channels, last, kernel=1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet_v2(width: float = 1.0, num_classes: int = 1000, dropout: float = 0.2) -> MobileNetV2:
    """MobileNet V2: 300,774,272 mult-adds and 3,504,872 parameters at width 1 and 224 x 224.

    Args:
        width: multiplies every channel count; the last convolution never has fewer than 1280 (section 4.1).
        num_classes: size of the last layer.
        dropout: dropout probability before the last layer.

    Raises:
        ValueError: an argument is out of range.
    """
    return MobileNetV2(arguments.multiplier("width", width), arguments.size("num_classes", num_classes), dropout)
