"""Findings as GitHub Actions shows them on a pull request: annotations, after the text report for the log."""

from __future__ import annotations

import secrets

from costlab.ci.lint_run import Outcome
from costlab.formatting.escaping import visible
from costlab.reports.columns import ROOT
from costlab.reports.findings import Entry, entries, sentence

LEVELS = {"error": "error", "warning": "warning", "note": "notice"}
MOST = 10  # of each level that GitHub shows for one step


def report(outcome: Outcome, text: str) -> str:
    """`text`, in which the runner takes nothing for a command, and annotations of the dearest findings.

    Findings of repeated blocks are one annotation. Syntax: GitHub's documentation, "Workflow commands".
    """
    token = secrets.token_hex(16)
    lines = [f"::stop-commands::{token}", *text.splitlines(), f"::{token}::"]
    every = entries(outcome.findings)
    for severity, level in LEVELS.items():
        alike = [entry for entry in every if entry.first.severity == severity]
        lines += [annotation(outcome, entry, level) for entry in alike[:MOST]]
        rest = sum(len(entry.findings) for entry in alike[MOST:])
        if rest:
            lines.append(f"{rest} more {severity}{'s' if rest > 1 else ''}, all of them in the text above")
    return "\n".join([*lines, ""])


def annotation(outcome: Outcome, entry: Entry, level: str) -> str:
    """One workflow command on the line of the first module."""
    first = entry.first
    linted = next(linted for linted in outcome.models if linted.model == first.model)
    source = linted.source(first.module)
    times = f" ({len(entry.findings)} times)" if len(entry.findings) > 1 else ""
    title = f"costlab {first.rule}: {first.model} {entry.where or ROOT}{times}"
    properties = f"file={quoted(source.file)},line={source.line},title={quoted(title)}"
    return f"::{level} {properties}::{escaped(sentence(first, outcome.device))}"


def escaped(text: str) -> str:
    """The message of a command."""
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def quoted(text: str) -> str:
    """The value of a property of a command."""
    return escaped(text).replace(":", "%3A").replace(",", "%2C")
