"""The findings of guidelines as text and JSON: a verdict for each guideline, then what breaks it, dearest first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from costlab.guidelines.model import Finding, Guideline, LintResult, Verdict
from costlab.reports import units
from costlab.reports.columns import ROOT
from costlab.reports.escaping import visible
from costlab.reports.text import ASCII_BOX, GAP
from costlab.version import __version__

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

    @property
    def excess(self) -> int | None:
        """Elements, of all of them together."""
        each = self.first.excess_memory_access
        return None if each is None else each * len(self.findings)


def entries(findings: Iterable[Finding]) -> list[Entry]:
    """Findings with those of repeated blocks together, dearest first."""
    alike: dict[tuple[Any, ...], list[Finding]] = {}
    for f in findings:
        price = f.excess_memory_access, f.excess_bytes, f.excess_launches
        alike.setdefault((f.rule, f.severity, f.message, f.advice, price, pattern(f.module)), []).append(f)
    grouped = [Entry(place([f.module for f in group]), tuple(group)) for group in alike.values()]
    return sorted(grouped, key=lambda e: -1 if e.excess is None else e.excess, reverse=True)


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


def price(finding: Finding, times: int = 1) -> str:
    """`saves 1.204 M elements, 4.817 MB, 2 launches`."""
    if finding.excess_memory_access is None or finding.excess_bytes is None:
        return "no price in elements" if finding.excess_launches is not None else "price unknown"
    parts = [
        f"{units.short(finding.excess_memory_access * times)} elements",
        units.size(finding.excess_bytes * times),
    ]
    launches = (finding.excess_launches or 0) * times
    if launches:
        parts.append(f"{units.short(launches)} launch{'es' if launches > 1 else ''}")
    return "saves " + ", ".join(parts) if finding.excess_memory_access or launches else "saves no traffic"


def text(
    result: LintResult,
    title: str,
    names: Mapping[str, str],
    top: int | None,
    width: int,
    ascii_only: bool = False,
) -> Group:
    """Verdicts, then the dearest findings; `names` are those of the guidelines by code."""
    every = entries(result.findings)
    shown = every if top is None else every[:top]
    body: list[Text] = []
    for entry in shown:
        first, times = entry.first, len(entry.findings)
        count = f" ({times} times)" if times > 1 else ""
        head = Text(f"{first.severity} {first.rule} ", style=STYLES[first.severity])
        head.append(f"{visible(entry.where) or ROOT}{count}: {price(first, times)}", style="default")
        body += [Text(), head, Text(" " * INDENT + visible(first.message))]
        if first.advice:
            body.append(Text(f"{' ' * INDENT}instead: {visible(first.advice)}", style="dim"))
    rest = sum(len(e.findings) for e in every[len(shown) :])
    if rest:
        body += [Text(), Text(f"and {rest} cheaper findings (--top 0 shows all)", style="dim")]
    return Group(
        Text(f"{title}, {FUSIONS[result.fusion]}", style="bold"),
        Text(),
        verdict_table(result, names, width, ascii_only),
        *body,
    )


def verdict_table(result: LintResult, names: Mapping[str, str], width: int, ascii_only: bool) -> Grid:
    """One row a guideline."""
    grid = Grid(
        box=ASCII_BOX if ascii_only else SIMPLE,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        header_style="dim",
        border_style="dim",
    )
    grid.add_column("guideline")
    grid.add_column("verdict", no_wrap=True)
    for name in ("measured", "limit", "findings") if width >= 70 else ("measured",):
        grid.add_column(name, justify="right", no_wrap=True)
    if width >= 90:
        grid.add_column("")
    counts: dict[str, int] = {}
    for f in result.findings:
        counts[f.rule] = counts.get(f.rule, 0) + 1
    for v in result.verdicts:
        cells = [
            Text(visible(f"{v.rule} {names.get(v.rule, '')}")),
            Text(told(v, counts.get(v.rule, 0)), style=STYLES[v.verdict]),
            Text(measure(v.value)),
            Text(measure(v.limit, like=v.value), style="dim"),
            Text(units.exact(counts.get(v.rule, 0))),
            Text(visible(v.detail), style="dim"),
        ]
        kept = 6 if width >= 90 else 5 if width >= 70 else 3
        grid.add_row(*cells[:kept])
    return grid


def told(verdict: Verdict, findings: int) -> str:
    """A verdict in one word: a guideline without a limit is neither broken nor kept."""
    if verdict.limit is None:
        return "notes" if findings else "-"
    return "BROKEN" if verdict.verdict == "broken" else verdict.verdict


def verdict_line(result: LintResult) -> str:
    """One line for stderr."""
    severities = [f.severity for f in result.findings]
    counts = {severity: severities.count(severity) for severity in ("error", "warning", "note")}
    tally = ", ".join(f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counts.items() if n) or "no findings"
    return f"broken: {', '.join(result.broken)} ({tally})" if result.broken else f"nothing broken ({tally})"


def document(result: LintResult) -> str:
    """Findings one by one, as JSON of schema version 1; what is not known is null."""
    content = {
        "schema_version": 1,
        "costlab": __version__,
        "fusion": result.fusion,
        "findings": [asdict(finding) for finding in result.findings],
        "verdicts": [asdict(verdict) for verdict in result.verdicts],
        "summary": result.summary,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


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
