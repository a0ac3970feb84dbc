"""Depthwise separable convolutions in place of full (MobileNet V1, arXiv 1704.04861), to see what that would cost."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from costlab.rewrite.layers import KINDS, Separable, kind_of, pair
from costlab.rewrite.result import Left
from costlab.rewrite.surgery import Rewritten, copied, dearer, layer, units
from costlab.tracing.modules import unwrap

NORMS: dict[type[nn.Module], type[nn.Module]] = dict(
    zip(KINDS, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), strict=True)
)


def depthwise_separable(
    model: nn.Module, *, skip: str | Sequence[str] = (), only: str | Sequence[str] = (), force: bool = False
) -> Rewritten:
    """A copy of `model` in which every convolution has become a depthwise separable one, with new weights.

    As in Figure 3 of the paper: depthwise, batch norm, ReLU, pointwise; what followed the convolution follows the
    pointwise one. It costs g/n + 1/k of the mult-adds, with n outputs, g groups and k kernel elements. The weights are
    torch's random initial ones, or none where the network has none: its price is right, its answers mean nothing.

    Args:
        skip, only: globs on module paths; one that matches a module means everything inside it as well.
        force: also where it costs more, as with depthwise convolutions.

    Raises:
        CostlabError: there is no convolution, or a glob matches no module.
    """
    model = unwrap(model)
    found, left = units(model, skip, only)
    costly = [] if force else [unit for unit in found if dearer(unit, 1)]
    left += [Left(member.paths[0], "would cost more") for unit in costly for member in unit]
    replacements = {}
    layers = []
    for unit in found:
        if unit in costly:
            continue
        weights = None
        for member in unit:
            conv = member.module
            depthwise, pointwise = pair(conv, 1, device=conv.weight.device)
            if weights is None:
                weights = depthwise.weight, pointwise.weight
            depthwise.weight, pointwise.weight = weights
            norm = NORMS[kind_of(conv)](conv.in_channels, device=conv.weight.device, dtype=conv.weight.dtype)
            activation = nn.ReLU(inplace=True)
            replacements[conv] = Separable(
                conv, depthwise=depthwise, norm=norm, activation=activation, pointwise=pointwise
            )
            layers.append(layer(member, 1, None))
    return Rewritten(copied(model, replacements), tuple(layers), tuple(left))
