"""Budgets: the most that a network may cost, checked with a verdict for each and a finding for each that is broken."""

import math
from collections.abc import Mapping
from fractions import Fraction

from costlab.comparison import Comparison, compare, seconds_by_module, total_of
from costlab.core.amounts import Amount, parse_amount
from costlab.core.metrics import METRICS, PREDICTED, Metric, metric_named
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.model import BUDGET, NOT_CHECKED, Finding, RuleVerdict
from costlab.latency.device import Device
from costlab.latency.prediction import Prediction

MODULES_NAMED = 3  # in a message


def parse_budgets(values: Mapping[str, int | str]) -> dict[str, Amount]:
    """Read budgets such as `{"mult_adds": "320 M", "params": 3_505_000}`.

    Args:
        values: the largest value of each metric: a whole number, or a text that `parse_amount` reads.

    Returns:
        The amounts by the keys of their metrics.

    Raises:
        CostlabError: unknown metric, it takes no budget, or the amount is not one of it.
    """
    budgets = {}
    for name, value in values.items():
        metric = metric_named(name)
        if not metric.budgetable:
            names = ", ".join(key for key, each in METRICS.items() if each.budgetable)
            raise CostlabError(f"{metric.key} takes no budget; choose one of {names}")
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            example = "a string such as '5 ms' or" if metric.unit == "s" else "a whole number or a string such as"
            raise CostlabError(f"the budget of {metric.key} must be {example} '+1%', got {value!r}")
        budgets[metric.key] = parse_amount(str(value), metric.key)
    return budgets


def check_budgets(
    profile: Profile,
    budgets: Mapping[str, Amount],
    base: Profile | None = None,
    device: Device | None = None,
    fusion: str = "none",
    no_base: str = "",
) -> tuple[list[Finding], list[RuleVerdict]]:
    """Check a profile against budgets.

    Args:
        budgets: what `parse_budgets` returns.
        base: the profile that changes such as `+1%` count from.
        device, fusion: what `predicted_seconds` are predicted for.
        no_base: how verdicts on changes without a base end, which are not checked; "": they are an error.

    Returns:
        A finding for each broken budget, and a verdict for each budget: "holds", "broken" or "not checked".

    Raises:
        CostlabError: a budget is a change and has no base, or is on `predicted_seconds` without a device.
    """
    if PREDICTED not in budgets:
        device = None
    elif device is None:
        raise CostlabError(
            f"a budget on {PREDICTED} needs a device: set `device` in [tool.costlab.lint], or pass --device"
        )
    comparison = None if base is None else compare(base, profile, device=device, fusion=fusion)
    prediction = comparison.head_latency if comparison else predicted(profile, device, fusion)
    findings, verdicts = [], []
    for key, budget in budgets.items():
        metric = METRICS[key]
        value = total_of(profile, prediction, key)
        before = comparison.totals(key)[0] if comparison else None
        if value is None:
            raise CostlabError(f"{key} is not known of {profile.name}: only a training step has it (--mode step)")
        rule = f"{BUDGET}{key}"
        if no_base and budget.relative and before is None:
            detail = f"no base for {budget.text}{no_base}"
            verdicts.append(RuleVerdict(profile.name, rule, NOT_CHECKED, None, value, None, detail))
            continue
        try:
            limit = budget.applied_to(before)
        except CostlabError as error:
            raise CostlabError(f"the budget {key} {error}") from None
        broken = value > limit
        detail = f"{budget.text} from the base" if budget.relative else ""
        shown_limit = float(limit) if metric.unit == "s" else math.floor(limit)
        verdict = "broken" if broken else "holds"
        verdicts.append(RuleVerdict(profile.name, rule, verdict, None, value, shown_limit, detail))
        if broken:
            modules = grown_modules(metric, comparison) or largest_modules(metric, profile, prediction)
            findings.append(finding(profile, metric, budget, value, limit, before, modules))
    return findings, verdicts


def predicted(profile: Profile, device: Device | None, fusion: str) -> Prediction | None:
    """The predicted latency; None without a device."""
    if device is None:
        return None
    from costlab.latency._predict import predict  # numpy, which nothing else here needs

    return predict(profile, device, fusion=fusion)


def grown_modules(metric: Metric, comparison: Comparison | None) -> str:
    """The modules that grew most, as the end of a message; "" if none did, or without a base."""
    pairs = comparison.grown(metric.key, MODULES_NAMED) if comparison else []
    modules = ", ".join(f"{pair.name or ROOT} {metric.change(pair.change(metric.key))}" for pair in pairs)
    return f"; grew most: {modules}" if modules else ""


def largest_modules(metric: Metric, profile: Profile, prediction: Prediction | None) -> str:
    """The most expensive modules, as the end of a message; "" if modules have no part in the metric."""
    if not metric.per_module:
        return ""
    if metric.key == PREDICTED and prediction:
        costs = seconds_by_module(profile, prediction)
    else:
        costs = {path: getattr(row, metric.key) for path, row in profile.by_module().items()}
    largest = sorted(costs.items(), key=lambda item: -item[1])[:MODULES_NAMED]
    return "; largest: " + ", ".join(f"{path or ROOT} {metric.format(cost)}" for path, cost in largest)


def finding(
    profile: Profile, metric: Metric, budget: Amount, value: float, limit: Fraction, before: float | None, modules: str
) -> Finding:
    """The finding of a broken budget; `modules` ends its message."""
    excess = float(value - limit) if metric.unit == "s" else math.ceil(value - limit)
    change = "" if before is None else f" ({metric.format(before)} in the base, {units.ratio(before, value)})"
    return Finding(
        rule=f"{BUDGET}{metric.key}",
        severity="error",
        model=profile.name,
        message=f"{metric.key} {metric.format(value)}{change}, {metric.format(excess)} over the budget of {budget.text}"
        f"{modules}",
        excess_memory_access=math.ceil(excess) if metric.key == "memory_access" else None,
        excess_bytes=math.ceil(excess) if metric.key == "bytes_accessed" else None,
        predicted_seconds_saved=excess if metric.key == PREDICTED else None,
    )
