"""costlab's mult-adds beside those of other counters, family by family, each difference with its cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import FAMILIES, FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.crosscheck.emulation import fvcore, unused_operators
from costlab.crosscheck.explanations import (
    BLIND_SPOT,
    COUNTED_IN,
    ESTIMATE,
    FAILED,
    LISTED_AS,
    NO_FORMULA,
    UNEXPLAINED,
    UNUSED,
    Explanation,
    explain,
)

if TYPE_CHECKING:
    import torch

    from costlab.crosscheck.counters import ToolCount

DECIDING = {"item", "equal", "allclose"}  # kinds that hand a value to Python
SCRIPTED = "prim::CallFunction"  # how fvcore lists a call of a scripted function


@dataclass(frozen=True, slots=True)
class CountDifference:
    """Operators that a tool counts differently, and why."""

    tool: str
    family: str  # of operators; "" for the whole network
    kind: str  # "" for the whole family
    ops: int
    mult_adds: int  # costlab's
    counted: int | None  # the tool's; None if it did not run
    cause: str
    why: str


@dataclass(frozen=True)
class CrossCheck:
    """What costlab and other counters count for one network."""

    profile: Profile
    readings: tuple[ToolCount, ...]
    differences: tuple[CountDifference, ...]

    @property
    def unexplained(self) -> tuple[CountDifference, ...]:
        """The differences without an explanation."""
        return tuple(d for d in self.differences if d.cause == UNEXPLAINED)

    @property
    def unconfirmed(self) -> dict[str, int]:
        """Mult-adds by kind that no tool confirms: it is a blind spot of all tools that ran."""
        ran = [r.tool for r in self.readings if r.failure is None]
        blind = {(d.tool, d.kind): d.mult_adds for d in self.differences if d.cause == BLIND_SPOT and not d.counted}
        ours = {kind: row.mult_adds for kind, row in self.profile.by_kind().items() if row.mult_adds}
        return {kind: n for kind, n in ours.items() if all(blind.get((tool, kind)) == n for tool in ran)}

    def families(self) -> dict[str, dict[str, int]]:
        """For each family with a count, the mult-adds of costlab and of the tools that ran."""
        ours = {kind: row.mult_adds for kind, row in self.profile.by_kind().items()}
        return families_of_counters({"costlab": ours, **{r.tool: r.counts for r in self.readings if r.failure is None}})


def compare_counters(
    model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], profile: Profile
) -> CrossCheck:
    """Run fvcore's and torch's counters on copies of `model`, and explain how they differ from its profile."""
    from costlab.crosscheck.counters import run_fvcore, run_torch

    memory = profile.total.param_bytes + profile.total.peak_activation_bytes
    by_fvcore, by_torch = run_fvcore(model, args, kwargs, memory), run_torch(model, args, kwargs)
    found = [*differences(profile, by_fvcore, by_torch.inside), *differences(profile, by_torch)]
    return CrossCheck(profile, (by_fvcore, by_torch), tuple(found))


def differences(profile: Profile, reading: ToolCount, inside: Mapping[str, int] | None = None) -> list[CountDifference]:
    """Every difference between `profile` and a tool's counts, verified by the numbers; they sum to the whole.

    The published rules of the tool, applied to the traced shapes, give its expected count of each operator. If that is
    not costlab's count, an entry of the table of explanations must hold. The expected counts must also add up, family
    by family, to the tool's actual counts.

    Args:
        inside: mult-adds in operators that costlab decomposes, by kind, as another tool counts them.
    """
    if reading.failure is not None:
        return [CountDifference(reading.tool, "", "", 0, profile.total.mult_adds, None, FAILED, reading.failure)]
    expected = list(expected_counts(profile, reading))
    decided = bool(DECIDING & profile.guesses.keys())
    return [*by_operator(expected, reading), *beyond_operators(expected, reading, inside or {}, decided)]


class ExpectedCount(NamedTuple):
    """An operator with mult-adds by costlab or by the tool."""

    op: Op
    ours: int
    theirs: int  # the tool's expected count
    family: str  # in which the tool counts it
    dropped: bool  # the tool never sees it


def expected_counts(profile: Profile, reading: ToolCount) -> Iterator[ExpectedCount]:
    """The operators of `profile` with the tool's expected count; zero for kinds that it lists as unsupported.

    torch is expected to count like costlab, or zero if it lists such a call and an explanation holds for this one.
    """
    tool = reading.tool
    ours = [cost.mult_adds if cost else 0 for cost in profile.costs]
    dropped: set[str] = set()
    if tool == "fvcore":
        dropped = unused_operators(profile)
        theirs = [count or 0 for count in fvcore(profile)]
    else:
        blind = (
            reading.unknown.get(op.kind) and explain(tool, op, n, 0) for op, n in zip(profile.ops, ours, strict=True)
        )
        theirs = [0 if unseen else count for unseen, count in zip(blind, ours, strict=True)]
    kinds = Counter(op.kind for op in profile.ops if not op.free and op.name not in dropped)
    unknown = {kind for kind, calls in reading.unknown.items() if calls == kinds[kind]}
    for op, mine, other in zip(profile.ops, ours, theirs, strict=True):
        other = 0 if op.kind in unknown else other
        if mine or other:
            family = COUNTED_IN.get((tool, op.kind), family_of(op.kind))
            yield ExpectedCount(op, mine, other, family, op.name in dropped)


def by_operator(expected: Iterable[ExpectedCount], reading: ToolCount) -> Iterator[CountDifference]:
    """Operators whose expected count differs, grouped by kind and explanation."""
    groups: dict[tuple[str, Explanation | None], list[ExpectedCount]] = {}
    claimed: Counter[str] = Counter()  # calls that the tool should list as unsupported
    for e in expected:
        if e.ours != e.theirs or e.family != family_of(e.op.kind):
            entry = UNUSED if e.dropped else explain(reading.tool, e.op, e.ours, e.theirs)
            groups.setdefault((e.op.kind, entry), []).append(e)
            claimed[LISTED_AS.get(e.op.kind, e.op.kind)] += entry is not None and entry.listed
    for (kind, entry), members in groups.items():
        cause, why = UNEXPLAINED, "its rule gives another number for the same shapes"
        name = LISTED_AS.get(kind, kind)
        if entry and (not entry.listed or reading.unknown.get(name) == claimed[name]):
            cause, why = entry.cause, entry.why
        ours, theirs = sum(e.ours for e in members), sum(e.theirs for e in members)
        yield CountDifference(reading.tool, family_of(kind), kind, len(members), ours, theirs, cause, why)


def beyond_operators(
    expected: Iterable[ExpectedCount], reading: ToolCount, inside: Mapping[str, int], decided: bool
) -> Iterator[CountDifference]:
    """Families in which the tool's actual count is not the sum of its expected counts.

    Args:
        inside: as for `differences`.
        decided: a branch or loop of the network depends on an unknown value.
    """
    tool, actual = reading.tool, by_family(reading.counts)
    members: dict[str, list[ExpectedCount]] = {}
    for e in expected:
        members.setdefault(e.family, []).append(e)
    hidden = {kind: count for kind, count in inside.items() if count and kind in reading.unknown}
    for family in dict.fromkeys([*members, *actual]):
        ours, theirs = sum(e.theirs for e in members.get(family, ())), actual.get(family, 0)
        estimated = [e.theirs for e in members.get(family, ()) if e.op.estimated]
        missing, most = ours - theirs, sum(estimated)
        if missing and missing == sum(hidden.values()):
            calls = sum(reading.unknown[kind] for kind in hidden)
            yield CountDifference(tool, family, " ".join(hidden), calls, missing, 0, BLIND_SPOT, NO_FORMULA)
        elif 0 < missing <= most:
            why = "costlab assumes the largest size if sizes depend on values; the tool ran on random values"
            yield CountDifference(tool, family, "", len(estimated), most, most - missing, ESTIMATE, why)
        elif missing > 0 and SCRIPTED in reading.unknown:
            calls, why = reading.unknown[SCRIPTED], "does not look into scripted functions"
            yield CountDifference(tool, family, SCRIPTED, calls, missing, 0, BLIND_SPOT, why)
        elif missing and decided:
            why = "a branch depends on a value: costlab assumes one, the tool ran on random values"
            yield CountDifference(tool, family, "", 0, ours, theirs, ESTIMATE, why)
        elif missing:
            why = "its count is not the sum of its rules for the traced shapes"
            yield CountDifference(tool, family, "", 0, ours, theirs, UNEXPLAINED, why)


def family_of(kind: str) -> str:
    """The family of an operator kind; fvcore has one kind for all convolutions."""
    return FAMILY_OF.get("conv2d" if kind == "conv" else kind, kind)


def families_of_counters(columns: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """By family, the sums of each column of counts by kind; families without a count are left out."""
    sums = {column: by_family(counts) for column, counts in columns.items()}
    names = [*FAMILIES, *sorted({f for column in sums.values() for f in column} - FAMILIES.keys())]
    rows = {f: {column: counts.get(f, 0) for column, counts in sums.items()} for f in names}
    return {family: row for family, row in rows.items() if any(row.values())}


def by_family(counts: Mapping[str, int]) -> dict[str, int]:
    """The sums of counts by kind, without zeros."""
    sums: Counter[str] = Counter()
    for kind, count in counts.items():
        sums[family_of(kind)] += count
    return {family: count for family, count in sums.items() if count}
