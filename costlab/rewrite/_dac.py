"""DAC: data-free decomposition of trained convolutions (Li et al., arXiv 1812.08374).

The weights of one input channel, M [o/g, k] with o outputs, g groups and k kernel elements, are U S V^T. The first r
rows of V^T become r depthwise kernels, the first r columns of U S the pointwise weights that mix them. At full rank,
r = min(o/g, k), the pair equals the convolution; below it the pair is the nearest of that rank. It takes r g/o + r/k of
the mult-adds. Stride, padding and dilation stay with the depthwise convolution, groups and bias with the pointwise one;
there is nothing between them.
"""

import fnmatch
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.rewrite.layers import DepthwisePointwise, full_rank, mult_adds, mult_adds_of_pair, separable_pair
from costlab.rewrite.ranks import RankOption, fraction, ranks_within, smallest_rank, weight_error
from costlab.rewrite.result import KeptConvolution
from costlab.rewrite.surgery import (
    RewriteResult,
    SharedWeight,
    copy_with,
    costs_more,
    keep,
    replaceable_convolutions,
    replaced,
)
from costlab.tracing._profile import profile
from costlab.tracing.modules import unwrap


@dataclass(frozen=True)
class Factors:
    """The singular value decomposition of a weight, one input channel at a time; m = min(o/g, k)."""

    mixing: torch.Tensor  # U S [i, o/g, m]
    kernels: torch.Tensor  # V^T [i, m, k]
    energy: tuple[float, ...]  # m squared singular values, largest first, each summed over the input channels


def dac(
    model: nn.Module,
    rank: int | Mapping[str, int] | None = None,
    *,
    max_error: float | None = None,
    target_mult_adds: float | str | None = None,
    inputs: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    skip: str | Sequence[str] = (),
    only: str | Sequence[str] = (),
    force: bool = False,
) -> RewriteResult:
    """A copy of `model` whose convolutions are replaced by a depthwise and a pointwise one, from the weights alone.

    Exactly one of `rank`, `max_error` and `target_mult_adds` is required. 1x1 and transposed convolutions are kept, and
    so is everything that would not become cheaper; `left` of the result lists them. Modules that share a weight share
    both new ones. dtype and device are kept; the decomposition itself is computed in float64.

    Args:
        rank: depthwise kernels per input channel: one number, or numbers by glob on the module path. The last glob that
            matches wins; layers that match none are kept. Ranks above the full rank mean the full rank.
        max_error: each layer gets the smallest rank with at most this relative weight error ||W - W'|| / ||W||.
        target_mult_adds: the fraction of the network's mult-adds to reach, 0.5 or "0.5x". Ranks are chosen to keep the
            sum of the layers' relative squared weight errors low. Needs `inputs`.
        inputs, kwargs: as for `costlab.profile`.
        skip, only: globs on module paths; a glob that matches a module includes its submodules.
        force: replace convolutions even if that costs more.

    Raises:
        CostlabError: an argument is out of range, the target cannot be reached, or no convolution has weights.
    """
    model = unwrap(model)
    check_one_of(rank, max_error, target_mult_adds)
    found, kept = replaceable_convolutions(model, skip, only)
    requested = dict.fromkeys(found) if rank is None else requested_ranks(found, rank)
    kept += [k for unit in found if unit not in requested for k in keep(unit, "no rank given")]
    factors = {unit: decompose(unit) for unit in requested}
    if target_mult_adds is not None:
        if force:
            raise CostlabError("force needs rank or max_error: target_mult_adds never makes a layer more expensive")
        chosen = ranks_for_target(model, factors, fraction(target_mult_adds), inputs, kwargs)
        kept += [k for unit in factors if unit not in chosen for k in keep(unit, "target reached without it")]
    else:
        chosen = {unit: requested[unit] or smallest_rank(f.energy, max_error or 0.0) for unit, f in factors.items()}
        chosen = {unit: min(number, full_rank(unit[0].module)) for unit, number in chosen.items()}
        for unit, number in [] if force else list(chosen.items()):
            if costs_more(unit, number):
                kept += keep(unit, f"would cost more at rank {chosen.pop(unit)}")
    return replace(model, {unit: (factors[unit], number) for unit, number in chosen.items()}, kept)


def check_one_of(rank: object, max_error: float | None, target: object) -> None:
    """Raise CostlabError unless exactly one is given, and an error is valid."""
    if sum(value is not None for value in (rank, max_error, target)) != 1:
        raise CostlabError("dac needs exactly one of rank, max_error and target_mult_adds")
    if max_error is not None and not max_error >= 0:
        raise CostlabError(f"max_error is a relative weight error and must be at least 0, got {max_error}")


def requested_ranks(found: Sequence[SharedWeight], rank: int | Mapping[str, int]) -> dict[SharedWeight, int]:
    """The rank requested for each weight; those without one are left out."""
    numbers = {glob: checked_rank(n) for glob, n in (rank if isinstance(rank, Mapping) else {"*": rank}).items()}
    unused = set(numbers) if isinstance(rank, Mapping) else set()
    result = {}
    for unit in found:
        paths = [path for convolution in unit for path in convolution.paths]
        ranks: set[int] = set()
        for path in paths:
            globs = [glob for glob in numbers if fnmatch.fnmatchcase(path, glob)]
            unused.difference_update(globs)
            ranks.update(numbers[glob] for glob in globs[-1:])
        if len(ranks) > 1:
            raise CostlabError(f"{', '.join(paths)} share one weight and cannot have the ranks {sorted(ranks)}")
        if ranks:
            result[unit] = ranks.pop()
    if unused:
        raise CostlabError(f"rank for {min(unused)!r}: no convolution that can be decomposed has that path")
    return result


