"""A lint run as Markdown, for pull requests and step summaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from costlab.ci.lint_run import LintRun, ModelLint
from costlab.formatting.escaping import markdown_code, markdown_text
from costlab.reports.columns import ROOT
from costlab.reports.findings import (
    FUSIONS,
    VERDICT_COLUMNS,
    group_sentence,
    sentence,
    statistics_table,
    top_groups,
    verdict_line,
    verdict_rows,
)


def report(run: LintRun, top: int | None, statistics: bool = False) -> str:
    """The same as the text report.

    Args:
        top: groups of findings to show for each model; None for all of them.
        statistics: show the number of findings of each rule instead of the findings.
    """
    lines: list[str] = []
    for model in run.models:
        lines += [f"### {markdown_code(model.title)}", ""]
        if model.result.failed:
            lines += [f"**error:** {markdown_text(sentence(model.result.findings[0]))}", ""]
            continue
        tally = markdown_text(verdict_line(model.result, model.accepted))
        lines += [f"{tally}, {FUSIONS[model.result.fusion]}", "", row(VERDICT_COLUMNS)]
        lines += ["| --- | --- | ---: | ---: | ---: | --- |"]
        lines += [row([*map(markdown_text, cells)]) for _, cells in verdict_rows(model.result)]
        lines += ["", *([] if statistics else findings_markdown(model, top))]
    if statistics and run.findings:
        head, rows = statistics_table(run)
        lines += [row(head), f"| --- |{' ---: |' * (len(head) - 1)}"]
        lines += [*(row([*map(markdown_text, cells)]) for cells in rows), ""]
    return "\n".join(lines)


def findings_markdown(model: ModelLint, top: int | None) -> Iterator[str]:
    """A table of the most expensive findings."""
    groups, rest = top_groups(model.result.findings, top)
    if groups:
        yield from ("| | rule | module | finding |", "| --- | --- | --- | --- |")
    for group in groups:
        first, times = group.first, len(group.findings)
        where = markdown_code(group.path or ROOT) + (f" ({times} times)" if times > 1 else "")
        said = markdown_text(group_sentence(group, model.result.device))
        yield row([first.severity, markdown_text(first.rule), where, said])
    if rest:
        yield from ("", rest)
    if groups:
        yield ""


def row(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
