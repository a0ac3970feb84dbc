"""What a guideline is, and what comes of checking one."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from costlab.core.graph import Op
from costlab.core.profile import Profile


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a network where an advice is followed, by the positions of operators in the checked profile."""

    removed: tuple[int, ...] = ()
    replaced: Mapping[int, Op] = field(default_factory=dict)
    merged: tuple[tuple[int, ...], ...] = ()  # each into one operator of the same mult-adds


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a network that a guideline has something to say about, and what following it would save."""

    module: str
    op: str  # name of the operator; "" where it is about a whole module
    message: str
    advice: str | None  # what to write instead; None where nothing is certain to be better
    excess_memory_access: int | None  # elements; None where no number can be given
    excess_bytes: int | None
    excess_launches: int | None  # operators that would not have to start
    instead: Change | None = None  # the network that follows the advice; None where it cannot be told


@dataclass(frozen=True, slots=True)
class Checked:
    """What a guideline found in a network."""

    places: Sequence[Place]
    value: float | None = None  # held against the limit; by default the share of all places in the memory access
    detail: str = ""  # one line beside the verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """A place, with how much it matters."""

    rule: str
    severity: str  # "error", "warning" or "note"
    model: str
    module: str
    op: str
    message: str
    advice: str | None
    excess_memory_access: int | None
    excess_bytes: int | None
    excess_launches: int | None
    predicted_seconds_saved: float | None  # on a device; negative where following the guideline costs time there


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a network keeps a guideline."""

    model: str
    rule: str
    verdict: str  # "broken" or "holds"
    share: float | None  # of the places' excess in the memory access of the network
    value: float | None  # what is held against the limit: a share, or a whole number
    limit: float | None  # None where the guideline only makes notes
    detail: str


@dataclass(frozen=True)
class LintResult:
    """The findings on a network, dearest first, and a verdict for each guideline. Prints nothing."""

    model: str
    fusion: str
    findings: tuple[Finding, ...] = field(repr=False)
    verdicts: tuple[Verdict, ...]
    device: str | None = None  # that seconds are predicted for

    @property
    def broken(self) -> tuple[str, ...]:
        """Codes of the guidelines that the network breaks."""
        return tuple(v.rule for v in self.verdicts if v.verdict == "broken")

    @property
    def summary(self) -> dict[str, int]:
        """How many warnings and errors of each guideline that was checked."""
        counts = dict.fromkeys((v.rule for v in self.verdicts), 0)
        for finding in self.findings:
            counts[finding.rule] += finding.severity != "note"
        return counts

    def _repr_html_(self) -> str:
        from costlab.formatting.notebook import html_repr

        return html_repr(self)


@dataclass(frozen=True, slots=True)
class Example:
    """A network as Python source, which defines `network` and its `inputs`, a shape or a tensor."""

    title: str
    code: str


@dataclass(frozen=True)
class Guideline:
    """A pure function from a profile and a limit to what breaks it, with its page of documentation."""

    code: str  # "G1": stable
    name: str  # "equal-channel-width"
    page: str  # Markdown; the first line says what to do
    check: Callable[[Profile, float | None], Checked]
    limit: float | None = None  # broken from here on; None where it only makes notes
    breaks: Callable[[Any, Any], bool] = operator.ge  # of value and limit
    severity: str = "warning"  # of a finding where it is broken
    as_traced: bool = False  # looks at the network before fusion
    bad: tuple[Example, ...] = ()
    good: tuple[Example, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the page."""
        return self.page.strip().partition("\n")[0]
