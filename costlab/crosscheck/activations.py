"""costlab's activations beside those of other counters: the elements that convolutions and matrix products write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from costlab.core.cost import FAMILIES, FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.crosscheck.differences import CountDifference, expected_counts, families_of_counters
from costlab.crosscheck.explanations import BLIND_SPOT, CELLS, CONVENTION, ESTIMATE, NO_FORMULA, UNEXPLAINED

if TYPE_CHECKING:
    from costlab.crosscheck.counters import ToolCount

FVCORE = {*FAMILIES["convolution"], "linear", "addmm", "bmm", "einsum", "matmul"} - {"deform_conv2d"}


@dataclass(frozen=True)
class ActivationCheck:
    """What costlab and other counters say that a network writes."""

    families: dict[str, dict[str, int]]  # by family, the elements of costlab and of the tools that ran
    differences: tuple[CountDifference, ...]

    @property
    def unexplained(self) -> tuple[CountDifference, ...]:
        """The differences without an explanation."""
        return tuple(d for d in self.differences if d.cause == UNEXPLAINED)


def compare_activations(
    profile: Profile, readings: Iterable[ToolCount], mult_adds: Iterable[CountDifference]
) -> ActivationCheck:
    """Compare the activations of a profile with those that other tools counted.

    Args:
        mult_adds: the differences of mult-adds. What explains that a tool ran other operators than costlab explains
            that these wrote more or less.
    """
    ran = [reading for reading in readings if reading.failure is None]
    ours = {kind: row.activations for kind, row in profile.by_kind().items()}
    columns = {"costlab": ours, **{reading.tool: reading.activations for reading in ran}}
    found = [d for reading in ran for d in differences(profile, reading, mult_adds)]
    return ActivationCheck(families_of_counters(columns), tuple(found))


def differences(
    profile: Profile, reading: ToolCount, mult_adds: Iterable[CountDifference]
) -> Iterator[CountDifference]:
    """The differences of one tool, by kind of operator, then by family for what is not the sum of its operators."""
    tool = reading.tool
    counts = families_of_counters({tool: reading.activations})
    actual = {family: row[tool] for family, row in counts.items()}
    costs = {op.name: cost for op, cost in zip(profile.ops, profile.costs, strict=True)}
    expected: Counter[str] = Counter()
    guessed: Counter[str] = Counter()
    apart: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for op, _, theirs, family, dropped in expected_counts(profile, reading):
        cost = costs[op.name]
        ours = cost.activations if cost else 0
        seen = 0 if dropped or (not theirs and op.kind != "einsum") else of_tool(tool, op, ours)
        expected[family] += seen
        guessed[family] += seen * op.estimated
        if seen != ours:
            cause, why = (BLIND_SPOT, NO_FORMULA) if not seen else (CONVENTION, "counts every product that it sees")
            apart.setdefault((op.kind, cause, why), []).append((ours, seen))
    for (kind, cause, why), pairs in apart.items():
        family = FAMILY_OF.get(kind, kind)
        yield CountDifference(
            tool, family, kind, len(pairs), sum(a for a, _ in pairs), sum(b for _, b in pairs), cause, why
        )
    whole = {d.family: d for d in mult_adds if d.tool == tool and (d.cause == ESTIMATE or d.kind not in FAMILY_OF)}
    for family in dict.fromkeys([*expected, *actual]):
        missing = expected[family] - actual.get(family, 0)
        if missing:
            cause, why = UNEXPLAINED, "writes other numbers of elements than the traced shapes say"
            if 0 < missing <= guessed[family]:
                cause, why = ESTIMATE, "sizes depend on values"
            elif family in whole:
                cause, why = whole[family].cause, whole[family].why
            yield CountDifference(tool, family, "", 0, expected[family], actual.get(family, 0), cause, why)


def of_tool(tool: str, op: Op, ours: int) -> int:
    """The elements that a tool should count for an operator that it sees."""
    if tool != "fvcore":
        return ours
    if op.kind in CELLS.split():  # two linear layers
        return prod(op["input"].shape[:-1]) * (op["w_ih"].shape[0] + op["w_hh"].shape[0])
    return op.output.numel if op.kind in FVCORE else 0
