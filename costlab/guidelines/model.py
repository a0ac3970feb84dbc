"""What a guideline is, and what checking a network against guidelines returns."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import Cost
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.module_paths import merge_paths, path_pattern
from costlab.formatting.notebook import ShownInNotebooks

if TYPE_CHECKING:
    from costlab.guidelines.what_ifs import WhatIfs
    from costlab.latency.execution import ExecutionConfig

FAILURE = "failure"  # the rule of a model that could not be linted
BUDGET = "budget/"  # prefix of the rules of budgets: budget/mult_adds
NOT_CHECKED = "not checked"  # the verdict on a budget that is a change, where there is nothing to compare with


class Channels(NamedTuple):
    """The channels of a layer, and its groups."""

    inputs: int
    outputs: int
    groups: int


@dataclass(frozen=True, slots=True)
class Fix:
    """The network that follows an advice, as edits of operators by name (see `costlab.guidelines.edits`)."""

    removed: tuple[str, ...] = ()
    replaced: Mapping[str, Op] = field(default_factory=dict)
    resized: Mapping[str, Channels] = field(default_factory=dict)  # layers with other channels
    fused: tuple[tuple[str, ...], ...] = ()  # element-wise operators, or a convolution and its batch norms, as one
    merged: tuple[tuple[str, ...], ...] = ()  # independent operators as one of each kind, with the same mult-adds

    @property
    def ops(self) -> frozenset[str]:
        """The operators that it changes."""
        return frozenset((*self.removed, *self.replaced, *self.resized, *chain(*self.fused, *self.merged)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place in a network that breaks a rule, and what following the advice would save.

    A check says where, what and how much; `lint` fills in the rule, the severity, the model and the seconds.
    """

    rule: str = ""
    severity: str = "note"  # "error", "warning" or "note"
    model: str = ""
    module: str = ""
    op: str = ""  # "" if the finding is about the whole module
    message: str
    advice: str | None = None  # what to write instead; None if no change is certain to be better
    excess_memory_access: int | None = None  # elements; None if unknown
    excess_bytes: int | None = None
    excess_launches: int | None = None  # operators that would not have to be launched
    kept_bytes: int | None = None  # that a training step would not keep for its backward pass
    predicted_seconds_saved: float | None = None  # on a device; 0 or less if following the advice does not help there
    unpriced: str | None = None  # why the seconds cannot be predicted
    fix: Fix | None = field(default=None, repr=False)  # None if the seconds cannot be predicted

    @property
    def helps(self) -> bool:
        """Whether following the advice may save something: it does not if it saves no time on the device."""
        return self.predicted_seconds_saved is None or self.predicted_seconds_saved > 0

    @property
    def from_guideline(self) -> bool:
        """Whether a guideline found it: not a broken budget, not a model that failed."""
        return self.rule != FAILURE and not self.rule.startswith(BUDGET)

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data, without its fix."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "fix"}


