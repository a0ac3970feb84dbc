"""DAC: data-free decomposition of trained convolutions (Li et al., arXiv 1812.08374).

The weights of one input channel, M [o/g, k] with o outputs, g groups and k kernel elements, are U S V^T. The first r
rows of V^T become r depthwise kernels, the first r columns of U S the pointwise weights that mix them: at full rank,
r = min(o/g, k), the two convolutions are the one, below it they are the nearest of that rank. They cost r g/o + r/k of
its mult-adds. Strides, padding and dilation stay with the depthwise convolution, groups and bias with the pointwise
one; nothing stands between them.
"""

from __future__ import annotations

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
from costlab.rewrite.layers import DepthwisePointwise, full_rank, mult_adds, mult_adds_of_pair, pair
from costlab.rewrite.ranks import Option, cheap_enough, share, smallest_rank, weight_error
from costlab.rewrite.result import Left
from costlab.rewrite.surgery import Rewritten, Unit, copied, dearer, layer, units
from costlab.tracing._profile import profile
from costlab.tracing.modules import unwrap


@dataclass(frozen=True)
class Factors:
    """The singular value decomposition of a weight, input channel by input channel; m = min(o/g, k)."""

    mixing: torch.Tensor  # U S [i, o/g, m]
    kernels: torch.Tensor  # V^T [i, m, k]
    energy: tuple[float, ...]  # m squared singular values, the largest first, each summed over the input channels


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
) -> Rewritten:
    """A copy of `model` whose convolutions are each a depthwise and a pointwise one, from the trained weights alone.

    One of `rank`, `max_error` and `target_mult_adds` says how far to go. 1x1 and transposed convolutions stay, and so
    does everything that would not become cheaper; `left` of the result names them. Modules that share a weight share
    both new ones. dtype and device are kept; the decomposition itself is computed in float64.

    Args:
        rank: depthwise kernels for each input channel: one number, or numbers by glob on the module path, of which the
            last that matches counts and layers without one stay. Above full is full.
        max_error: each layer gets the smallest rank with at most this relative weight error ||W - W'|| / ||W||.
        target_mult_adds: the part of the network's mult-adds to come down to, 0.5 or "0.5x": ranks are chosen so that
            the squared weight errors, relative and summed over the layers, stay low. Needs `inputs`.
        inputs, kwargs: as `costlab.profile` takes them.
        skip, only: globs on module paths; one that matches a module means everything inside it as well.
        force: also where it costs more.

    Raises:
        CostlabError: an argument is out of range, the target is out of reach, or there is no convolution or no weight.
    """
    model = unwrap(model)
    check_one_of(rank, max_error, target_mult_adds)
    found, left = units(model, skip, only)
    asked = dict.fromkeys(found) if rank is None else asked_ranks(found, rank)
    left += [Left(member.paths[0], "no rank given") for unit in found if unit not in asked for member in unit]
    factors = {unit: decomposed(unit) for unit in asked}
    if target_mult_adds is not None:
        if force:
            raise CostlabError("force goes with rank or max_error: a target makes no layer dearer")
        chosen = ranks_for(model, factors, share(target_mult_adds), inputs, kwargs)
        left += [Left(m.paths[0], "as it is within the target") for u in factors if u not in chosen for m in u]
    else:
        chosen = {unit: asked[unit] or smallest_rank(f.energy, max_error or 0.0) for unit, f in factors.items()}
        chosen = {unit: min(number, full_rank(unit[0].module)) for unit, number in chosen.items()}
        costly = [] if force else [unit for unit in chosen if dearer(unit, chosen[unit])]
        left += [Left(m.paths[0], f"would cost more at rank {chosen[unit]}") for unit in costly for m in unit]
        chosen = {unit: number for unit, number in chosen.items() if unit not in costly}
    return rewritten(model, {unit: (factors[unit], number) for unit, number in chosen.items()}, left)


def check_one_of(rank: object, max_error: float | None, target: object) -> None:
    """Raise CostlabError unless exactly one is given, and an error is one."""
    if sum(value is not None for value in (rank, max_error, target)) != 1:
        raise CostlabError("dac takes one of rank, max_error and target_mult_adds: say how far to go")
    if max_error is not None and not max_error >= 0:
        raise CostlabError(f"max_error is a relative weight error, 0 or more; {max_error} is not")


