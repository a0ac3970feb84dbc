"""costlab's mult-adds beside those of other counters, family by family, each difference with its cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import FAMILIES, FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.crosscheck.conventions import fvcore, unused
from costlab.crosscheck.explanations import (
    BLIND_SPOT,
    ESTIMATE,
    FAILED,
    FILED_UNDER,
    LISTED_AS,
    UNEXPLAINED,
    UNUSED,
    Explanation,
    explanation,
)

if TYPE_CHECKING:
    import torch

    from costlab.crosscheck.counters import Reading


@dataclass(frozen=True, slots=True)
class Difference:
    """Operators that one tool counts differently, and why."""

    tool: str
    family: str  # of operators; "" for the whole network
    kind: str  # "" for the whole family
    ops: int
    mult_adds: int  # costlab's
    counted: int | None  # the tool's; None where it did not run
    cause: str
    why: str


@dataclass(frozen=True)
class Check:
    """What costlab and other counters say of one network."""

    profile: Profile
    readings: tuple[Reading, ...]
    differences: tuple[Difference, ...]

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        return tuple(d for d in self.differences if d.cause == UNEXPLAINED)

    @property
    def unconfirmed(self) -> dict[str, int]:
        """Mult-adds by kind that no tool counts: all those that ran are blind for it."""
        ran = [r.tool for r in self.readings if r.failure is None]
        blind = {(d.tool, d.kind): d.mult_adds for d in self.differences if d.cause == BLIND_SPOT and not d.counted}
        rows = {kind: row.mult_adds for kind, row in self.profile.by_kind().items() if row.mult_adds}
        return {kind: n for kind, n in rows.items() if all(blind.get((tool, kind)) == n for tool in ran)}

    def families(self) -> dict[str, dict[str, int]]:
        """For each family that anyone counts something of: what costlab and the tools that ran have for it."""
        ours = by_family({kind: row.mult_adds for kind, row in self.profile.by_kind().items()})
        columns = {"costlab": ours, **{r.tool: by_family(r.counts) for r in self.readings if r.failure is None}}
        named = [*FAMILIES, *sorted({f for column in columns.values() for f in column} - FAMILIES.keys())]
        rows = {f: {tool: column.get(f, 0) for tool, column in columns.items()} for f in named}
        return {family: row for family, row in rows.items() if any(row.values())}


def compare_counters(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], profile: Profile) -> Check:
    """Run fvcore's and torch's counters on copies of `model`, and explain what they say by `profile`, which is its own.

    Args:
        args, kwargs: what forward takes, as the profile was made with. `model` and they are left as they were.
    """
    from costlab.crosscheck.counters import run_fvcore, run_torch

    needed = profile.total.param_bytes + profile.total.peak_activation_bytes
    fvcore_says, torch_says = run_fvcore(model, args, kwargs, needed), run_torch(model, args, kwargs)
    found = [
        *differences(profile, fvcore_says, torch_says.inside),
        *differences(profile, torch_says),
    ]
    return Check(profile, (fvcore_says, torch_says), tuple(found))


def differences(profile: Profile, reading: Reading, inside: Mapping[str, int] | None = None) -> list[Difference]:
    """Every difference between `profile` and what a tool said, verified by the numbers. They sum to the whole one.

    For each operator the tool is expected to count what its published rules say for our shapes. Where that is not our
    count, an entry of the table of explanations must hold. And the expected numbers must add up, family by family, to
    those that the tool really gave.

    Args:
        inside: mult-adds in operators that costlab takes apart, by kind, as another tool counts them.
    """
    if reading.failure is not None:
        return [Difference(reading.tool, "", "", 0, profile.total.mult_adds, None, FAILED, reading.failure)]
    counted = list(side_by_side(profile, reading))
    return [*by_operator(counted, reading), *beyond_operators(counted, reading, inside or {})]


class Counted(NamedTuple):
    """One operator that anybody counts something for."""

    op: Op
    ours: int
    theirs: int  # what the tool is expected to count
    filed_under: str  # the family that the tool counts it in
    dropped: bool  # the tool never sees it


def side_by_side(profile: Profile, reading: Reading) -> Iterator[Counted]:
    """The operators of `profile`, with what the tool is expected to count; nothing for kinds that it does not know."""
    ours = [cost.mult_adds if cost else 0 for cost in profile.costs]
    theirs = EXPECTED[reading.tool](profile, ours, reading)
    dropped = unused(profile) if reading.tool == "fvcore" else set()
    kinds = Counter(op.kind for op in profile.ops if not op.free and op.name not in dropped)
    unknown = {kind for kind, calls in reading.unknown.items() if calls == kinds[kind]}
    for op, mine, other in zip(profile.ops, ours, theirs, strict=True):
        other = 0 if op.kind in unknown else other
        if mine or other:
            family = FILED_UNDER.get((reading.tool, op.kind), family_of(op.kind))
            yield Counted(op, mine, other, family, op.name in dropped)


def by_operator(counted: Iterable[Counted], reading: Reading) -> Iterator[Difference]:
    """Operators for which the tool is expected to count something else, those with the same explanation together."""
    groups: dict[tuple[str, Explanation | None], list[Counted]] = {}
    claimed: Counter[str] = Counter()  # how often the tool should list what as unknown
    for c in counted:
        if c.ours != c.theirs or c.filed_under != family_of(c.op.kind):
            entry = UNUSED if c.dropped else explanation(reading.tool, c.op, c.ours, c.theirs)
            groups.setdefault((c.op.kind, entry), []).append(c)
            claimed[LISTED_AS.get(c.op.kind, c.op.kind)] += entry is not None and entry.listed
    for (kind, entry), members in groups.items():
        cause, why = UNEXPLAINED, "its rule gives another number for the same shapes"
        name = LISTED_AS.get(kind, kind)
        if entry and (not entry.listed or reading.unknown.get(name) == claimed[name]):
            cause, why = entry.cause, entry.why
        ours, theirs = sum(c.ours for c in members), sum(c.theirs for c in members)
        yield Difference(reading.tool, family_of(kind), kind, len(members), ours, theirs, cause, why)


def beyond_operators(counted: Iterable[Counted], reading: Reading, inside: Mapping[str, int]) -> Iterator[Difference]:
    """What the tool really gave for each family, where that is not the sum of what it was expected to count."""
    tool, actual = reading.tool, by_family(reading.counts)
    expected: Counter[str] = Counter()
    guessed: Counter[str] = Counter()
    guesses: Counter[str] = Counter()
    for c in counted:
        expected[c.filed_under] += c.theirs
        if c.op.estimated:
            guessed[c.filed_under] += c.theirs
            guesses[c.filed_under] += 1
    hidden = {kind: count for kind, count in inside.items() if count and kind in reading.unknown}
    for family in dict.fromkeys([*expected, *actual]):
        ours, theirs = expected[family], actual.get(family, 0)
        missing = ours - theirs
        if missing and missing == sum(hidden.values()):
            calls = sum(reading.unknown[kind] for kind in hidden)
            yield Difference(tool, family, " ".join(hidden), calls, missing, 0, BLIND_SPOT, "has no formula for it")
        elif 0 < missing <= guessed[family]:
            why = "costlab assumes that all is kept where sizes depend on values; the tool ran on random values"
            yield Difference(
                tool, family, "", guesses[family], guessed[family], guessed[family] - missing, ESTIMATE, why
            )
        elif missing:
            why = "what it counted is not what its rules give for the shapes that costlab traced"
            yield Difference(tool, family, "", 0, ours, theirs, UNEXPLAINED, why)


def expected_of_fvcore(profile: Profile, ours: Sequence[int], reading: Reading) -> list[int]:
    return [count or 0 for count in fvcore(profile)]


def expected_of_torch(profile: Profile, ours: Sequence[int], reading: Reading) -> list[int]:
    """The same as ours, or nothing where the tool lists such a call and the table says so of this one."""
    return [
        0 if reading.unknown.get(op.kind) and explanation("torch", op, count, 0) else count
        for op, count in zip(profile.ops, ours, strict=True)
    ]


EXPECTED: dict[str, Callable[[Profile, Sequence[int], Reading], list[int]]] = {
    "fvcore": expected_of_fvcore,
    "torch": expected_of_torch,
}


def family_of(kind: str) -> str:
    """The family of an operator kind; fvcore has one kind for all convolutions."""
    return FAMILY_OF.get("conv2d" if kind == "conv" else kind, kind)


def by_family(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by kind added up by family, zeros left out."""
    sums: Counter[str] = Counter()
    for kind, count in counts.items():
        sums[family_of(kind)] += count
    return {family: count for family, count in sums.items() if count}
