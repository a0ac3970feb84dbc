"""Findings and verdicts as text, for every report of `lint`."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from costlab.ci.lint_run import SEVERITIES, LintRun
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.module_paths import ROOT
from costlab.formatting.table import Column, Table
from costlab.guidelines.model import BUDGET, NOT_CHECKED, Finding, FindingGroup, LintResult, RuleVerdict, group_findings
from costlab.guidelines.registry import GUIDELINES, rule_label
from costlab.latency.prediction import RUNS
from costlab.latency.verified import mark

NANOSECOND = 1e-9
FUSIONS = {
    "none": "nothing fused",
    "bn": "batch norm folded",
    "pointwise": "batch norm folded, element-wise operators fused",
}


def heading(result: LintResult) -> str:
    """What is checked, and what seconds are of: `checked with batch norm folded, predicted as traced on rtx3090`."""
    checked = f"checked with {FUSIONS[result.fusion]}"
    predicted = f", predicted for {result.device}, {RUNS[result.predicted_fusion]}{mark(result.verified)}"
    return f"{checked}{predicted if result.device else ''}"


def location(group: FindingGroup) -> str:
    """`layer{1-3}.0.conv (3 times)`."""
    times = len(group.findings)
    return f"{visible(group.path) or ROOT}{f' ({times} times)' if times > 1 else ''}"


def top_groups(findings: Iterable[Finding], top: int | None) -> tuple[list[FindingGroup], str]:
    """The first `top` groups (None: all of them), and a line that says how many findings are left out, or ""."""
    groups = group_findings(findings)
    shown = groups if top is None else groups[:top]
    rest = sum(len(group.findings) for group in groups[len(shown) :])
    return shown, f"{rest} smaller finding{'s' if rest > 1 else ''} not shown" if rest else ""


def measured_text(value: float | None, like: float | None = None) -> str:
    """What a guideline measures: a whole number as it is, anything else as a percentage."""
    if value is None:
        return units.UNKNOWN
    return f"{value:g}" if isinstance(value if like is None else like, int) else units.percent(value)


def savings(findings: Sequence[Finding], device: str | None) -> str:
    """What a group of findings saves: `saves 10.20 us on rtx3090, 1.204 M elements, 4.817 MB, 2 launches`."""
    seconds = [f.predicted_seconds_saved for f in findings if f.predicted_seconds_saved is not None]
    unknown = f"not priced: {findings[0].unpriced}" if device and findings[0].unpriced else ""
    time, traffic = time_saved(sum(seconds), device) if device and seconds else unknown, traffic_saved(findings)
    if time.startswith("saves") and traffic.startswith("saves "):
        return f"{time}, {traffic.removeprefix('saves ')}"
    if findings[0].excess_memory_access is None and time:
        return time
    return "; ".join(filter(None, (time, traffic)))


def time_saved(seconds: float, device: str) -> str:
    """`saves 10.20 us on rtx3090`, or `would cost` if following the advice is slower there."""
    amount = units.seconds(abs(seconds)) if abs(seconds) >= NANOSECOND else "less than 1 ns"
    if seconds < 0:
        return f"would cost {amount} on {device}"
    return f"saves {amount if seconds else 'no time'} on {device}"


def traffic_saved(findings: Sequence[Finding]) -> str:
    """`saves 1.204 M elements, 4.817 MB, 2 launches`, or `moves` if the advice does not save all of it."""
    first, times = findings[0], len(findings)
    if first.kept_bytes is not None:
        return f"keeps {units.size(sum(f.kept_bytes or 0 for f in findings))} less for the backward pass"
    if first.excess_memory_access is None or first.excess_bytes is None:
        return "no price in elements" if first.excess_launches is not None else "price unknown"
    verb = GUIDELINES[first.rule].price if first.rule in GUIDELINES else "saves"
    parts = [f"{units.short(first.excess_memory_access * times)} elements", units.size(first.excess_bytes * times)]
    launches = (first.excess_launches or 0) * times
    if launches:
        parts.append(f"{units.short(launches)} launch{'es' if launches > 1 else ''}")
    return f"{verb} {', '.join(parts)}" if first.excess_memory_access or launches else f"{verb} no traffic"


def group_sentence(group: FindingGroup, device: str | None) -> str:
    """What a group of findings says, except where it is: message, savings and advice."""
    first = group.first
    parts = [first.message, savings(group.findings, device) if first.from_guideline else ""]
    return "; ".join(filter(None, [*parts, instead(first)]))


def instead(finding: Finding) -> str:
    """The advice; "" if there is none, or if following it would save no time on the device."""
    return f"instead: {finding.advice}" if finding.advice and finding.helps else ""


def sentence(finding: Finding, device: str | None = None) -> str:
    """What one finding says, except where it is, in one line."""
    parts = [finding.message]
    prices: list[object] = [finding.excess_memory_access, finding.excess_launches, finding.kept_bytes]
    prices += [finding.predicted_seconds_saved, finding.unpriced] if device and finding.from_guideline else []
    if any(price is not None for price in prices):
        parts.append(savings([finding], device))
    return visible("; ".join(filter(None, [*parts, instead(finding)])))


def located_sentence(finding: Finding, device: str | None, model: bool = False) -> str:
    """The module of a finding, after its model if asked for, and what it says."""
    return visible(f"{f'{finding.model} ' if model else ''}{finding.module or ROOT}: ") + sentence(finding, device)


def verdict_rows(result: LintResult) -> Iterator[tuple[RuleVerdict, tuple[str, ...]]]:
    """Each verdict with its rule, word, measured value, limit, number of findings and detail."""
    counts = Counter(f.rule for f in result.findings)
    for v in result.verdicts:
        if v.rule.startswith(BUDGET):
            measured, limit = (units.quantity(n, units.unit_of(v.rule)) for n in (v.value, v.limit))
        else:
            measured, limit = measured_text(v.value), measured_text(v.limit, like=v.value)
        count = counts[v.rule]
        cells = rule_label(v.rule), verdict_word(v, count), measured, limit, units.exact(count), v.detail
        yield v, tuple(map(visible, cells))


def verdict_word(verdict: RuleVerdict, findings: int) -> str:
    """A verdict in a word or two. A guideline without a limit cannot be broken: it has notes, or "-"."""
    if verdict.limit is None and verdict.verdict != NOT_CHECKED:
        return "notes" if findings else "-"
    return "BROKEN" if verdict.verdict == "broken" else verdict.verdict


def tally(result: LintResult, accepted: int = 0) -> str:
    """How many findings a model has, by severity; `accepted` findings are in the baseline."""
    if result.failed:
        return f"error: {sentence(result.findings[0])}"
    severities = [f.severity for f in result.findings]
    counts = {severity: severities.count(severity) for severity in reversed(SEVERITIES)}
    parts = [f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counts.items() if n] or ["no findings"]
    return ", ".join([*parts, *([f"{accepted} in the baseline"] if accepted else [])])


def verdicts(run: LintRun) -> list[str]:
    """How a run went, a line each for budgets not checked, models that failed checks, and those not analysed."""
    named = {model.result.model: model.result for model in run.models}
    broken = {name: failed_rules(run, result) for name, result in named.items()}
    failing = [f"{name} ({', '.join(broken[name])})" for name, r in named.items() if broken[name] and not r.failed]
    lost = [name for name, result in named.items() if result.failed]
    lines = [f"{len(failing)} of {len(named)} {models(named)} failed checks: {', '.join(failing)}"] if failing else []
    if lost:
        lines.append(f"{len(lost)} of {len(named)} {models(named)} could not be analysed: {', '.join(lost)}")
    return [visible(line) for line in (*unchecked(named.values()), *(lines or ["All checks passed."]))]


def unchecked(results: Iterable[LintResult]) -> list[str]:
    """The budgets that were not checked, and why, in one line; nothing if all were."""
    details = [v.detail for result in results for v in result.verdicts if v.verdict == NOT_CHECKED]
    count = f"{len(details)} budget{'s' * (len(details) > 1)} not checked"
    return [f"{count}: {'; '.join(dict.fromkeys(details))}"] if details else []


def failed_rules(run: LintRun, result: LintResult) -> list[str]:
    """The rules with findings that fail a run, in the order of the verdicts."""
    failing = {f.rule for f in result.findings if run.fails(f)}
    return [verdict.rule for verdict in result.verdicts if verdict.rule in failing]


def models(named: Collection[str]) -> str:
    """`model` or `models`."""
    return "model" if len(named) == 1 else "models"


def verdict_table(result: LintResult) -> Table:
    """One row for each rule that has a limit or findings, and for each budget."""
    found = {f.rule for f in result.findings}
    rows = [
        (v, cells)
        for v, cells in verdict_rows(result)
        if v.limit is not None or v.rule in found or v.verdict == NOT_CHECKED
    ]
    rows = rows or list(verdict_rows(result))
    verdicts = [verdict for verdict, _ in rows]
    columns = list(zip(*(cells for _, cells in rows), strict=True)) or [()] * 6  # no rule was checked
    rules, words, measured, limits, counts, details = columns
    broken = ["alarm" if verdict.verdict == "broken" else "" for verdict in verdicts]
    quiet = ["quiet"] * len(verdicts)
    return Table(
        [
            Column("guideline", rules, left=True, fit="wrap", least=20),
            Column("verdict", words, broken, left=True),
            Column("measured", measured),
            Column("limit", limits, quiet, drop=2),
            Column("findings", counts, drop=2),
            Column("", details, quiet, left=True, drop=1, fit="wrap", least=24),
        ]
    )


def findings_table(result: LintResult, top: int | None) -> Table | None:
    """The `top` most expensive groups of findings, and a row for the rest; None without findings."""
    groups, rest = top_groups(result.findings, top)
    rows = [(g.first.severity, g.first.rule, location(g), group_sentence(g, result.device)) for g in groups]
    if rest:
        rows.append(("", "", rest, ""))
    if not rows:
        return None
    severities, rules, locations, sentences = zip(*rows, strict=True)
    return Table(
        [
            Column("", severities, left=True),
            Column("rule", rules, left=True),
            Column("module", locations, left=True, code=True),
            Column("finding", sentences, left=True),
        ],
        rest=len(rows) - len(groups),
    )


def statistics_table(run: LintRun) -> Table:
    """The rules with findings; seconds only with a device."""
    rules = {rule: found for rule, found in run.statistics.items() if found.findings}
    columns = [
        Column("rule", [*map(rule_label, rules)], left=True, fit="wrap", least=20),
        Column("findings", [units.exact(found.findings) for found in rules.values()]),
        Column("elements", [units.short(found.excess_memory_access) for found in rules.values()]),
    ]
    if run.device:
        columns.append(Column("seconds", [units.seconds(f.predicted_seconds_saved) for f in rules.values()]))
    return Table(columns)
