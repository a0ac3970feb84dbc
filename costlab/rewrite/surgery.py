"""Which convolutions of a network can be replaced, and a copy of the network in which they are."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.nn.utils import parametrize

from costlab.errors import CostlabError
from costlab.rewrite.layers import KINDS, Conv, Separable, full_rank, kind_of, mult_adds, mult_adds_of_pair
from costlab.rewrite.result import Layer, Left
from costlab.tracing.modules import module_paths

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Rewritten:
    """A rewritten copy of a network."""

    model: nn.Module
    layers: tuple[Layer, ...]  # what was replaced
    left: tuple[Left, ...]  # the convolutions that were not, and why


@dataclass(frozen=True)
class Member:
    """A convolution, and the paths by which the network reaches it."""

    module: Conv
    paths: tuple[str, ...]


# Convolutions that share one weight are replaced together, so that it stays shared.
Unit = tuple[Member, ...]


def units(
    model: nn.Module, skip: str | Sequence[str] = (), only: str | Sequence[str] = ()
) -> tuple[list[Unit], list[Left]]:
    """The convolutions that can be replaced, and those that cannot or shall not.

    Args:
        skip, only: globs on module paths; one that matches a module means everything inside it as well.

    Raises:
        CostlabError: there is no convolution at all, or a glob matches no module.
    """
    paths = module_paths(model)
    every = [path for names in paths.values() for path in names]
    skipped, wanted = matcher("skip", skip, every), matcher("only", only, every)
    reasons: dict[nn.Module, str | None] = {}
    sharers: dict[int, list[nn.Module]] = {}
    for module, names in paths.items():
        for parameter in module._parameters.values():
            if parameter is not None:
                sharers.setdefault(id(parameter), []).append(module)
        if not isinstance(module, (*KINDS, *TRANSPOSED)):
            continue
        if any(map(skipped, names)) or (only and not any(map(wanted, names))):
            reasons[module] = "not asked for"
        else:
            reasons[module] = obstacle(module)
    if not reasons:
        raise CostlabError(
            f"{type(model).__name__} has no convolution to rewrite (no nn.Conv1d, nn.Conv2d or nn.Conv3d module)"
        )
    found: dict[int, Unit] = {}
    left = []
    for module, reason in reasons.items():
        together = sharers.get(id(module._parameters.get("weight")), [])
        staying = [m for m in together if reasons.get(m, "no convolution") or groups_of(m) != groups_of(module)]
        if reason is None and staying:
            reason = f"shares its weight with {paths[staying[0]][0] or 'the network itself'}, which stays as it is"
        if reason is not None:
            left.append(Left(paths[module][0], reason))
        elif isinstance(module, KINDS):
            found.setdefault(id(module.weight), tuple(Member(m, tuple(paths[m])) for m in together))  # type: ignore[arg-type]
    return list(found.values()), left


def groups_of(module: nn.Module) -> int | None:
    return getattr(module, "groups", None)


def obstacle(module: nn.Module) -> str | None:
    """Why a convolution cannot be replaced; None where it can."""
    weight = module._parameters.get("weight")
    if isinstance(module, TRANSPOSED):
        return "transposed"
    if parametrize.is_parametrized(module) or weight is None:
        return "its weight is computed from others (parametrised, normalised or pruned)"
    if type(weight) is not nn.Parameter:
        return f"its weight is a {type(weight).__name__}"
    kind = kind_of(module)  # type: ignore[arg-type]
    own = type(module).forward is not kind.forward or type(module)._conv_forward is not kind._conv_forward  # type: ignore[attr-defined]
    if own or "forward" in vars(module):
        return f"computes in its own way ({type(module).__name__})"
    if any(getattr(module, name) for name in HOOKS):
        return "it has hooks, which may change its weight or look at it"
    if weight.is_complex():
        return "complex weights"
    return "pointwise already" if prod(module.kernel_size) == 1 else None  # type: ignore[arg-type]


def matcher(option: str, globs: str | Sequence[str], paths: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of the globs matches a path, or a module around it. Raises CostlabError where one matches nothing."""
    globs = [globs] if isinstance(globs, str) else list(globs)
    for glob in globs:
        if not any(fnmatch.fnmatchcase(path, glob) for path in paths):
            raise CostlabError(
                f"{option} {glob!r} matches no module; there are {', '.join(p for p in paths[:6] if p)}, ..."
            )
    return lambda path: any(fnmatch.fnmatchcase(outer, glob) for outer in around(path) for glob in globs)


def around(path: str) -> list[str]:
    """`a.b.c`, `a.b` and `a`."""
    names = path.split(".")
    return [".".join(names[:length]) for length in range(len(names), 0, -1)]


def dearer(unit: Unit, rank: int) -> bool:
    """Whether the pair of that rank costs as many mult-adds as the convolution, or more."""
    conv = unit[0].module
    return mult_adds_of_pair(conv, rank) >= mult_adds(conv)


def layer(member: Member, rank: int, weight_error: float | None) -> Layer:
    """What became of a convolution."""
    conv = member.module
    return Layer(
        path=member.paths[0],
        rank=rank,
        full_rank=full_rank(conv),
        weight_error=weight_error,
        mult_adds_before=mult_adds(conv),
        mult_adds_after=mult_adds_of_pair(conv, rank),
        aliases=member.paths[1:],
    )


def copied(model: nn.Module, replacements: Mapping[Conv, Separable]) -> nn.Module:
    """A copy with every convolution replaced, wherever the network keeps it; its bias, if any, goes to `pointwise`.

    Raises:
        CostlabError: the network cannot be copied.
    """
    memo: dict[int, object] = {id(old): new for old, new in replacements.items()}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:  # torch cannot copy what a hook has computed
                memo[id(value)] = value.detach().clone()
    try:
        result = copy.deepcopy(model, memo)
        for old, new in replacements.items():
            new.pointwise.bias = copy.deepcopy(old.bias, memo)
    except Exception as error:
        what = str(error).strip().splitlines() or [type(error).__name__]
        raise CostlabError(f"{type(model).__name__} cannot be copied: {what[0][:200]}") from error
    return result
