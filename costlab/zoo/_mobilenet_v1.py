"""MobileNet V1: depthwise separable convolutions (Howard et al., arXiv 1704.04861, Table 1 and Figure 3)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from costlab.zoo import arguments
from costlab.zoo.layers import conv_bn, initialise

# Table 1: output channels and stride of the layers between the first convolution and the pooling. The table prints
# stride 2 for the last one too, but its 7 x 7 output and the printed mult-adds are those of stride 1.
FIRST_CHANNELS = 32
TABLE_1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *5 * ((512, 1),), (1024, 2), (1024, 1))
SHALLOW = tuple(layer for layer in TABLE_1 if layer != (512, 1))  # Table 5: without the five layers of 14 x 14 x 512


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Figure 3: depthwise 3x3, then 1x1, each with batch norm and ReLU."""
    depthwise = conv_bn(inputs, inputs, stride=stride, groups=inputs)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=conv_bn(inputs, outputs, kernel=1)))


class MobileNetV1(nn.Module):
    """x [n, 3, h, w] -> logits [n, num_classes]."""

    def __init__(self, width: float, resolution: int, shallow: bool, full_conv: bool, num_classes: int) -> None:
        super().__init__()
        self.resolution = resolution  # of the default input; others work too
        layer = conv_bn if full_conv else separable

        def channels(count: int) -> int:
            return max(8, int(count * width))  # at least 8, as in the published code

        inputs = channels(FIRST_CHANNELS)
        layers = [conv_bn(3, inputs, stride=2)]
        for count, stride in SHALLOW if shallow else TABLE_1:
            layers.append(layer(inputs, channels(count), stride=stride))
            inputs = channels(count)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet_v1(
    width: float = 1.0, resolution: int = 224, shallow: bool = False, full_conv: bool = False, num_classes: int = 1000
) -> MobileNetV1:
    """MobileNet V1: 568,740,352 mult-adds and 4,231,976 parameters at width 1 and 224 x 224.

    Args:
        width: the paper's alpha; multiplies every channel count (section 3.3).
        resolution: the paper's rho as height and width of the default input (section 3.4): 224, 192, 160 or 128.
        shallow: leave out the five 14 x 14 x 512 layers (Table 5): 307,323,392 mult-adds.
        full_conv: replace every separable layer by a full 3x3 convolution (Table 4): 4,867,293,184 mult-adds.
        num_classes: size of the last layer.

    Raises:
        ValueError: an argument is out of range.
    """
    return MobileNetV1(
        arguments.multiplier("width", width),
        arguments.size("resolution", resolution),
        arguments.flag("shallow", shallow),
        arguments.flag("full_conv", full_conv),
        arguments.size("num_classes", num_classes),
    )