def asked_ranks(found: Sequence[Unit], rank: int | Mapping[str, int]) -> dict[Unit, int]:
    """The rank asked for each unit; those without one are left out."""
    numbers = {glob: whole(number) for glob, number in (rank if isinstance(rank, Mapping) else {"*": rank}).items()}
    unused = set(numbers) if isinstance(rank, Mapping) else set()
    result = {}
    for unit in found:
        ranks: set[int] = set()
        for path in (path for member in unit for path in member.paths):
            globs = [glob for glob in numbers if fnmatch.fnmatchcase(path, glob)]
            unused.difference_update(globs)
            ranks.update(numbers[glob] for glob in globs[-1:])
        if len(ranks) > 1:
            names = ", ".join(path for member in unit for path in member.paths)
            raise CostlabError(f"{names} share one weight: they cannot have the ranks {sorted(ranks)}")
        if ranks:
            result[unit] = ranks.pop()
    if unused:
        raise CostlabError(f"rank for {min(unused)!r}: no convolution that can be decomposed has that path")
    return result


def whole(number: object) -> int:
    """A rank. Raises CostlabError."""
    if isinstance(number, bool) or not hasattr(number, "__index__") or operator.index(number) < 1:
        raise CostlabError(f"a rank is a whole number, 1 or more; {number!r} is not")
    return operator.index(number)


def decomposed(unit: Unit) -> Factors:
    """The factors of a unit's weight [o, i/g, k...]. Raises CostlabError where there are no numbers to decompose."""
    conv, path = unit[0].module, unit[0].paths[0]
    weight = conv.weight.detach()
    if weight.is_meta:
        raise CostlabError(f"{path or 'the convolution'} has no weights in memory: DAC decomposes trained ones")
    groups, outputs = conv.groups, conv.out_channels // conv.groups
    matrices = weight.cpu().double().reshape(groups, outputs, weight.shape[1], -1).transpose(1, 2).flatten(0, 1)
    if not matrices.isfinite().all():
        raise CostlabError(f"{path or 'the convolution'} has weights that are not finite: nothing to decompose")
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    return Factors((u * s[:, None]).to(weight.dtype), v.to(weight.dtype), tuple(s.square().sum(0).tolist()))


def ranks_for(
    model: nn.Module, factors: Mapping[Unit, Factors], part: float, inputs: Any, kwargs: Mapping[str, Any] | None
) -> dict[Unit, int]:
    """Ranks that bring the network down to `part` of its mult-adds; units that stay as they are have none."""
    if inputs is None and not kwargs:
        raise CostlabError("target_mult_adds needs inputs=..., such as the shape (1, 3, 224, 224), to count mult-adds")
    base = profile(model, () if inputs is None else inputs, kwargs)
    positions = {unit: output_positions(base, unit) for unit in factors}
    called = [unit for unit in factors if positions[unit]]
    layers = []
    for unit in called:
        conv, energy = unit[0].module, factors[unit].energy
        options = [Option(None, 0.0, mult_adds(conv) * positions[unit])]
        for rank in range(1, full_rank(conv)):
            if not dearer(unit, rank):
                error = weight_error(energy, rank) ** 2
                options.append(Option(rank, error, mult_adds_of_pair(conv, rank) * positions[unit]))
        layers.append(options)
    now = sum(options[0].mult_adds for options in layers)
    chosen = cheap_enough(layers, int(base.mult_adds * part) - (base.mult_adds - now))
    if chosen is None:
        least = base.mult_adds - now + sum(min(o.mult_adds for o in options) for options in layers)
        raise CostlabError(
            f"{part} of the mult-adds is out of reach: at rank 1 wherever that is cheaper,"
            f" {math.ceil(1000 * least / base.mult_adds) / 1000} of them are left"
        )
    return {unit: option.rank for unit, option in zip(called, chosen, strict=True) if option.rank is not None}


def output_positions(base: Profile, unit: Unit) -> int:
    """Output positions of a unit's convolutions in one forward pass: batch, height and width of every call together."""
    channels = {path: member.module.out_channels for member in unit for path in member.paths}
    return sum(
        op.output.numel // channels[op.module]
        for op in base.ops
        if op.module in channels and op.kind.startswith("conv")
    )


def rewritten(model: nn.Module, chosen: Mapping[Unit, tuple[Factors, int]], left: Sequence[Left]) -> Rewritten:
    """The copy, in which each unit has its factors cut to its rank."""
    replacements = {}
    layers = []
    for unit, (factors, rank) in chosen.items():
        weights = parameters(unit, factors, rank)
        for member in unit:
            conv = member.module
            depthwise, pointwise = pair(conv, rank, device="meta")
            depthwise.weight, pointwise.weight = weights
            replacements[conv] = DepthwisePointwise(conv, depthwise=depthwise, pointwise=pointwise)
            layers.append(layer(member, rank, weight_error(factors.energy, rank)))
    return Rewritten(copied(model, replacements), tuple(layers), tuple(left))


def parameters(unit: Unit, factors: Factors, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Depthwise [i r, 1, k...] and pointwise [o, i/g r, 1...] weights of that rank, where the unit's weight lives."""
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
