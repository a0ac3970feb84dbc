"""MobileNet V3, Large and Small: searched bottlenecks, squeeze-and-excite, h-swish and a cheaper last stage.

Howard et al., arXiv 1905.02244, Tables 1 and 2, Figures 4 and 5. State dicts are interchangeable with torchvision's
`mobilenet_v3_large` and `mobilenet_v3_small`, which exist at width 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from costlab.zoo import arguments
from costlab.zoo.layers import conv_bn, initialise, round_channels


class BottleneckSpec(NamedTuple):
    """One row of Table 1 or 2."""

    kernel: int
    expanded: int  # exp size
    outputs: int  # #out
    squeeze_excite: bool  # SE
    nonlinearity: str  # NL: RE is ReLU, HS h-swish
    stride: int  # s


class Architecture(NamedTuple):
    """Table 1 or 2: everything between the input and the classes."""

    bottlenecks: tuple[BottleneckSpec, ...]
    features: int  # channels before the pooling
    last: int  # channels after it


FIRST_CHANNELS = 16
TABLE_1 = Architecture(
    (
        BottleneckSpec(3, 16, 16, False, "RE", 1),
        BottleneckSpec(3, 64, 24, False, "RE", 2),
        BottleneckSpec(3, 72, 24, False, "RE", 1),
        BottleneckSpec(5, 72, 40, True, "RE", 2),
        BottleneckSpec(5, 120, 40, True, "RE", 1),
        BottleneckSpec(5, 120, 40, True, "RE", 1),
        BottleneckSpec(3, 240, 80, False, "HS", 2),
        BottleneckSpec(3, 200, 80, False, "HS", 1),
        BottleneckSpec(3, 184, 80, False, "HS", 1),
        BottleneckSpec(3, 184, 80, False, "HS", 1),
        BottleneckSpec(3, 480, 112, True, "HS", 1),
        BottleneckSpec(3, 672, 112, True, "HS", 1),
        BottleneckSpec(5, 672, 160, True, "HS", 2),
        BottleneckSpec(5, 960, 160, True, "HS", 1),
        BottleneckSpec(5, 960, 160, True, "HS", 1),
    ),
    features=960,
    last=1280,
)
TABLE_2 = Architecture(
    (
        BottleneckSpec(3, 16, 16, True, "RE", 2),
        BottleneckSpec(3, 72, 24, False, "RE", 2),
        BottleneckSpec(3, 88, 24, False, "RE", 1),
        BottleneckSpec(5, 96, 40, True, "HS", 2),
        BottleneckSpec(5, 240, 40, True, "HS", 1),
        BottleneckSpec(5, 240, 40, True, "HS", 1),
        BottleneckSpec(5, 120, 48, True, "HS", 1),
        BottleneckSpec(5, 144, 48, True, "HS", 1),
        BottleneckSpec(5, 288, 96, True, "HS", 2),
        BottleneckSpec(5, 576, 96, True, "HS", 1),
        BottleneckSpec(5, 576, 96, True, "HS", 1),
    ),
    features=576,
    last=1024,
)
ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {"hswish": nn.Hardswish, "swish": nn.SiLU, "relu": nn.ReLU}
LAST_STAGES = ("v3", "v2")
BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM = 0.001, 0.01  # section 6.1: average decay of 0.99


def widened(specs: tuple[BottleneckSpec, ...], width: float) -> list[BottleneckSpec]:
    """The bottlenecks at another width; each keeps the expansion factor of the table, as in the published code."""
    result = []
    before, inputs = FIRST_CHANNELS, round_channels(FIRST_CHANNELS * width)
    for spec in specs:
        expanded = round_channels(inputs * spec.expanded / before)
        before, inputs = spec.outputs, round_channels(spec.outputs * width)
        result.append(spec._replace(expanded=expanded, outputs=inputs))
    return result


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from all channels, reduced to a quarter (section 5.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = round_channels(channels // 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * nn.functional.hardsigmoid(self.fc2(nn.functional.relu(self.fc1(pooled))))


class Bottleneck(nn.Module):
    """Figure 4: expand 1x1, depthwise, squeeze-and-excite, project 1x1 without activation; a shortcut as in V2."""

    def __init__(self, inputs: int, spec: BottleneckSpec, activation: Callable[..., nn.Module]) -> None:
        super().__init__()
        hidden = spec.expanded
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers.append(conv_bn(inputs, hidden, kernel=1, activation=activation))
        layers.append(conv_bn(hidden, hidden, spec.kernel, spec.stride, groups=hidden, activation=activation))
        if spec.squeeze_excite:
            layers.append(SqueezeExcite(hidden))
        layers.append(conv_bn(hidden, spec.outputs, kernel=1, activation=None))
        self.block = nn.Sequential(*layers)
        self.shortcut = spec.stride == 1 and inputs == spec.outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.shortcut else self.block(x)


class MobileNetV3(nn.Module):
    """x [n, 3, h, w] -> logits [n, num_classes]."""

    def __init__(
        self,
        table: Architecture,
        width: float,
        squeeze_excite: bool,
        activation: str,
        last_stage: str,
        num_classes: int,
        dropout: float,
    ) -> None:
        arguments.multiplier("width", width)
        arguments.flag("squeeze_excite", squeeze_excite)
        arguments.choice("activation", activation, tuple(ACTIVATIONS))
        arguments.choice("last_stage", last_stage, LAST_STAGES)
        arguments.size("num_classes", num_classes)
        super().__init__()
        searched = ACTIVATIONS[activation]
        inputs = round_channels(FIRST_CHANNELS * width)
        layers: list[nn.Module] = [conv_bn(3, inputs, stride=2, activation=searched)]
        for spec in widened(table.bottlenecks, width):
            spec = spec._replace(squeeze_excite=spec.squeeze_excite and squeeze_excite)
            layers.append(Bottleneck(inputs, spec, searched if spec.nonlinearity == "HS" else nn.ReLU))
            inputs = spec.outputs
        features = round_channels(table.features * width)
        last = round_channels(table.last * max(1.0, width))
        dropped = nn.Dropout(dropout)
        if last_stage == "v3":
            layers.append(conv_bn(inputs, features, kernel=1, activation=searched))
            head = [nn.Linear(features, last), searched(inplace=True), dropped, nn.Linear(last, num_classes)]
        else:
            final = BottleneckSpec(3, features, 2 * inputs, False, "HS", 1)
            layers.append(Bottleneck(inputs, final, searched))
            layers.append(conv_bn(final.outputs, last, kernel=1, activation=searched))
            head = [dropped, nn.Linear(last, num_classes)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(*head)
        initialise(self)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet_v3_large(
    width: float = 1.0,
    squeeze_excite: bool = True,
    activation: str = "hswish",
    last_stage: str = "v3",
    num_classes: int = 1000,
    dropout: float = 0.2,
) -> MobileNetV3:
    """MobileNet V3 Large: 216,589,760 mult-adds and 5,483,032 parameters at width 1 and 224 x 224.

    Args:
        width: multiplies every channel count; the layer after the pooling has at least 1280, as in the published
            code (0.75: the 155 million mult-adds and 4.0 million parameters of Table 3).
        squeeze_excite: use squeeze-and-excite where Table 1 has it.
        activation: used where Table 1 says HS: hswish, swish or relu.
        last_stage: Figure 5: `v3` computes the last features after the pooling; `v2` before it, on 7 x 7 positions,
            after a bottleneck to twice the channels: 160 -> 960 -> 320 -> 1280.
        num_classes: size of the last layer.
        dropout: dropout probability before the last layer.

    Raises:
        ValueError: an argument is out of range.
    """
    return MobileNetV3(TABLE_1, width, squeeze_excite, activation, last_stage, num_classes, dropout)


def mobilenet_v3_small(
    width: float = 1.0,
    squeeze_excite: bool = True,
    activation: str = "hswish",
    last_stage: str = "v3",
    num_classes: int = 1000,
    dropout: float = 0.2,
) -> MobileNetV3:
    """MobileNet V3 Small: 56,510,400 mult-adds and 2,542,856 parameters at width 1 and 224 x 224.

    Args:
        width: multiplies every channel count; the layer after the pooling has at least 1024.
        squeeze_excite: use squeeze-and-excite where Table 2 has it. Table 2 also ticks the last 1x1 convolution, but
            neither the published code nor the printed 2.5 million parameters have one there.
        activation: used where Table 2 says HS: hswish, swish or relu.
        last_stage: as in `mobilenet_v3_large`; the paper draws `v2` for Large only: 96 -> 576 -> 192 -> 1024 here.
        num_classes: size of the last layer.
        dropout: dropout probability before the last layer.

    Raises:
        ValueError: an argument is out of range.
    """
    return MobileNetV3(TABLE_2, width, squeeze_excite, activation, last_stage, num_classes, dropout)
