"""A lint run as GitHub Actions shows it on a pull request: the text report in the log, then annotations."""

import secrets

from costlab.ci.lint_run import LintRun
from costlab.formatting.escaping import visible
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.model import FindingGroup, group_findings
from costlab.reports.findings import group_sentence

LEVELS = {"error": "error", "warning": "warning", "note": "notice"}
MAX_ANNOTATIONS = 10  # of each level: GitHub shows no more for one step


def report(run: LintRun, text: str) -> str:
    """The text report, in which the runner executes no commands, and annotations of the most expensive findings.

    Findings in repeated blocks are one annotation. Syntax: GitHub's documentation, "Workflow commands".
    """
    token = secrets.token_hex(16)
    lines = [f"::stop-commands::{token}", *text.splitlines(), f"::{token}::"]
    every = group_findings(run.findings)
    for severity, level in LEVELS.items():
        groups = [group for group in every if group.first.severity == severity]
        lines += [annotation(run, group, level) for group in groups[:MAX_ANNOTATIONS]]
        rest = sum(len(group.findings) for group in groups[MAX_ANNOTATIONS:])
        if rest:
            lines.append(f"{rest} more {severity}{'s' if rest > 1 else ''}; the text above has all of them")
    return "\n".join([*lines, ""])


def annotation(run: LintRun, group: FindingGroup, level: str) -> str:
    """One workflow command, on the line of the group's first module."""
    first = group.first
    model = next(model for model in run.models if model.result.model == first.model)
    source = model.source(first.module)
    times = f" ({len(group.findings)} times)" if len(group.findings) > 1 else ""
    title = f"costlab {first.rule}: {first.model} {group.path or ROOT}{times}"
    properties = f"file={property_value(source.file)},line={source.line},title={property_value(title)}"
    return f"::{level} {properties}::{message_value(group_sentence(group, run.device))}"


def message_value(text: str) -> str:
    """Escape the message of a command."""
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def property_value(text: str) -> str:
    """Escape the value of a property of a command."""
    return message_value(text).replace(":", "%3A").replace(",", "%2C")
