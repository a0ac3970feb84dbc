"""What fvcore, thop and ptflops would print for a profile, by the rules in `conventions`."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op, Source
from costlab.core.profile import Profile
from costlab.crosscheck.conventions import (
    BIND_FUNCTIONS,
    FVCORE,
    OUTSIDE_TORCH,
    PTFLOPS,
    PTFLOPS_FUNCTIONS,
    THOP,
    Formula,
    StopsError,
)
from costlab.errors import CostlabError


def module_types(profile: Profile) -> list[str]:
    """For each operator the type of the module that calls it, if that is a class of torch or `OUTSIDE_TORCH`, else "".

    A subclass is another type, even under the same name. The source of a torch module is the line that calls it, the
    source of any other module the line of its class; that tells them apart.
    """
    lines: dict[str, Source] = {}
    for op in profile.ops:
        if op.source is not None:
            lines.setdefault(op.module, op.source)
    types = {}
    for module in profile.trace.modules:
        file = module.source.file if module.source else ""
        known = module.source is None or module.source == lines.get(module.path)
        known = known or (module.type in OUTSIDE_TORCH and file.endswith(OUTSIDE_TORCH[module.type]))
        types[module.path] = module.type if known else ""
    owners = [types.get(op.module, "") for op in profile.ops]
    parts = encoder_parts(profile.ops)
    return [part if owner == "TransformerEncoderLayer" else owner for owner, part in zip(owners, parts, strict=True)]


def encoder_parts(ops: tuple[Op, ...]) -> Iterator[str]:
    """The part of nn.TransformerEncoderLayer that each operator belongs to: its fused path calls none of its modules.

    Linear layers belong to the attention up to the first one after the scores, then to nn.Linear.
    """
    since_scores: dict[str, int] = {}  # linear layers, by module
    for op in ops:
        since = since_scores.get(op.module, 3)
        if op.kind == "scaled_dot_product_attention":
            since_scores[op.module] = 0
            yield "MultiheadAttention"
        elif op.kind == "linear":
            since_scores[op.module] = since + 1
            yield "Linear" if 1 <= since < 3 else "MultiheadAttention"
        else:
            yield "LayerNorm" if op.kind == "layer_norm" else "TransformerEncoderLayer"


def fvcore(profile: Profile) -> list[int | None]:
    """fvcore's count of each operator; its tracer drops those that no output depends on."""
    dropped = unused_operators(profile)
    return [0 if op.name in dropped else count(op, FVCORE.get(op.kind)) for op in profile.ops]


def unused_operators(profile: Profile) -> set[str]:
    """The names of the operators that no output of the network depends on."""
    outputs = set(profile.trace.outputs)
    used: set[int] = set()
    for i, op in reversed(list(enumerate(profile.ops))):
        if i in used or any(t.storage in outputs for t in op.outputs):
            used |= {i, *op.after}
    return {op.name for i, op in enumerate(profile.ops) if i not in used}


def thop(profile: Profile) -> list[int | None]:
    """thop's count of each operator."""
    types = module_types(profile)
    return [count(op, THOP.get((owner, op.kind))) for op, owner in zip(profile.ops, types, strict=True)]


def ptflops(profile: Profile) -> list[int | None]:
    """The count of each operator by ptflops' default backend, `pytorch`, which skips the children of known modules."""
    types = module_types(profile)
    covered = tuple({f"{op.module}." for op, owner in zip(profile.ops, types, strict=True) if owner == "Attention"})
    counts = []
    for op, owner in zip(profile.ops, types, strict=True):
        rule = None if op.module.startswith(covered) else PTFLOPS.get((owner, op.kind))
        function = None if owner in BIND_FUNCTIONS else PTFLOPS_FUNCTIONS.get(op.kind)
        counts.append(count(op, rule, function))
    return counts


def count(op: Op, *formulas: Formula | None) -> int | None:
    """The sum of the formulas for one operator; None if the tool fails there."""
    try:
        return sum(formula(op) for formula in formulas if formula and not op.free)
    except StopsError:
        return None


TOOLS: dict[str, Callable[[Profile], list[int | None]]] = {"fvcore": fvcore, "thop": thop, "ptflops": ptflops}


@dataclass(frozen=True, slots=True)
class ConventionCount:
    """What a tool would print."""

    tool: str
    families: Mapping[str, int]  # by family of operators, without zeros
    total: int | None  # None if the tool fails
    stops_at: str | None  # the name of the operator at which it fails


def count_like(profile: Profile, tool: str) -> ConventionCount:
    """What `tool`, one of `TOOLS`, would print for the whole batch. Raises CostlabError for any other tool."""
    if tool not in TOOLS:
        raise CostlabError(f"unknown convention {tool!r}; choose one of {', '.join(TOOLS)}")
    counts = TOOLS[tool](profile)
    families: Counter[str] = Counter()
    for op, number in zip(profile.ops, counts, strict=True):
        families[FAMILY_OF.get(op.kind, op.kind)] += number or 0
    stops_at = next((op.name for op, number in zip(profile.ops, counts, strict=True) if number is None), None)
    return ConventionCount(
        tool, {f: n for f, n in families.items() if n}, None if stops_at else families.total(), stops_at
    )
