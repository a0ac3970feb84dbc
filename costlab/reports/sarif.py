"""Findings as SARIF 2.1.0 (OASIS): a run a model, every result on a line of the repository."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from costlab._version import __version__
from costlab.ci.lint_run import BUDGET, FAILURE, Linted, Outcome
from costlab.core.graph import Source
from costlab.formatting.escaping import visible
from costlab.guidelines.model import Finding
from costlab.guidelines.registry import GUIDELINES
from costlab.reports.columns import ROOT
from costlab.reports.findings import sentence

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
OURS = {  # rules that are no guidelines: name, what to do
    BUDGET.rstrip("/"): ("budget", "Keep a total within its budget."),
    FAILURE: ("failure", "Mend the model: it could not be linted."),
}


def report(outcome: Outcome) -> str:
    """The log. `automationDetails.id` keeps the models apart: GitHub takes it for the category of a run."""
    content = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run(linted) for linted in outcome.models]}
    return json.dumps(content, indent=1) + "\n"


def run(linted: Linted) -> dict[str, Any]:
    """One model."""
    found = {described(finding.rule): None for finding in linted.result.findings}
    checked = {described(verdict.rule): None for verdict in linted.result.verdicts}
    ids = list(checked | found)
    notifications = [
        {"level": "error", "message": {"text": sentence(f)}} for f in linted.result.findings if f.rule == FAILURE
    ]
    return {
        "tool": {
            "driver": {"name": "costlab", "semanticVersion": __version__, "rules": [rule(identity) for identity in ids]}
        },
        "automationDetails": {"id": f"costlab/{visible(linted.model)}/"},
        "invocations": [{"executionSuccessful": not linted.failed, "toolExecutionNotifications": notifications}],
        "columnKind": "utf16CodeUnits",
        "results": [
            {
                "ruleId": visible(finding.rule),
                "ruleIndex": ids.index(described(finding.rule)),
                "level": finding.severity,
                "message": {
                    "text": visible(f"{finding.model} {finding.module or ROOT}: ")
                    + sentence(finding, linted.result.device)
                },
                "locations": [location(finding, source)],
                "partialFingerprints": {"primaryLocationLineHash": fingerprint},
                "properties": {
                    "excess_memory_access": finding.excess_memory_access,
                    "excess_bytes": finding.excess_bytes,
                    "excess_launches": finding.excess_launches,
                    "predicted_seconds_saved": finding.predicted_seconds_saved,
                },
            }
            for finding, source, fingerprint in linted.located()
        ],
    }


def described(rule_id: str) -> str:
    """The rule that describes a result: a budget's is that of all budgets, as SARIF has it of hierarchical ids."""
    return rule_id.partition("/")[0]


def rule(identity: str) -> dict[str, Any]:
    """What a rule means; a guideline with its page."""
    guideline = GUIDELINES.get(identity)
    if guideline is None:
        name, summary = OURS.get(identity, (identity, identity))
        page, level = summary, "error"
    else:
        name, summary, page = guideline.name, guideline.summary, guideline.page.strip()
        level = guideline.severity if guideline.limit is not None else "note"
    return {
        "id": identity,
        "name": name,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": summary},
        "help": {"text": page, "markdown": page},
        "defaultConfiguration": {"level": level},
    }


def location(finding: Finding, source: Source) -> dict[str, Any]:
    """A line of the repository, and the module as it is called in the network."""
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(visible(source.file)), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": source.line},
        },
        "logicalLocations": [{"fullyQualifiedName": visible(finding.module) or ROOT, "kind": "module"}],
    }