def removable(op: Op, cost: Cost, message: str, advice: str) -> Finding:
    """A finding about an operator that could be removed, which saves all that it moves and its launch."""
    return Finding(
        module=op.module,
        op=op.name,
        message=message,
        advice=advice,
        excess_memory_access=cost.memory_access,
        excess_bytes=cost.bytes_accessed,
        excess_launches=1,
        fix=Fix(removed=(op.name,)),
    )


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one guideline found in a network."""

    findings: Sequence[Finding]
    value: float | None = None  # compared with the limit; default: the share of the findings in the memory access
    detail: str = ""  # shown beside the verdict


def nothing_found(profile: Profile, limit: float | None) -> CheckResult:
    """The check of a guideline that needs a device, without one."""
    return CheckResult([])


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """Whether a network satisfies a guideline or a budget."""

    model: str = field(repr=False)  # that of the result it belongs to
    rule: str
    verdict: str  # "broken", "holds" or, of a budget, "not checked"
    share: float | None  # of the findings' excess in the memory access of the network
    value: float | None  # what is compared with the limit: a share, or a whole number
    limit: float | None  # None for a guideline that only reports notes, and if not checked
    detail: str


@dataclass(frozen=True)
class LintResult(ShownInNotebooks):
    """The findings on one network, most expensive first, and a verdict for each rule. Prints nothing."""

    model: str
    fusion: str  # the view that guidelines check
    findings: tuple[Finding, ...] = field(repr=False)
    verdicts: tuple[RuleVerdict, ...]
    device: str | None = None  # for which seconds are predicted
    predicted_fusion: str = "none"  # how the network runs there
    verified: bool = field(default=True, repr=False)  # whether anything was measured on the device
    what_ifs: WhatIfs | None = field(default=None, repr=False)  # what to do first; None without a device

    @property
    def broken(self) -> tuple[str, ...]:
        """Codes of the guidelines that the network breaks."""
        return tuple(v.rule for v in self.verdicts if v.verdict == "broken")

    @property
    def failed(self) -> bool:
        """Whether the model could not be linted."""
        return any(f.rule == FAILURE for f in self.findings)

    @property
    def summary(self) -> dict[str, int]:
        """Number of warnings and errors of each rule."""
        return summarize([self])

    def __str__(self) -> str:
        """What is broken, and what to do first if there is a device."""
        head = f"{self.model}: {len(self.findings)} findings, broken: {', '.join(self.broken) or 'nothing'}"
        return f"{head}\n{self.what_ifs}" if self.what_ifs else head


def summarize(results: Sequence[LintResult]) -> dict[str, int]:
    """Number of warnings and errors of each rule over several networks; checked rules without any have 0."""
    counts = {verdict.rule: 0 for result in results for verdict in result.verdicts}
    for finding in (f for result in results for f in result.findings):
        counts[finding.rule] = counts.get(finding.rule, 0) + (finding.severity != "note")
    return counts


def sort_key(*findings: Finding) -> tuple[float, float]:
    """Key that sorts findings, or groups of them, by what they save: seconds, then elements. Unknown ones are lowest.

    Failures and broken budgets are highest.
    """
    if not all(f.from_guideline for f in findings):
        return inf, inf
    seconds = [f.predicted_seconds_saved for f in findings]
    elements = [f.excess_memory_access for f in findings]
    return (
        -inf if None in seconds else sum(s for s in seconds if s is not None),
        -1 if None in elements else sum(e for e in elements if e is not None),
    )


@dataclass(frozen=True)
class Guideline:
    """A pure function from a profile and a limit to findings, with its documentation page."""

    code: str  # "G1"; never changes
    name: str  # "equal-channel-width"
    page: str  # Markdown; the first line says what to do
    check: Callable[[Profile, float | None], CheckResult]
    limit: float | None = None  # broken from this value on; None for a guideline that only reports notes
    breaks: Callable[[Any, Any], bool] = operator.ge  # breaks(value, limit)
    severity: str = "warning"  # of a finding if the guideline is broken
    # In place of `check`, on a device; if it returns None, `check` runs.
    check_on: Callable[[Profile, ExecutionConfig], CheckResult | None] | None = None
    training: bool = False  # checks training steps, and them as a whole; others check the forward pass of a step
    as_run: bool = False  # checks the network as it runs, not with folded batch norms
    price: str = "saves"  # what the elements of a finding mean: the advice "saves" them, or the operator "moves" them
    # Networks by title: Python source that defines `network` and `inputs`, a shape or a tensor.
    bad: Mapping[str, str] = field(default_factory=dict)
    good: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first line of the page."""
        return self.page.strip().partition("\n")[0]


class FindingGroup(NamedTuple):
    """Findings that differ only in the repetition of a block that they are in."""

    path: str  # of all of them: layer{1-3}.0.conv
    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        """The first of them, which has the message and the price of all."""
        return self.findings[0]


def group_findings(findings: Iterable[Finding]) -> list[FindingGroup]:
    """Findings with those in repeated blocks together, most expensive group first."""
    alike: dict[tuple[Any, ...], list[Finding]] = {}
    for f in findings:
        prices = f.excess_memory_access, f.excess_bytes, f.excess_launches, f.kept_bytes
        key = f.model, f.rule, f.severity, f.message, f.advice, prices, path_pattern(f.module)
        alike.setdefault(key, []).append(f)
    groups = [FindingGroup(merge_paths([f.module for f in group]), tuple(group)) for group in alike.values()]
    return sorted(groups, key=lambda group: sort_key(*group.findings), reverse=True)
