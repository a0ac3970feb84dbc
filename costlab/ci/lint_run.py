"""What linting several models came to: the findings on each, and the line of the repository that each is about."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import NamedTuple

from costlab.core.graph import Source
from costlab.core.profile import Profile
from costlab.guidelines.engine import dearness
from costlab.guidelines.model import Finding, LintResult

FAILURE = "failure"  # the rule of a model that could not be linted
BUDGET = "budget/"  # begins the rule of each budget: budget/mult_adds
SEVERITIES = ("note", "warning", "error")
FOREIGN = {"site-packages", "dist-packages"}  # folders of installed code, which a repository may hold


class Key(NamedTuple):
    """What a baseline accepts: all that one rule finds in one module."""

    model: str
    rule: str
    module: str


@dataclass(frozen=True)
class Linted:
    """One model of a run."""

    result: LintResult  # less what a baseline accepts
    title: str
    entry: Source  # where the model is named, relative to the repository
    sources: Mapping[str, Source] = field(default_factory=dict)  # by module: those that the repository holds
    accepted: int = 0  # findings that a baseline accepts

    @property
    def model(self) -> str:
        return self.result.model

    @property
    def failed(self) -> bool:
        """Whether the model could not be linted."""
        return any(f.rule == FAILURE for f in self.result.findings)

    def located(self) -> Iterator[tuple[Finding, Source, str]]:
        """Every finding, its line, and a fingerprint that stays where lines move and other findings come or go."""
        seen: Counter[str] = Counter()
        for finding in self.result.findings:
            identity = "\0".join((finding.model, finding.rule, finding.module, finding.op))
            digest = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()[:32]
            seen[digest] += 1
            yield finding, self.source(finding.module), f"{digest}:{seen[digest]}"

    def source(self, module: str) -> Source:
        """The line of a module, or of the nearest one around it, in the repository; else that of the model's entry."""
        while module not in self.sources:
            if not module:
                return self.entry
            module = module.rpartition(".")[0]
        return self.sources[module]


class Statistic(NamedTuple):
    """What one rule found in all models."""

    findings: int
    excess_memory_access: int | None  # elements; None where no finding has a price
    predicted_seconds_saved: float | None


@dataclass(frozen=True)
class Outcome:
    """A run of the linter over several models."""

    models: tuple[Linted, ...]
    fusion: str
    fail_level: str = "warning"
    device: str | None = None
    stale: tuple[Key, ...] = ()  # of the baseline: what is no longer found

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those on every model, dearest first."""
        every = (finding for linted in self.models for finding in linted.result.findings)
        return tuple(sorted(every, key=price, reverse=True))

    def fails(self, finding: Finding) -> bool:
        """Whether a finding is severe enough to fail the run."""
        return SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.fail_level)

    @property
    def summary(self) -> dict[str, int]:
        """How many warnings and errors of each rule."""
        counts = {v.rule: 0 for linted in self.models for v in linted.result.verdicts}
        for finding in self.findings:
            counts[finding.rule] = counts.get(finding.rule, 0) + (finding.severity != "note")
        return counts

    @property
    def statistics(self) -> dict[str, Statistic]:
        """What each rule found, in the order of the rules."""
        found: dict[str, list[Finding]] = {rule: [] for rule in self.summary}
        for finding in self.findings:
            found[finding.rule].append(finding)
        return {rule: statistic(findings) for rule, findings in found.items()}


def statistic(findings: Collection[Finding]) -> Statistic:
    elements = [f.excess_memory_access for f in findings if f.excess_memory_access is not None]
    seconds = [f.predicted_seconds_saved for f in findings if f.predicted_seconds_saved is not None]
    return Statistic(len(findings), sum(elements) if elements else None, sum(seconds) if seconds else None)


def price(*findings: Finding) -> tuple[float, float]:
    """What findings are sorted by, together: failures and budgets come first, those without a price last."""
    return dearness(*findings) if all(map(acceptable, findings)) else (inf, inf)


def key(finding: Finding) -> Key:
    return Key(finding.model, finding.rule, finding.module)


def acceptable(finding: Finding) -> bool:
    """Whether a baseline may accept a finding: a budget can be raised instead, and a failure has to be mended."""
    return finding.rule != FAILURE and not finding.rule.startswith(BUDGET)


def without(linted: Linted, accepted: Collection[Key]) -> Linted:
    """A model less the findings that a baseline accepts."""
    result = linted.result
    kept = tuple(f for f in result.findings if not (acceptable(f) and key(f) in accepted))
    return replace(
        linted, result=replace(result, findings=kept), accepted=linted.accepted + len(result.findings) - len(kept)
    )


def failure(model: str, fusion: str, entry: Source, message: str) -> Linted:
    """A model that could not be linted."""
    finding = Finding(
        rule=FAILURE,
        severity="error",
        model=model,
        module="",
        op="",
        message=message,
        advice=None,
        excess_memory_access=None,
        excess_bytes=None,
        excess_launches=None,
        predicted_seconds_saved=None,
    )
    return Linted(LintResult(model, fusion, (finding,), ()), model, entry)


def repository(folder: Path) -> Path:
    """The root of the git repository that holds a folder; without one the folder itself."""
    folder = folder.resolve()
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), folder)


def in_repository(source: Source, root: Path) -> Source | None:
    """A line relative to the repository; None where its file is installed code, elsewhere, or not there."""
    path = (root / source.file).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        return None
    relative = path.relative_to(root)
    return None if FOREIGN & set(relative.parts) else Source(relative.as_posix(), max(source.line, 1))


def sources(profile: Profile, root: Path) -> dict[str, Source]:
    """Of every module that is written in the repository, its line there."""
    files = {m.source.file for m in profile.trace.modules if m.source}
    inside = {file: found.file for file in files if (found := in_repository(Source(file, 1), root))}
    return {
        m.path: Source(inside[m.source.file], max(m.source.line, 1))
        for m in profile.trace.modules
        if m.source and m.source.file in inside
    }
