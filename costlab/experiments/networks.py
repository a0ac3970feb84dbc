"""The networks of the experiments, without weights: convolutions without bias or batch norm, as in Tables 1 to 4."""

import torch
from torch import Tensor, nn

from costlab import zoo
from costlab.experiments.designs import Subject

BLOCKS = 10  # stacked


def conv(c1: int, c2: int, kernel: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution with same padding and no bias."""
    return nn.Conv2d(c1, c2, kernel, padding=kernel // 2, groups=groups, bias=False)


def channel_ratio(c1: int, c2: int) -> nn.Sequential:
    """Table 1: blocks of 1x1 c1 -> c2 and 1x1 c2 -> c1."""
    return nn.Sequential(*(nn.Sequential(conv(c1, c2), conv(c2, c1)) for _ in range(BLOCKS)))


def grouped(c: int, groups: int) -> nn.Sequential:
    """Table 2: grouped 1x1 convolutions."""
    return nn.Sequential(*(conv(c, c, groups=groups) for _ in range(BLOCKS)))


class Parallel(nn.ModuleList):
    """The sum of several branches on the same input."""

    def forward(self, x: Tensor) -> Tensor:
        total = self[0](x)
        for branch in self[1:]:
            total = total + branch(x)
        return total


def fragmented(c: int, fragments: int, parallel: bool) -> nn.Sequential:
    """Table 3: blocks of 1x1 convolutions in series or in parallel."""
    block = Parallel if parallel else lambda layers: nn.Sequential(*layers)
    return nn.Sequential(*(block([conv(c, c) for _ in range(fragments)]) for _ in range(BLOCKS)))


class Bottleneck(nn.Module):
    """ResNet's unit: 1x1 c -> c/4, 3x3, 1x1 c/4 -> c, with ReLU after each and a shortcut, or without."""

    def __init__(self, c: int, relu: bool, shortcut: bool) -> None:
        super().__init__()
        self.reduce, self.spatial, self.expand = conv(c, c // 4), conv(c // 4, c // 4, kernel=3), conv(c // 4, c)
        self.activation = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.activation(self.spatial(self.activation(self.reduce(x)))))
        return self.activation(x + y if self.shortcut else y)


def bottlenecks(c: int, relu: bool, shortcut: bool) -> nn.Sequential:
    """Table 4: bottlenecks with and without ReLU and shortcut."""
    return nn.Sequential(*(Bottleneck(c, relu, shortcut) for _ in range(BLOCKS)))


def kernels(c: int, kernel: int, depthwise: bool) -> nn.Sequential:
    """Convolutions of one kernel size."""
    return nn.Sequential(*(conv(c, c, kernel, groups=c if depthwise else 1) for _ in range(BLOCKS)))


NETWORKS = {
    "channel_ratio": channel_ratio,
    "grouped": grouped,
    "fragmented": fragmented,
    "bottlenecks": bottlenecks,
    "kernels": kernels,
    **{name: getattr(zoo, name) for name in zoo.__all__},
}


def build(subject: Subject) -> nn.Module:
    """The network of a subject, on the meta device."""
    with torch.device("meta"):
        return NETWORKS[subject.network](**subject.arguments)
