"""A lint run as Markdown, for pull requests and step summaries."""

from __future__ import annotations

from costlab.ci.lint_run import LintRun
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting.escaping import markdown_code, markdown_text
from costlab.reports import first
from costlab.reports.findings import findings_table, heading, sentence, statistics_table, tally, verdict_table, verdicts


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
        counts = markdown_text(tally(model.result, model.accepted))
        lines += [f"{counts}, {heading(model.result)}", ""]
        if model.result.what_ifs:
            lines += [*header.markdown(first.facts(model.result.what_ifs)), ""]
        lines += [tables.markdown(verdict_table(model.result)), ""]
        if not statistics and (shown := findings_table(model.result, top)):
            lines += [tables.markdown(shown), ""]
    if statistics and run.findings:
        lines += [tables.markdown(statistics_table(run)), ""]
    lines += [f"**{markdown_text(line)}**\n" for line in verdicts(run)]
    return "\n".join(lines)
