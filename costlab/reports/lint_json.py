"""A lint run as JSON, schema version 1 (docs/guidelines.md)."""

from __future__ import annotations

import json
from dataclasses import asdict

from costlab._version import __version__
from costlab.ci.lint_run import LintRun


def report(run: LintRun) -> str:
    """The findings one by one, most expensive first; unknown values are null."""
    content = {
        "schema_version": 1,
        "costlab": __version__,
        "fusion": run.fusion,
        "predicted_fusion": run.predicted_fusion,
        "device": run.device,
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
