"""Which convolutions of a network can be replaced, and the copy in which they are."""

import copy
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.nn.utils import parametrize

from costlab.errors import CostlabError
from costlab.rewrite.layers import CONV_TYPES, Conv, Separable, conv_type, full_rank, mult_adds, mult_adds_of_pair
from costlab.rewrite.result import KeptConvolution, ReplacedConvolution
from costlab.tracing.modules import module_paths

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class RewriteResult:
    """A rewritten copy of a network."""

    model: nn.Module
    layers: tuple[ReplacedConvolution, ...]
    left: tuple[KeptConvolution, ...]


@dataclass(frozen=True)
class Convolution:
    """A convolution and its paths in the network."""

    module: Conv
    paths: tuple[str, ...]


# Convolutions that share one weight. They are replaced together, so that the weight stays shared.
SharedWeight = tuple[Convolution, ...]


def replaceable_convolutions(
    model: nn.Module, skip: str | Sequence[str] = (), only: str | Sequence[str] = ()
) -> tuple[list[SharedWeight], list[KeptConvolution]]:
    """The convolutions that can be replaced, grouped by weight, and those that cannot or should not be.

    A glob in `skip` or `only` that matches a module includes its submodules. Raises CostlabError if there is no
    convolution, or a glob matches no module.
    """
    paths = module_paths(model)
    every = [path for names in paths.values() for path in names]
    skipped, selected = path_filter("skip", skip, every), path_filter("only", only, every)
    reasons: dict[nn.Module, str | None] = {}
    sharers: dict[int, list[nn.Module]] = {}
    for module, names in paths.items():
        for parameter in module._parameters.values():
            if parameter is not None:
                sharers.setdefault(id(parameter), []).append(module)
        if isinstance(module, (*CONV_TYPES, *TRANSPOSED)):
            excluded = any(map(skipped, names)) or (only and not any(map(selected, names)))
            reasons[module] = "not selected" if excluded else obstacle(module)
    if not reasons:
        raise CostlabError(
            f"{type(model).__name__} has no convolution to rewrite (no nn.Conv1d, nn.Conv2d or nn.Conv3d module)"
        )
    found: dict[int, SharedWeight] = {}
    kept = []
    for module, reason in reasons.items():
        together = sharers.get(id(module._parameters.get("weight")), [])
        staying = [m for m in together if reasons.get(m, "not a convolution") or groups_of(m) != groups_of(module)]
        if reason is None and staying:
            reason = f"shares its weight with {paths[staying[0]][0] or 'the network itself'}, which is kept"
        if reason is not None:
            kept.append(KeptConvolution(paths[module][0], reason))
        elif isinstance(module, CONV_TYPES):
            found.setdefault(id(module.weight), tuple(Convolution(m, tuple(paths[m])) for m in together))  # type: ignore[arg-type]
    return list(found.values()), kept


def groups_of(module: nn.Module) -> int | None:
    """The groups of a convolution."""
    return getattr(module, "groups", None)


def obstacle(module: nn.Module) -> str | None:
    """Why a convolution cannot be replaced; None if it can."""
    weight = module._parameters.get("weight")
    if isinstance(module, TRANSPOSED):
        return "transposed"
    if parametrize.is_parametrized(module) or weight is None:
        return "its weight is computed from others (parametrised, normalised or pruned)"
    if type(weight) is not nn.Parameter:
        return f"its weight is a {type(weight).__name__}"
    kind = conv_type(module)  # type: ignore[arg-type]
    own = type(module).forward is not kind.forward or type(module)._conv_forward is not kind._conv_forward  # type: ignore[attr-defined]
    if own or "forward" in vars(module):
        return f"overrides forward ({type(module).__name__})"
    if any(getattr(module, name) for name in HOOKS):
        return "it has hooks, which may read or change its weight"
    if weight.is_complex():
        return "complex weights"
    return "pointwise already" if prod(module.kernel_size) == 1 else None  # type: ignore[arg-type]


def path_filter(option: str, globs: str | Sequence[str], paths: Sequence[str]) -> Callable[[str], bool]:
    """Whether a glob matches a path or one of its ancestors. Raises CostlabError if a glob matches no path."""
    globs = [globs] if isinstance(globs, str) else list(globs)
    for glob in globs:
        if not fnmatch.filter(paths, glob):
            raise CostlabError(
                f"{option} {glob!r} matches no module; there are {', '.join(p for p in paths[:6] if p)}, ..."
            )
    return lambda path: any(fnmatch.fnmatchcase(outer, glob) for outer in ancestors(path) for glob in globs)


def ancestors(path: str) -> list[str]:
    """`a.b.c`, `a.b` and `a`."""
    names = path.split(".")
    return [".".join(names[:length]) for length in range(len(names), 0, -1)]


def keep(convolutions: SharedWeight, reason: str) -> list[KeptConvolution]:
    """Convolutions that are not replaced, for one reason."""
    return [KeptConvolution(convolution.paths[0], reason) for convolution in convolutions]


def costs_more(convolutions: SharedWeight, rank: int) -> bool:
    """Whether the pair of that rank takes at least as many mult-adds as the convolution."""
    conv = convolutions[0].module
    return mult_adds_of_pair(conv, rank) >= mult_adds(conv)


def replaced(convolution: Convolution, rank: int, weight_error: float | None) -> ReplacedConvolution:
    """The record of a replaced convolution."""
    conv = convolution.module
    return ReplacedConvolution(
        path=convolution.paths[0],
        rank=rank,
        full_rank=full_rank(conv),
        weight_error=weight_error,
        mult_adds_before=mult_adds(conv),
        mult_adds_after=mult_adds_of_pair(conv, rank),
        aliases=convolution.paths[1:],
    )


def copy_with(model: nn.Module, replacements: Mapping[Conv, Separable]) -> nn.Module:
    """A copy in which every convolution is replaced, wherever it is referenced; a bias moves to `pointwise`.

    Raises CostlabError if the network cannot be copied.
    """
    memo: dict[int, object] = {id(old): new for old, new in replacements.items()}
    result = copied(model, memo)
    for old, new in replacements.items():
        new.pointwise.bias = copy.deepcopy(old.bias, memo)
    return result


def copied(model: nn.Module, memo: dict[int, object]) -> nn.Module:
    """A deep copy with objects replaced, by their identity; it adds to `memo`. Raises CostlabError if that fails."""
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:  # deepcopy refuses tensors computed by hooks
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        what = str(error).strip().splitlines() or [type(error).__name__]
        raise CostlabError(f"{type(model).__name__} cannot be copied: {what[0][:200]}") from error
