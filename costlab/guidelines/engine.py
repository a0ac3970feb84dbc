"""`costlab.lint`: check a profile against guidelines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from costlab.core.gc import gc_paused
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.guidelines.model import Checked, Finding, Guideline, LintResult, Place, Verdict
from costlab.guidelines.registry import GUIDELINES

if TYPE_CHECKING:
    from costlab.latency.devices import Device


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
    """Check a profile against guidelines: findings with their prices, dearest first, and a verdict for each.

    Dearest are those that save most seconds on `device`, else most memory access.

    Args:
        select: codes or names of the guidelines to check; by default all of them.
        ignore: codes or names of guidelines to leave out.
        fusion: what is taken to run as one operator: "none", "bn" or "pointwise".
        thresholds: by code or name, where a guideline counts as broken: a share of the memory access for G1 and G2, a
            width for G3, a share for G4. A guideline that only makes notes gets one by it.
        per_module_ignores: guidelines by glob on module paths: what they find in these modules is left out before
            it is judged.
        rules: guidelines by code; `GUIDELINES | {"MY1": Guideline(...)}` adds one.
        device: predict what following each advice saves there (see `predict`), run as `fusion` says: "pointwise" is
            generated code, all else eager. A guideline that looks at the network as traced is priced as traced.

    Raises:
        CostlabError: there is no such guideline, fusion or device, or a threshold is no number.
    """
    on = device_of(device)
    chosen = {guideline_named(name, rules).code: None for name in (rules if select is None else select)}
    for name in ignore:
        chosen.pop(guideline_named(name, rules).code, None)
    limits = {guideline_named(name, rules).code: given for name, given in (thresholds or {}).items()}
    for code, given in limits.items():
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < inf:
            raise CostlabError(f"the threshold of {code} is a number, 0 or more; {given!r} is not")
    excused = [
        (glob, {guideline_named(name, rules).code for name in names})
        for glob, names in (per_module_ignores or {}).items()
    ]
    view = profile.fused(fusion)
    findings: list[Finding] = []
    verdicts = []
    for guideline in (g for g in rules.values() if g.code in chosen):
        seen = profile if guideline.as_traced else view
        limit = limits.get(guideline.code, guideline.limit)
        checked = guideline.check(seen, limit)
        globs = [glob for glob, codes in excused if guideline.code in codes]
        if globs:
            kept = [p for p in checked.places if not any(fnmatchcase(p.module, glob) for glob in globs)]
            checked = replace(checked, places=kept)
        verdict = judge(guideline, checked, seen, limit)
        severity = guideline.severity if verdict.verdict == "broken" else "note"
        verdicts.append(verdict)
        compiled = fusion == "pointwise" and not guideline.as_traced
        saved = priced(profile, seen, checked.places, on, compiled)
        pairs = zip(checked.places, saved, strict=True)
        findings += (finding(place, guideline.code, severity, profile.name, seconds) for place, seconds in pairs)
    findings.sort(key=dearness, reverse=True)
    return LintResult(profile.name, fusion, tuple(findings), tuple(verdicts), on.name if on else None)


def device_of(device: str | Path | Device | None) -> Device | None:
    """The device of a name or file, None for none. Raises CostlabError."""
    if not isinstance(device, str | Path):
        return device
    from costlab.latency.devices import find_device

    return find_device(device)


def priced(
    profile: Profile, seen: Profile, places: Sequence[Place], device: Device | None, compiled: bool
) -> list[float | None]:
    """The seconds that each place would save; None without a device, or where it cannot be told."""
    changes = [place.instead for place in places if place.instead is not None]
    if device is None or not changes:
        return [None] * len(places)
    from costlab.guidelines.pricing import seconds_saved  # numpy, which nothing else here needs

    saved = iter(seconds_saved(profile, seen, changes, device, compiled))
    return [None if place.instead is None else next(saved) for place in places]


def dearness(*findings: Finding) -> tuple[float, float]:
    """What findings are sorted by: the seconds, then the elements that they save together; unknown ones come last."""
    seconds = [f.predicted_seconds_saved for f in findings]
    elements = [f.excess_memory_access for f in findings]
    return (
        -inf if None in seconds else sum(s for s in seconds if s is not None),
        -1 if None in elements else sum(e for e in elements if e is not None),
    )


def judge(guideline: Guideline, checked: Checked, profile: Profile, limit: float | None) -> Verdict:
    """Whether what was found breaks the guideline."""
    whole = profile.total.memory_access
    prices = [place.excess_memory_access for place in checked.places]
    known = [price for price in prices if price is not None]
    share = sum(known) / whole if whole and len(known) == len(prices) else None
    value = share if checked.value is None else checked.value
    broken = limit is not None and value is not None and bool(checked.places) and guideline.breaks(value, limit)
    return Verdict(profile.name, guideline.code, "broken" if broken else "holds", share, value, limit, checked.detail)


def finding(place: Place, code: str, severity: str, model: str, seconds: float | None) -> Finding:
    return Finding(
        rule=code,
        severity=severity,
        model=model,
        module=place.module,
        op=place.op,
        message=place.message,
        advice=place.advice,
        excess_memory_access=place.excess_memory_access,
        excess_bytes=place.excess_bytes,
        excess_launches=place.excess_launches,
        predicted_seconds_saved=seconds,
    )


def guideline_named(name: str, rules: Mapping[str, Guideline] = GUIDELINES) -> Guideline:
    """The guideline of that code or name, in whatever case. Raises CostlabError where there is none."""
    known = {key.lower(): rule for rule in rules.values() for key in (rule.code, rule.name)}
    found = known.get(name.strip().lower())
    if found is None:
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[close[0]].name!r}?" if close else ""
        codes = ", ".join(rules)
        raise CostlabError(f"no guideline {name!r}{hint}; there are {codes} (`costlab explain` says what they mean)")
    return found
