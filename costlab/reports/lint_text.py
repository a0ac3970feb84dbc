"""A lint run as text: the verdicts on each model, then its findings, most expensive first."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from costlab.ci.lint_run import LintRun, ModelLint
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting.escaping import visible
from costlab.reports import first
from costlab.reports.findings import (
    heading,
    instead,
    location,
    savings,
    sentence,
    statistics_table,
    top_groups,
    verdict_table,
)

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
INDENT = 4


def report(run: LintRun, top: int | None, width: int, ascii_only: bool = False, statistics: bool = False) -> Group:
    """The report for a terminal.

    Args:
        top: groups of findings to show for each model; None for all of them.
        width: columns of the terminal.
        ascii_only: draw tables without Unicode.
        statistics: show the number of findings of each rule instead of the findings.
    """
    parts: list[RenderableType] = []
    for model in run.models:
        parts += [Text()] * bool(parts)
        if model.result.failed:
            error = f"error {visible(model.title)}: {sentence(model.result.findings[0])}"
            parts.append(Text(error, style="bold red"))
            continue
        parts.append(Text(f"{model.title}, {heading(model.result)}", style="bold"))
        if model.result.what_ifs:
            parts += [Text(), header.text(first.facts(model.result.what_ifs))]
        parts += [Text(), tables.text(verdict_table(model.result), width, ascii_only)]
        parts += [] if statistics else findings_text(model, top)
        if model.accepted:
            parts += [Text(), Text(f"{model.accepted} in the baseline", style="dim")]
    if statistics and run.findings:
        parts += [Text(), tables.text(statistics_table(run), width, ascii_only)]
    return Group(*parts)


def findings_text(model: ModelLint, top: int | None) -> list[RenderableType]:
    """The findings on a model: a line with the place and the savings, then message and advice."""
    groups, rest = top_groups(model.result.findings, top)
    parts: list[RenderableType] = []
    for group in groups:
        found = group.first
        place = model.place(found.module)
        head = Text(f"{visible(place.file)}:{place.line}: " if place else "")
        head.append(f"{found.severity} {found.rule} ", style=STYLES[found.severity])
        cost = f": {savings(group.findings, model.result.device)}" if found.from_guideline else ""
        head.append(f"{location(group)}{cost}", style="default")
        parts += [Text(), head, indented(found.message)]
        if advice := instead(found):
            parts.append(indented(advice, "dim"))
    if rest:
        parts += [Text(), Text(f"{rest} (--top 0 shows all)", style="dim")]
    return parts


def indented(text: str, style: str = "") -> Padding:
    """A paragraph below the head of a finding."""
    return Padding(Text(visible(text), style=style), (0, 0, 0, INDENT), expand=False)
