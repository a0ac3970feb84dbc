"""`costlab.lint`: check a profile against guidelines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from costlab.core.gc import gc_paused
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.guidelines.model import CheckResult, Finding, Guideline, LintResult, RuleVerdict, sort_key
from costlab.guidelines.registry import GUIDELINES, find_guideline

if TYPE_CHECKING:
    from costlab.latency.device import Device


@gc_paused()
def lint(
    profile: Profile,
    *,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    fusion: str = "bn",
    thresholds: Mapping[str, float] | None = None,
    per_module_ignores: Mapping[str, Iterable[str]] | None = None,
    rules: Mapping[str, Guideline] = GUIDELINES,
    device: str | Path | Device | None = None,
) -> LintResult:
    """Check a profile against guidelines.

    Args:
        select: codes or names of the guidelines to check; default: all of `rules`.
        ignore: codes or names of guidelines to leave out.
        fusion: which operators run as one: "none", "bn" (folded batch norm) or "pointwise" (generated code).
        thresholds: limits from which guidelines count as broken, by code or name: a share of the memory access for G1
            and G2, a width for G3, a share for G4. Sets a limit for a rule that has none by default.
        per_module_ignores: guidelines to ignore in some modules, by glob on module paths. Their findings do not count
            towards the verdict either.
        rules: guidelines by code; add your own with `GUIDELINES | {"MY1": Guideline(...)}`.
        device: predict what following each advice saves on this device (see `costlab.predict`), in eager mode, or as
            generated code with fusion "pointwise". Guidelines that check the network as traced are priced as traced.

    Returns:
        The findings, and a verdict for each guideline. Findings that save most come first: seconds if there is a
        device, then elements of memory access.

    Raises:
        CostlabError: unknown guideline, fusion or device, or a threshold that is not a number from 0 up.
    """
    chosen = codes(rules if select is None else select, rules) - codes(ignore, rules)
    selected = [guideline for guideline in rules.values() if guideline.code in chosen]
    limits = {guideline.code: guideline.limit for guideline in selected} | checked_thresholds(thresholds or {}, rules)
    ignored = [(glob, codes(names, rules)) for glob, names in (per_module_ignores or {}).items()]
    on = resolve_device(device)
    checks: dict[str, tuple[RuleVerdict, list[Finding]]] = {}
    for view, as_traced in ((profile, True), (profile.fused(fusion), False)):
        group = [guideline for guideline in selected if guideline.as_traced == as_traced]
        results = [guideline.check(view, limits[guideline.code]) for guideline in group]
        results = [without_ignored(result, g.code, ignored) for g, result in zip(group, results, strict=True)]
        if on:
            results = with_seconds(results, profile, view, on, "none" if as_traced else fusion)
        for guideline, result in zip(group, results, strict=True):
            checks[guideline.code] = judge(guideline, result, view, limits[guideline.code])
    findings = [finding for guideline in selected for finding in checks[guideline.code][1]]
    findings.sort(key=sort_key, reverse=True)
    verdicts = tuple(checks[guideline.code][0] for guideline in selected)
    return LintResult(profile.name, fusion, tuple(findings), verdicts, on.name if on else None)


def codes(names: Iterable[str], rules: Mapping[str, Guideline]) -> set[str]:
    """The codes of guidelines given by code or name."""
    return {find_guideline(name, rules).code for name in names}


def checked_thresholds(thresholds: Mapping[str, float], rules: Mapping[str, Guideline]) -> dict[str, float]:
    """Thresholds by code. Raises CostlabError if one is not a number from 0 up."""
    limits = {find_guideline(name, rules).code: limit for name, limit in thresholds.items()}
    for code, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 <= limit < inf:
            raise CostlabError(f"the threshold of {code} must be a number from 0 up, got {limit!r}")
    return limits


def without_ignored(result: CheckResult, code: str, ignored: Sequence[tuple[str, set[str]]]) -> CheckResult:
    """A result without the findings in modules for which the guideline is ignored."""
    globs = [glob for glob, ignored_codes in ignored if code in ignored_codes]
    kept = [f for f in result.findings if not any(fnmatchcase(f.module, glob) for glob in globs)]
    return replace(result, findings=kept)


def resolve_device(device: str | Path | Device | None) -> Device | None:
    """The device with that name or file. Raises CostlabError if it is unknown."""
    if not isinstance(device, str | Path):
        return device
    from costlab.latency.devices import find_device

    return find_device(device)


def with_seconds(
    results: Sequence[CheckResult], profile: Profile, view: Profile, device: Device, fusion: str
) -> list[CheckResult]:
    """Results of checks on `view` whose findings with a fix know the seconds that it saves.

    All are predicted together, so the network is lowered to kernels once.
    """
    from costlab.guidelines.pricing import seconds_saved  # numpy, which nothing else here needs
    from costlab.latency.execution import ExecutionConfig

    fixes = [f.fix for result in results for f in result.findings if f.fix]
    config = ExecutionConfig(device, fusion=fusion)
    seconds = iter(seconds_saved(profile, view, fixes, config) if fixes else ())
    return [
        replace(r, findings=[replace(f, predicted_seconds_saved=next(seconds)) if f.fix else f for f in r.findings])
        for r in results
    ]


def judge(
    guideline: Guideline, result: CheckResult, view: Profile, limit: float | None
) -> tuple[RuleVerdict, list[Finding]]:
    """The verdict on a guideline, and its findings with their rule, severity and model."""
    whole = view.total.memory_access
    known = [f.excess_memory_access for f in result.findings if f.excess_memory_access is not None]
    share = sum(known) / whole if whole and len(known) == len(result.findings) else None
    value = share if result.value is None else result.value
    broken = limit is not None and value is not None and bool(result.findings) and guideline.breaks(value, limit)
    word, severity = ("broken", guideline.severity) if broken else ("holds", "note")
    verdict = RuleVerdict(view.name, guideline.code, word, share, value, limit, result.detail)
    return verdict, [replace(f, rule=guideline.code, severity=severity, model=view.name) for f in result.findings]
