"""ShuffleNet V1: grouped 1x1 convolutions and channel shuffle (Zhang et al., arXiv 1707.01083, Table 1, Figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from costlab.zoo import arguments
from costlab.zoo.layers import channel_shuffle, conv_bn, initialise

# Table 1: output channels of stage 2 by groups, doubled by each later stage; units in stages 2, 3 and 4. The first
# convolution has 24 channels, but 12 below width 1 and 48 from width 2 on: this reproduces the paper's 13, 38, 292 and
# 524 million mult-adds (0.25x to 2x, three groups), and the authors' published code does the same.
FIRST_CHANNELS = ((2, 48), (1, 24), (0, 12))
STAGE_2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
REPEATS = (4, 8, 4)


class Unit(nn.Module):
    """Figure 2 b and c: grouped 1x1, shuffle, depthwise 3x3, grouped 1x1.

    With stride 1 the result is added to the input, with stride 2 concatenated with the average-pooled input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, first_groups: int) -> None:
        super().__init__()
        hidden = outputs // 4
        self.groups, self.stride = groups, stride
        self.reduce = conv_bn(inputs, hidden, kernel=1, groups=first_groups)
        self.depthwise = conv_bn(hidden, hidden, stride=stride, groups=hidden, activation=None)
        self.expand = conv_bn(
            hidden, outputs - inputs if stride == 2 else outputs, kernel=1, groups=groups, activation=None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        if self.groups > 1:
            y = channel_shuffle(y, self.groups)
        y = self.expand(self.depthwise(y))
        if self.stride == 1:
            return nn.functional.relu(x + y)
        return nn.functional.relu(torch.cat((nn.functional.avg_pool2d(x, 3, stride=2, padding=1), y), dim=1))


class ShuffleNetV1(nn.Module):
    """x [n, 3, h, w] -> logits [n, num_classes]."""

    def __init__(self, groups: int, width: float, num_classes: int) -> None:
        super().__init__()
        inputs = nearest_multiple(next(channels for least, channels in FIRST_CHANNELS if width >= least), groups)
        # Stage 2 adds channels to its input, so it needs at least one multiple more.
        step = 4 * groups
        outputs = max(nearest_multiple(STAGE_2_CHANNELS[groups] * width, step), (inputs // step + 1) * step)
        self.conv1 = conv_bn(3, inputs, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages: list[nn.Sequential] = []
        for repeats in REPEATS:
            # Table 1: the first layer of stage 2 is not grouped because its input has few channels.
            units = [Unit(inputs, outputs, 2, groups, first_groups=groups if stages else 1)]
            units += [Unit(outputs, outputs, 1, groups, first_groups=groups) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(*units))
            inputs, outputs = outputs, 2 * outputs
        self.stage2, self.stage3, self.stage4 = stages
        self.fc = nn.Linear(inputs, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        return self.fc(x.mean((2, 3)))


def nearest_multiple(channels: float, multiple: int) -> int:
    """The multiple of `multiple` nearest to `channels`, and at least `multiple`."""
    return max(1, int(channels / multiple + 0.5)) * multiple


def shufflenet_v1(groups: int = 3, width: float = 1.0, num_classes: int = 1000) -> ShuffleNetV1:
    """ShuffleNet V1: 137,460,672 mult-adds at three groups, width 1 and 224 x 224.

    Args:
        groups: groups of the pointwise convolutions, a column of Table 1: 1, 2, 3, 4 or 8.
        width: the paper's s (section 3.3); multiplies every channel count, rounded to a multiple of `groups`.
        num_classes: size of the last layer.

    Raises:
        ValueError: an argument is out of range.
    """
    return ShuffleNetV1(
        arguments.choice("groups", groups, tuple(STAGE_2_CHANNELS)),
        arguments.multiplier("width", width),
        arguments.size("num_classes", num_classes),
    )
