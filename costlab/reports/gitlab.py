"""A lint run as a GitLab Code Quality report: the subset of Code Climate's format that GitLab documents."""

import json

from costlab.ci.lint_run import LintRun
from costlab.formatting.escaping import visible
from costlab.reports.findings import located_sentence

SEVERITIES = {"note": "info", "warning": "major", "error": "critical"}


def report(run: LintRun) -> str:
    """The document: one object for each finding, with its own fingerprint."""
    content = [
        {
            "description": located_sentence(finding, run.device, model=True),
            "check_name": visible(finding.rule),
            "fingerprint": fingerprint,
            "severity": SEVERITIES[finding.severity],
            "location": {"path": visible(source.file), "lines": {"begin": source.line}},
        }
        for model in run.models
        for finding, source, fingerprint in model.located_findings()
    ]
    return json.dumps(content, indent=1) + "\n"
