"""ShuffleNet V2: channel split, equal widths, no groups (Ma et al., arXiv 1807.11164, Table 5 and Figure 3).

State dicts are interchangeable with torchvision's `shufflenet_v2_x0_5`, `_x1_0`, `_x1_5` and `_x2_0`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from costlab.zoo import arguments
from costlab.zoo.layers import channel_shuffle, conv_bn, initialise

# Table 5: output channels of stages 2, 3 and 4 and of the last convolution, by width; units in the stages.
FIRST_CHANNELS = 24
TABLE_5 = {0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024), 1.5: (176, 352, 704, 1024), 2.0: (244, 488, 976, 2048)}
REPEATS = (4, 8, 4)


class Unit(nn.Module):
    """Figure 3 c and d: half of the channels bypass the branch; with stride 2 all pass through both branches."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride == 2:
            self.branch1 = nn.Sequential(
                *conv_bn(inputs, inputs, stride=2, groups=inputs, activation=None), *conv_bn(inputs, half, kernel=1)
            )
        self.branch2 = nn.Sequential(
            *conv_bn(inputs if stride == 2 else half, half, kernel=1),
            *conv_bn(half, half, stride=stride, groups=half, activation=None),
            *conv_bn(half, half, kernel=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1) if self.stride == 1 else (x, x)
        return channel_shuffle(torch.cat((self.branch1(left), self.branch2(right)), dim=1), groups=2)


class ShuffleNetV2(nn.Module):
    """x [n, 3, h, w] -> logits [n, num_classes]."""

    def __init__(self, width: float, num_classes: int) -> None:
        super().__init__()
        *stage_channels, last = TABLE_5[width]
        inputs = FIRST_CHANNELS
        self.conv1 = conv_bn(3, inputs, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages = []
        for outputs, repeats in zip(stage_channels, REPEATS, strict=True):
            units = [Unit(inputs, outputs, stride=2)]
            units += [Unit(outputs, outputs, stride=1) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(*units))
            inputs = outputs
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = conv_bn(inputs, last, kernel=1)
        self.fc = nn.Linear(last, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        return self.fc(self.conv5(x).mean((2, 3)))


def shufflenet_v2(width: float = 1.0, num_classes: int = 1000) -> ShuffleNetV2:
    """ShuffleNet V2: 144,907,992 mult-adds and 2,278,604 parameters at width 1 and 224 x 224.

    Args:
        width: a column of Table 5: 0.5, 1, 1.5 or 2.
        num_classes: size of the last layer.

    Raises:
        ValueError: an argument is out of range.
    """
    return ShuffleNetV2(arguments.choice("width", width, tuple(TABLE_5)), arguments.size("num_classes", num_classes))
