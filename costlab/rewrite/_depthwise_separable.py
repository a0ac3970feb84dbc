"""Depthwise separable instead of full convolutions (MobileNet V1, arXiv 1704.04861), to see what that would cost."""

from collections.abc import Sequence

from torch import nn

from costlab.rewrite.layers import CONV_TYPES, Separable, conv_type, separable_pair
from costlab.rewrite.surgery import RewriteResult, copy_with, costs_more, keep, replaceable_convolutions, replaced
from costlab.tracing.modules import unwrap

NORMS: dict[type[nn.Module], type[nn.Module]] = dict(
    zip(CONV_TYPES, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), strict=True)
)


def depthwise_separable(
    model: nn.Module, *, skip: str | Sequence[str] = (), only: str | Sequence[str] = (), force: bool = False
) -> RewriteResult:
    """A copy of `model` in which every convolution is replaced by a depthwise separable one with new weights.

    As in Figure 3 of the paper: depthwise, batch norm, ReLU, pointwise; whatever followed the convolution follows the
    pointwise one. It takes g/n + 1/k of the mult-adds, with n outputs, g groups and k kernel elements. The weights are
    torch's initial ones, on the meta device if the network's are: the cost is right, the outputs are meaningless.

    Args:
        skip, only: globs on module paths; a glob that matches a module includes its submodules.
        force: replace convolutions even if that costs more, such as depthwise ones.

    Raises:
        CostlabError: the model has no convolution, or a glob matches no module.
    """
    model = unwrap(model)
    found, kept = replaceable_convolutions(model, skip, only)
    replacements = {}
    layers = []
    for convolutions in found:
        if not force and costs_more(convolutions, 1):
            kept += keep(convolutions, "would cost more")
            continue
        weights = None
        for convolution in convolutions:
            conv = convolution.module
            like = {"device": conv.weight.device, "dtype": conv.weight.dtype}
            depthwise, pointwise = separable_pair(conv, 1, conv.weight.device)
            weights = weights or (depthwise.weight, pointwise.weight)
            depthwise.weight, pointwise.weight = weights
            norm, activation = NORMS[conv_type(conv)](conv.in_channels, **like), nn.ReLU(inplace=True)
            parts = {"depthwise": depthwise, "norm": norm, "activation": activation, "pointwise": pointwise}
            replacements[conv] = Separable(conv, **parts)
            layers.append(replaced(convolution, 1, None))
    return RewriteResult(copy_with(model, replacements), tuple(layers), tuple(kept))
