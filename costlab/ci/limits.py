"""Budgets as a linter sees them: a verdict for each, and a finding that says what grew where one is broken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from costlab.ci.budgets import METRICS, PREDICTED, Amount, amount, metric_named
from costlab.comparison import compare, seconds_by_module
from costlab.core.profile import CostRow, Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.model import BUDGET, Finding, RuleVerdict

if TYPE_CHECKING:
    from costlab.latency.devices import Device
    from costlab.latency.prediction import Prediction

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
            wanted = (
                "a text as '5 ms' or '+3%'" if metric == PREDICTED else "a whole number or a text as '320 M' or '+1%'"
            )
            raise CostlabError(f"the budget of {metric} is {wanted}; got {value!r}")
        found[metric] = amount(str(value), metric)
    return found


def judged(
    profile: Profile,
    budgets: Mapping[str, Amount],
    base: Profile | None = None,
    device: Device | None = None,
    fusion: str = "none",
) -> tuple[list[Finding], list[RuleVerdict]]:
    """Hold a profile against budgets; those that are changes (`+1%`) count from `base`.

    Args:
        device, fusion: what `predicted_seconds` are predicted for.

    Raises:
        CostlabError: a budget is a change and there is no base, or it is on `predicted_seconds` without a device.
    """
    findings, verdicts = [], []
    for metric, budget in budgets.items():
        value = value_of(metric, profile, device, fusion)
        before = None if base is None else value_of(metric, base, device, fusion)
        limit = bound(metric, budget, before)
        broken = value > limit
        verdict = "broken" if broken else "holds"
        detail = f"{budget.text} from the base" if budget.relative else ""
        shown = float(limit) if metric == PREDICTED else math.floor(limit)
        verdicts.append(RuleVerdict(profile.name, f"{BUDGET}{metric}", verdict, None, value, shown, detail))
        if broken:
            modules = grown(profile, metric, base, device, fusion) or largest(profile, metric, device, fusion)
            findings.append(exceeded(profile, metric, budget, value, limit, before, modules))
    return findings, verdicts


def value_of(metric: str, profile: Profile, device: Device | None, fusion: str) -> float:
    """A total of a network, or what is predicted for a device."""
    if metric != PREDICTED:
        value: float = getattr(profile.total, metric)
        return value
    if device is None:
        raise CostlabError(
            f"a budget on {metric} is for a device: name one (`device` in [tool.costlab.lint], --device)"
        )
    return predicted(profile, device, fusion).seconds


def predicted(profile: Profile, device: Device, fusion: str) -> Prediction:
    from costlab.latency._predict import predict  # numpy, which nothing else here needs

    return predict(profile, device, fusion=fusion)


def bound(metric: str, budget: Amount, before: float | None) -> Fraction:
    """The most that a budget allows."""
    if not budget.relative:
        return budget.value
    if before is None:
        raise CostlabError(f"the budget {metric} {budget.text} is a change: it needs a base, a saved profile")
    return Fraction(before) + (Fraction(before) * budget.value if budget.share else budget.value)


def grown(profile: Profile, metric: str, base: Profile | None, device: Device | None, fusion: str) -> str:
    """The modules that grew most since `base`; "" without one, or where the total has none."""
    if base is None:
        return ""
    compared = compare(base, profile, device=device if metric == PREDICTED else None, fusion=fusion)
    unit = units.unit_of(metric)
    pairs = compared.grown(metric, NAMED)
    modules = ", ".join(f"{pair.name or ROOT} {units.change(pair.change(metric), unit)}" for pair in pairs)
    return f"; grew most: {modules}" if modules else ""


def largest(profile: Profile, metric: str, device: Device | None, fusion: str) -> str:
    """The modules that cost most; "" where the total has no part in modules."""
    if metric == PREDICTED and device:
        costs = seconds_by_module(profile, predicted(profile, device, fusion))
    elif hasattr(CostRow, metric):
        costs = {path: getattr(row, metric) for path, row in profile.by_module().items()}
    else:
        return ""
    dearest = sorted(costs.items(), key=lambda item: -item[1])[:NAMED]
    unit = units.unit_of(metric)
    return "; largest: " + ", ".join(f"{path or ROOT} {units.quantity(cost, unit)}" for path, cost in dearest)


def exceeded(
    profile: Profile, metric: str, budget: Amount, value: float, limit: Fraction, before: float | None, modules: str
) -> Finding:
    """A broken budget; `modules` says where the cost is."""
    unit = units.unit_of(metric)
    over = float(value - limit) if metric == PREDICTED else math.ceil(value - limit)
    was = f" ({units.quantity(before, unit)} in the base, {units.ratio(before, value)})" if before is not None else ""
    too_much = f"{units.quantity(over, unit)} over the budget of {budget.text}"
    return Finding(
        rule=f"{BUDGET}{metric}",
        severity="error",
        model=profile.name,
        message=f"{metric} {units.quantity(value, unit)}{was}, {too_much}{modules}",
        excess_memory_access=math.ceil(over) if metric == "memory_access" else None,
        excess_bytes=math.ceil(over) if metric == "bytes_accessed" else None,
        predicted_seconds_saved=over if metric == PREDICTED else None,
    )
