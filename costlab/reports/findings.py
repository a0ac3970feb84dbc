"""What the linter found, as text, JSON and Markdown: a verdict for each rule, then what breaks it, dearest first."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from costlab._version import __version__
from costlab.ci.lint_run import BUDGET, SEVERITIES, Linted, Outcome, price
from costlab.formatting import units
from costlab.formatting.escaping import markdown_code, markdown_text, visible
from costlab.formatting.grids import blank
from costlab.guidelines.model import Finding, Guideline, Verdict
from costlab.guidelines.registry import GUIDELINES
from costlab.reports.columns import ROOT

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim", "broken": "bold red", "holds": ""}
FUSIONS = {"none": "nothing fused", "bn": "batch norm folded", "pointwise": "batch norm folded, element-wise joined"}
ROWS = 20  # entries shown by default
INDENT = 4
NUMBER = re.compile(r"[0-9]{1,9}")


class Entry(NamedTuple):
    """Findings that differ only in where they are: in the repetitions of a block."""

    where: str
    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        return self.findings[0]


def entries(findings: Iterable[Finding]) -> list[Entry]:
    """Findings with those of repeated blocks together, dearest first."""
    alike: dict[tuple[Any, ...], list[Finding]] = {}
    for f in findings:
        prices = f.excess_memory_access, f.excess_bytes, f.excess_launches
        alike.setdefault((f.model, f.rule, f.severity, f.message, f.advice, prices, pattern(f.module)), []).append(f)
    grouped = [Entry(place([f.module for f in group]), tuple(group)) for group in alike.values()]
    return sorted(grouped, key=lambda e: price(*e.findings), reverse=True)


def pattern(path: str) -> str:
    return NUMBER.sub("*", path)


def place(paths: Sequence[str]) -> str:
    """Paths that differ in numbers as one: `layer{1-3}.0.conv`."""
    slots = iter([several(set(column)) for column in zip(*map(NUMBER.findall, paths), strict=True)])
    return NUMBER.sub(lambda _: next(slots), paths[0])


def several(numbers: set[str]) -> str:
    """`7` for one number, `{1-3,7}` for more."""
    if len(numbers) == 1:
        return next(iter(numbers))
    runs: list[list[int]] = []
    for number in sorted(map(int, numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return "{" + ",".join("-".join(map(str, run)) for run in runs) + "}"


def measure(value: float | None, like: float | None = None) -> str:
    """What a guideline looks at: whole numbers are counted, all others are shares."""
    if value is None:
        return units.UNKNOWN
    return f"{value:g}" if isinstance(value if like is None else like, int) else units.percent(value)


def savings(findings: Sequence[Finding], device: str | None) -> str:
    """What findings of one price save together: `saves 10.20 us on rtx3090, 1.204 M elements, 4.817 MB, 2 launches`."""
    seconds = [f.predicted_seconds_saved for f in findings if f.predicted_seconds_saved is not None]
    time, traffic = predicted(sum(seconds), device) if device and seconds else "", moved(findings)
    if time.startswith("saves") and traffic.startswith("saves "):
        return f"{time}, {traffic.removeprefix('saves ')}"
    if findings[0].excess_memory_access is None and time:
        return time
    return "; ".join(filter(None, (time, traffic)))


def predicted(seconds: float, device: str) -> str:
    """`saves 10.20 us on rtx3090`, or `costs` where the advice is no good there."""
    return f"{'costs' if seconds < 0 else 'saves'} {units.seconds(abs(seconds)) if seconds else 'no time'} on {device}"


def moved(findings: Sequence[Finding]) -> str:
    """`saves 1.204 M elements, 4.817 MB, 2 launches`."""
    first, times = findings[0], len(findings)
    if first.excess_memory_access is None or first.excess_bytes is None:
        return "no price in elements" if first.excess_launches is not None else "price unknown"
    parts = [f"{units.short(first.excess_memory_access * times)} elements", units.size(first.excess_bytes * times)]
    launches = (first.excess_launches or 0) * times
    if launches:
        parts.append(f"{units.short(launches)} launch{'es' if launches > 1 else ''}")
    return "saves " + ", ".join(parts) if first.excess_memory_access or launches else "saves no traffic"


def label(rule: str) -> str:
    """A rule by code and name: `G1 equal-channel-width`."""
    return f"{rule} {GUIDELINES[rule].name}" if rule in GUIDELINES else rule


def sentence(finding: Finding, device: str | None = None) -> str:
    """All that a finding says, where it is apart, in one line; with the device that it was priced for."""
    parts = [finding.message]
    if finding.excess_memory_access is not None or finding.excess_launches is not None:
        parts.append(savings([finding], device))
    if finding.advice:
        parts.append(f"instead: {finding.advice}")
    return visible("; ".join(parts))


def text(outcome: Outcome, top: int | None, width: int, ascii_only: bool = False, statistics: bool = False) -> Group:
    """Of each model verdicts, then the dearest findings; or how many findings of which rule in all."""
    parts: list[RenderableType] = []
    for linted in outcome.models:
        parts += [Text()] * bool(parts)
        if linted.failed:
            parts.append(
                Text(f"error {visible(linted.title)}: {sentence(linted.result.findings[0])}", style="bold red")
            )
        else:
            parts += model_text(linted, None if statistics else top, width, ascii_only, with_findings=not statistics)
    if statistics and outcome.findings:
        parts += [Text(), statistics_table(outcome, ascii_only)]
    return Group(*parts)


def model_text(
    linted: Linted, top: int | None, width: int, ascii_only: bool, with_findings: bool
) -> list[RenderableType]:
    """The verdicts on a model and the dearest findings."""
    every = entries(linted.result.findings) if with_findings else []
    shown = every if top is None else every[:top]
    body: list[RenderableType] = []
    for entry in shown:
        first = entry.first
        head = Text(f"{first.severity} {first.rule} ", style=STYLES[first.severity])
        cost = "" if first.rule.startswith(BUDGET) else f": {savings(entry.findings, linted.result.device)}"
        head.append(f"{located(entry)}{cost}", style="default")
        body += [Text(), head, indented(first.message)]
        if first.advice:
            body.append(indented(f"instead: {first.advice}", "dim"))
    rest = sum(len(e.findings) for e in every[len(shown) :])
    if rest:
        body += [Text(), Text(f"and {rest} cheaper findings (--top 0 shows all)", style="dim")]
    if linted.accepted:
        body += [Text(), Text(in_the_baseline(linted), style="dim")]
    return [
        Text(f"{linted.title}, {FUSIONS[linted.result.fusion]}", style="bold"),
        Text(),
        verdict_table(linted, width, ascii_only),
        *body,
    ]


def indented(words: str, style: str = "") -> Padding:
    return Padding(Text(visible(words), style=style), (0, 0, 0, INDENT), expand=False)


def located(entry: Entry) -> str:
    times = len(entry.findings)
    return f"{visible(entry.where) or ROOT}{f' ({times} times)' if times > 1 else ''}"


def in_the_baseline(linted: Linted) -> str:
    return f"{linted.accepted} in the baseline"


def verdict_table(linted: Linted, width: int, ascii_only: bool) -> Grid:
    """One row a rule."""
    table = blank(ascii_only)
    table.add_column("guideline")
    table.add_column("verdict", no_wrap=True)
    for name in ("measured", "limit", "findings") if width >= 70 else ("measured",):
        table.add_column(name, justify="right", no_wrap=True)
    if width >= 90:
        table.add_column("")
    kept = 6 if width >= 90 else 5 if width >= 70 else 3
    for v, cells in verdict_rows(linted):
        styles = "", STYLES[v.verdict], "", "dim", "", "dim"
        table.add_row(*[Text(cell, style=style) for cell, style in zip(cells, styles, strict=True)][:kept])
    return table


def verdict_rows(linted: Linted) -> Iterator[tuple[Verdict, tuple[str, ...]]]:
    """Rule, verdict, measure, limit, number of findings and detail."""
    counts = Counter(f.rule for f in linted.result.findings)
    for v in linted.result.verdicts:
        if v.rule.startswith(BUDGET):
            measured, limit = (units.quantity(n, units.unit_of(v.rule)) for n in (v.value, v.limit))
        else:
            measured, limit = measure(v.value), measure(v.limit, like=v.value)
        count = counts[v.rule]
        cells = label(v.rule), told(v, count), measured, limit, units.exact(count), v.detail
        yield v, tuple(map(visible, cells))


def told(verdict: Verdict, findings: int) -> str:
    """A verdict in one word: a guideline without a limit is neither broken nor kept."""
    if verdict.limit is None:
        return "notes" if findings else "-"
    return "BROKEN" if verdict.verdict == "broken" else verdict.verdict


def statistics_table(outcome: Outcome, ascii_only: bool) -> Grid:
    """One row a rule that found something; seconds where they were asked for."""
    table = blank(ascii_only)
    table.add_column("rule")
    for name in statistics_heads(outcome):
        table.add_column(name, justify="right", no_wrap=True)
    for cells in statistics_rows(outcome):
        table.add_row(*map(Text, cells))
    return table


def statistics_heads(outcome: Outcome) -> list[str]:
    return ["findings", "elements", *(["seconds"] if outcome.device else [])]


def statistics_rows(outcome: Outcome) -> Iterator[list[str]]:
    for rule, found in outcome.statistics.items():
        if found.findings:
            cells = [visible(label(rule)), units.exact(found.findings), units.short(found.excess_memory_access)]
            yield cells + [units.seconds(found.predicted_seconds_saved)] * bool(outcome.device)


def verdict_line(linted: Linted) -> str:
    """One line for stderr."""
    if linted.failed:
        return f"error: {sentence(linted.result.findings[0])}"
    severities = [f.severity for f in linted.result.findings]
    counts = {severity: severities.count(severity) for severity in reversed(SEVERITIES)}
    parts = [f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counts.items() if n] or ["no findings"]
    if linted.accepted:
        parts.append(in_the_baseline(linted))
    tally, broken = ", ".join(parts), ", ".join(linted.result.broken)
    return f"broken: {broken} ({tally})" if broken else f"nothing broken ({tally})"


def document(outcome: Outcome) -> str:
    """Findings one by one, as JSON of schema version 1; what is not known is null."""
    content = {
        "schema_version": 1,
        "costlab": __version__,
        "fusion": outcome.fusion,
        "device": outcome.device,
        "findings": [asdict(finding) for finding in outcome.findings],
        "verdicts": [asdict(verdict) for linted in outcome.models for verdict in linted.result.verdicts],
        "summary": outcome.summary,
        "statistics": {rule: found._asdict() for rule, found in outcome.statistics.items()},
        "baseline": {
            "accepted": sum(linted.accepted for linted in outcome.models),
            "stale": [key._asdict() for key in outcome.stale],
        },
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def markdown(outcome: Outcome, top: int | None, statistics: bool = False) -> str:
    """The same as the text, for pull requests and step summaries."""
    lines: list[str] = []
    for linted in outcome.models:
        lines += [f"### {markdown_code(linted.title)}", ""]
        if linted.failed:
            lines += [f"**error:** {markdown_text(sentence(linted.result.findings[0]))}", ""]
            continue
        lines += [f"{markdown_text(verdict_line(linted))}, {FUSIONS[linted.result.fusion]}", ""]
        lines += ["| guideline | verdict | measured | limit | findings | |", "| --- | --- | ---: | ---: | ---: | --- |"]
        lines += [f"| {' | '.join(map(markdown_text, cells))} |" for _, cells in verdict_rows(linted)]
        lines += ["", *([] if statistics else findings_markdown(linted, top))]
    if statistics and outcome.findings:
        heads = statistics_heads(outcome)
        lines += [f"| rule | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
        lines += [f"| {' | '.join(map(markdown_text, cells))} |" for cells in statistics_rows(outcome)]
        lines.append("")
    return "\n".join(lines)


def findings_markdown(linted: Linted, top: int | None) -> Iterator[str]:
    """A table of the dearest findings."""
    every = entries(linted.result.findings)
    shown = every if top is None else every[:top]
    if shown:
        yield from ("| | rule | module | finding |", "| --- | --- | --- | --- |")
    for entry in shown:
        first, times = entry.first, len(entry.findings)
        where = markdown_code(entry.where or ROOT) + (f" ({times} times)" if times > 1 else "")
        cost = "" if first.rule.startswith(BUDGET) else f"; {savings(entry.findings, linted.result.device)}"
        advice = f"; instead: {first.advice}" if first.advice else ""
        said = markdown_text(f"{first.message}{cost}{advice}")
        yield f"| {first.severity} | {markdown_text(first.rule)} | {where} | {said} |"
    rest = sum(len(e.findings) for e in every[len(shown) :])
    if rest:
        yield from ("", f"and {rest} cheaper findings")
    if shown:
        yield ""


def pages(guidelines: Sequence[Guideline]) -> str:
    """Guidelines in full as text: what they are, then networks that break them and networks that keep them."""
    return "\n\n".join("\n".join(page(guideline)) for guideline in guidelines) + "\n"


def page(guideline: Guideline) -> list[str]:
    """One guideline as Markdown, the lines of its page and its examples."""
    lines = [f"## {guideline.code} {guideline.name}", "", *guideline.page.strip().splitlines()]
    for label, examples in (("Bad", guideline.bad), ("Good", guideline.good)):
        for example in examples:
            lines += ["", f"{label}: {example.title}", "", "```python", *example.code.strip().splitlines(), "```"]
    return lines


def guidelines_document(guidelines: Sequence[Guideline]) -> str:
    """Guidelines in full as JSON of schema version 1."""
    content = {
        "schema_version": 1,
        "rules": [
            {
                "code": g.code,
                "name": g.name,
                "summary": g.summary,
                "page": g.page.strip(),
                "limit": g.limit,
                "severity": g.severity if g.limit is not None else "note",
                "bad": [asdict(example) for example in g.bad],
                "good": [asdict(example) for example in g.good],
            }
            for g in guidelines
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
