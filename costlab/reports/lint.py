"""A lint run as text, Markdown and JSON: the verdicts on each model, then its findings, most expensive first."""

import json
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from costlab._version import __version__
from costlab.ci.lint_run import LintRun, ModelLint
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting.escaping import markdown_code, markdown_text, visible
from costlab.reports.findings import (
    findings_table,
    heading,
    instead,
    location,
    savings,
    sentence,
    statistics_table,
    tally,
    top_groups,
    verdict_table,
    verdicts,
)
from costlab.reports.header import what_first

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
INDENT = 4


def text(run: LintRun, top: int | None, width: int, ascii_only: bool = False, statistics: bool = False) -> Group:
    """The report for a terminal: `top` groups of findings of each model, or only the numbers for each rule."""
    parts: list[RenderableType] = []
    for model in run.models:
        parts += [Text()] * bool(parts)
        if model.result.failed:
            error = f"error {visible(model.title)}: {sentence(model.result.findings[0])}"
            parts.append(Text(error, style="bold red"))
            continue
        parts.append(Text(f"{model.title}, {heading(model.result)}", style="bold"))
        if model.result.what_ifs:
            parts += [Text(), header.text(what_first(model.result.what_ifs))]
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
        first = "" if model.result.device else "; --device NAME says what to do first"
        parts += [Text(), Text(f"{rest} (--top 0 shows all{first})", style="dim")]
    return parts


def indented(words: str, style: str = "") -> Padding:
    """A paragraph below the head of a finding."""
    return Padding(Text(visible(words), style=style), (0, 0, 0, INDENT), expand=False)


def markdown(run: LintRun, top: int | None, statistics: bool = False) -> str:
    """The same as the text report."""
    lines: list[str] = []
    for model in run.models:
        lines += [f"### {markdown_code(model.title)}", ""]
        if model.result.failed:
            lines += [f"**error:** {markdown_text(sentence(model.result.findings[0]))}", ""]
            continue
        counts = markdown_text(tally(model.result, model.accepted))
        lines += [f"{counts}, {heading(model.result)}", ""]
        if model.result.what_ifs:
            lines += [*header.markdown(what_first(model.result.what_ifs)), ""]
        lines += [tables.markdown(verdict_table(model.result)), ""]
        if not statistics and (shown := findings_table(model.result, top)):
            lines += [tables.markdown(shown), ""]
    if statistics and run.findings:
        lines += [tables.markdown(statistics_table(run)), ""]
    lines += [f"**{markdown_text(line)}**\n" for line in verdicts(run)]
    return "\n".join(lines)


def document(run: LintRun) -> str:
    """The findings one by one, most expensive first; unknown values are null."""
    content = {
        "schema_version": 1,
        "costlab": __version__,
        "fusion": run.fusion,
        "predicted_fusion": run.predicted_fusion,
        "device": run.device,
        "verified": run.verified if run.device else None,
        "what_ifs": [
            {"model": model.result.model, **model.result.what_ifs.to_dict()}
            for model in run.models
            if model.result.what_ifs
        ],
        "findings": [finding.to_dict() for finding in run.findings],
        "verdicts": [asdict(verdict) for model in run.models for verdict in model.result.verdicts],
        "summary": run.summary,
        "statistics": {rule: found._asdict() for rule, found in run.statistics.items()},
        "baseline": {
            "accepted": sum(model.accepted for model in run.models),
            "stale": [asdict(entry) for entry in run.stale],
        },
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