def checked_rank(number: object) -> int:
    """The number as a rank. Raises CostlabError."""
    if isinstance(number, bool) or not hasattr(number, "__index__") or operator.index(number) < 1:
        raise CostlabError(f"rank must be an integer of at least 1, got {number!r}")
    return operator.index(number)


def decompose(unit: SharedWeight) -> Factors:
    """The factors of a weight [o, i/g, k...]. Raises CostlabError if it has no data or is not finite."""
    conv, path = unit[0].module, unit[0].paths[0]
    weight = conv.weight.detach()
    if weight.is_meta:
        raise CostlabError(f"{path or 'the convolution'} has no weights in memory: DAC decomposes trained weights")
    groups, outputs = conv.groups, conv.out_channels // conv.groups
    matrices = weight.cpu().double().reshape(groups, outputs, weight.shape[1], -1).transpose(1, 2).flatten(0, 1)
    if not matrices.isfinite().all():
        raise CostlabError(f"{path or 'the convolution'} has weights that are not finite")
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    return Factors((u * s[:, None]).to(weight.dtype), v.to(weight.dtype), tuple(s.square().sum(0).tolist()))


def ranks_for_target(
    model: nn.Module,
    factors: Mapping[SharedWeight, Factors],
    target: float,
    inputs: Any,
    kwargs: Mapping[str, Any] | None,
) -> dict[SharedWeight, int]:
    """Ranks that reduce the network to a fraction of its mult-adds; weights that stay unchanged are left out."""
    if inputs is None and not kwargs:
        raise CostlabError("target_mult_adds needs inputs=..., such as the shape (1, 3, 224, 224), to count mult-adds")
    base = profile(model, () if inputs is None else inputs, kwargs)
    positions = {unit: output_positions(base, unit) for unit in factors}
    called = [unit for unit in factors if positions[unit]]
    layers = []
    for unit in called:
        conv, energy = unit[0].module, factors[unit].energy
        options = [RankOption(None, 0.0, mult_adds(conv) * positions[unit])]
        for rank in range(1, full_rank(conv)):
            if not costs_more(unit, rank):
                error = weight_error(energy, rank) ** 2
                options.append(RankOption(rank, error, mult_adds_of_pair(conv, rank) * positions[unit]))
        layers.append(options)
    others = base.mult_adds - sum(options[0].mult_adds for options in layers)
    chosen = ranks_within(layers, int(base.mult_adds * target) - others)
    if chosen is None:
        least = others + sum(min(o.mult_adds for o in options) for options in layers)
        raise CostlabError(
            f"target_mult_adds {target} is out of reach: at rank 1, wherever that is cheaper,"
            f" {math.ceil(1000 * least / base.mult_adds) / 1000} of the mult-adds remain"
        )
    return {unit: option.rank for unit, option in zip(called, chosen, strict=True) if option.rank is not None}


def output_positions(base: Profile, unit: SharedWeight) -> int:
    """Output positions of all calls of the convolutions in one forward pass: batch x height x width."""
    channels = {path: convolution.module.out_channels for convolution in unit for path in convolution.paths}
    return sum(
        op.output.numel // channels[op.module]
        for op in base.ops
        if op.module in channels and op.kind.startswith("conv")
    )


def replace(
    model: nn.Module, chosen: Mapping[SharedWeight, tuple[Factors, int]], kept: Sequence[KeptConvolution]
) -> RewriteResult:
    """The copy in which each weight is replaced by its factors, truncated to its rank."""
    replacements = {}
    layers = []
    for unit, (factors, rank) in chosen.items():
        weights = truncated(unit, factors, rank)
        for convolution in unit:
            conv = convolution.module
            depthwise, pointwise = separable_pair(conv, rank, device="meta")
            depthwise.weight, pointwise.weight = weights
            replacements[conv] = DepthwisePointwise(conv, depthwise=depthwise, pointwise=pointwise)
            layers.append(replaced(convolution, rank, weight_error(factors.energy, rank)))
    return RewriteResult(copy_with(model, replacements), tuple(layers), tuple(kept))


def truncated(unit: SharedWeight, factors: Factors, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Depthwise [i r, 1, k...] and pointwise [o, i/g r, 1...] weights of that rank, on the device of the weight."""
    conv = unit[0].module
    groups, per_group = conv.groups, conv.in_channels // conv.groups
    kernels = factors.kernels[:, :rank].reshape(-1, 1, *conv.kernel_size)
    mixing = factors.mixing[..., :rank].unflatten(0, (groups, per_group))  # [g, i/g, o/g, r]
    mixing = mixing.transpose(1, 2).reshape(conv.out_channels, per_group * rank, *(1 for _ in conv.kernel_size))
    depthwise, pointwise = (
        nn.Parameter(t.contiguous().to(conv.weight.device), requires_grad=conv.weight.requires_grad)
        for t in (kernels, mixing)
    )
    return depthwise, pointwise
