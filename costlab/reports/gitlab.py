"""Findings as a GitLab Code Quality report, the subset of Code Climate's format that its documentation lists."""

from __future__ import annotations

import json

from costlab.ci.lint_run import Outcome
from costlab.formatting.escaping import visible
from costlab.reports.columns import ROOT
from costlab.reports.findings import sentence

SEVERITIES = {"note": "info", "warning": "major", "error": "critical"}


def report(outcome: Outcome) -> str:
    """One object a finding, each with a fingerprint of its own."""
    content = [
        {
            "description": visible(f"{finding.model} {finding.module or ROOT}: ") + sentence(finding, outcome.device),
            "check_name": visible(finding.rule),
            "fingerprint": fingerprint,
            "severity": SEVERITIES[finding.severity],
            "location": {"path": visible(source.file), "lines": {"begin": source.line}},
        }
        for linted in outcome.models
        for finding, source, fingerprint in linted.located()
    ]
    return json.dumps(content, indent=1) + "\n"
