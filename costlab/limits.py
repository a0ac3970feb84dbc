"""Budgets as a linter sees them: a verdict for each, and a finding that says what grew where one is broken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from costlab.budgets import METRICS, Amount, amount, metric_named
from costlab.comparing import compare
from costlab.errors import CostlabError
from costlab.guidelines.model import Finding, Verdict
from costlab.linted import BUDGET
from costlab.profiles import Profile, Row
from costlab.reports import units
from costlab.reports.columns import ROOT

LIMITED = tuple(metric for metric in METRICS if metric != "arithmetic_intensity")  # of which more is better
NAMED = 3  # modules in a message


def limits(given: Mapping[str, int | str]) -> dict[str, Amount]:
    """`{"mult_adds": "320 M", "params": 3_505_000}` by the names of totals. Raises CostlabError."""
    found = {}
    for name, value in given.items():
        metric = metric_named(name)
        if metric not in LIMITED:
            raise CostlabError(f"no budget on {metric}: there are {', '.join(LIMITED)}")
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise CostlabError(f"the budget of {metric} is a whole number or a text as '320 M' or '+1%'; got {value!r}")
        found[metric] = amount(str(value))
    return found


def judged(
    profile: Profile, budgets: Mapping[str, Amount], base: Profile | None = None
) -> tuple[list[Finding], list[Verdict]]:
    """Hold a profile against budgets; those that are changes (`+1%`) count from `base`.

    Raises:
        CostlabError: a budget is a change and there is no base.
    """
    findings, verdicts = [], []
    for metric, budget in budgets.items():
        value, limit = getattr(profile.total, metric), bound(metric, budget, base)
        broken = value > limit
        verdict = "broken" if broken else "holds"
        detail = f"{budget.text} from the base" if budget.relative else ""
        verdicts.append(Verdict(profile.name, f"{BUDGET}{metric}", verdict, None, value, math.floor(limit), detail))
        if broken:
            findings.append(exceeded(profile, metric, budget, math.ceil(value - limit), base))
    return findings, verdicts


def bound(metric: str, budget: Amount, base: Profile | None) -> Fraction:
    """The most that a budget allows."""
    if not budget.relative:
        return budget.value
    if base is None:
        raise CostlabError(f"the budget {metric} {budget.text} is a change: it needs a base, a saved profile")
    before = Fraction(getattr(base.total, metric))
    return before + (before * budget.value if budget.share else budget.value)


def exceeded(profile: Profile, metric: str, budget: Amount, over: int, base: Profile | None) -> Finding:
    """A broken budget, with the modules that grew most since `base`, else those that cost most."""
    unit = "B" if metric.endswith("bytes") else ""
    value = getattr(profile.total, metric)
    was, modules = "", ""
    if base is not None:
        before = getattr(base.total, metric)
        was = f" ({units.short(before, unit)} in the base, {units.ratio(before, value)})"
        grown = compare(base, profile).grown(metric, NAMED)
        modules = ", ".join(f"{pair.name or ROOT} {units.change(pair.change(metric), unit)}" for pair in grown)
        modules = f"; grew most: {modules}" if modules else ""
    if not modules and hasattr(Row, metric):
        rows = sorted(profile.by_module().values(), key=lambda row: -getattr(row, metric))[:NAMED]
        modules = ", ".join(f"{row.name or ROOT} {units.short(getattr(row, metric), unit)}" for row in rows)
        modules = f"; largest: {modules}"
    return Finding(
        rule=f"{BUDGET}{metric}",
        severity="error",
        model=profile.name,
        module="",
        op="",
        message=f"{metric} {units.short(value, unit)}{was}, {units.short(over, unit)} over the budget of {budget.text}"
        + modules,
        advice=None,
        excess_memory_access=over if metric == "memory_access" else None,
        excess_bytes=over if metric == "bytes_accessed" else None,
        excess_launches=None,
        predicted_seconds_saved=None,
    )
