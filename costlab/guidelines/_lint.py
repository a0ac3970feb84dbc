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
    from costlab.latency.execution import ExecutionConfig

CHECKED = "bn"  # the fusion that guidelines check by default


@gc_paused()
def lint(
    profile: Profile,
    *,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    fusion: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    per_module_ignores: Mapping[str, Iterable[str]] | None = None,
    rules: Mapping[str, Guideline] = GUIDELINES,
    device: str | Path | Device | None = None,
    amp: bool = False,
    channels_last: bool = False,
) -> LintResult:
    """Check a profile against guidelines; of a training step, the forward pass and what it keeps.

    Args:
        select: codes or names of the guidelines to check; default: all of `rules`.
        ignore: codes or names of guidelines to leave out.
        fusion: which operators run as one: "none", "bn" (folded batch norm) or "pointwise" (generated code). Default:
            guidelines check the network with folded batch norms, and seconds are those of the network as traced.
        thresholds: limits from which guidelines count as broken, by code or name: a share of the memory access for G1
            and G2, a width for G3, a share for G4. Sets a limit for a rule that has none by default.
        per_module_ignores: guidelines to ignore in some modules, by glob on module paths. Their findings do not count
            towards the verdict either.
        rules: guidelines by code; add your own with `GUIDELINES | {"MY1": Guideline(...)}`.
        device: predict what following each advice saves on this device (see `costlab.predict`). A finding whose advice
            saves no time there is a note. The result says what to do first (`what_ifs`).
        amp, channels_last: how the network runs there, see `costlab.predict`.

    Returns:
        The findings, and a verdict for each guideline. Findings that save most come first: seconds if there is a
        device, then elements of memory access.

    Raises:
        CostlabError: unknown guideline, fusion or device, or a threshold that is not a number from 0 up.
    """
    chosen = codes(rules if select is None else select, rules) - codes(ignore, rules)
    step, profile = profile, profile.forward
    selected = [g for g in rules.values() if g.code in chosen and (step is not profile or not g.training)]
    limits = {guideline.code: guideline.limit for guideline in selected} | checked_thresholds(thresholds or {}, rules)
    ignored = [(glob, codes(names, rules)) for glob, names in (per_module_ignores or {}).items()]
    on = resolve_device(device)
    checked, runs = fusion or CHECKED, fusion or "none"
    config = config_on(on, runs, amp, channels_last) if on else None
    findings: list[Finding] = []
    verdicts: list[RuleVerdict] = []
    for guideline in selected:
        view = step if guideline.training else profile.fused(runs if guideline.as_run else checked)
        limit = limits[guideline.code]
        on_device = guideline.check_on(profile, config) if guideline.check_on and config else None
        result = without_ignored(on_device or guideline.check(view, limit), guideline.code, ignored)
        verdict, found = judge(guideline, result, view, limit)
        verdicts.append(verdict)
        findings += found
    where, verified = (on.name, on.verified) if on else (None, True)
    linted = LintResult(profile.name, checked, by_price(findings), tuple(verdicts), where, runs, verified)
    return with_seconds_on(linted, profile, config, whole=step is profile) if config else linted


def by_price(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, those that save most first."""
    return tuple(sorted(findings, key=sort_key, reverse=True))


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


def config_on(device: Device, fusion: str, amp: bool, channels_last: bool) -> ExecutionConfig:
    """How the network runs on a device."""
    from costlab.latency.execution import ExecutionConfig

    return ExecutionConfig(device, amp=amp, fusion=fusion, channels_last=channels_last)


def with_seconds_on(result: LintResult, profile: Profile, config: ExecutionConfig, whole: bool) -> LintResult:
    """The result with the seconds that findings save on a device, and what to do first if the profile is `whole`.

    A warning that saves no time there becomes a note.
    """
    from costlab.guidelines.pricing import with_seconds  # numpy, which nothing else here needs
    from costlab.guidelines.what_ifs import what_ifs

    timed = with_seconds(result.findings, profile, config)
    findings = [f if f.helps or f.severity == "error" else replace(f, severity="note") for f in timed]
    return replace(
        result,
        findings=by_price(findings),
        verdicts=tuple(with_doubts(verdict, findings, config.device) for verdict in result.verdicts),
        what_ifs=what_ifs(profile, config, findings) if whole else None,
    )


def with_doubts(verdict: RuleVerdict, findings: Sequence[Finding], device: Device) -> RuleVerdict:
    """A verdict on elements, which says so if no advice on its findings saves time on a device."""
    own = [f for f in findings if f.rule == verdict.rule and f.advice]
    if verdict.verdict != "broken" or not own or any(f.helps for f in own):
        return verdict
    detail = f"in elements: no advice saves time on {device.name}"
    return replace(verdict, detail="; ".join(filter(None, (verdict.detail, detail))))


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
