"""A lint run as SARIF 2.1.0 (OASIS): a run for each model, every result on a line of the repository."""

import json
from typing import Any
from urllib.parse import quote

from costlab._version import __version__
from costlab.ci.lint_run import LintRun, ModelLint
from costlab.core.graph import Source
from costlab.formatting.escaping import visible
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.model import BUDGET, FAILURE, Finding
from costlab.guidelines.registry import GUIDELINES
from costlab.reports.findings import located_sentence, sentence

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
OTHER_RULES = {  # rules that are not guidelines: what to do
    BUDGET.rstrip("/"): "Keep a total within its budget.",
    FAILURE: "Fix the model: it could not be linted.",
}
PROPERTIES = ("excess_memory_access", "excess_bytes", "excess_launches", "predicted_seconds_saved")


def report(run: LintRun) -> str:
    """The log."""
    content = {"$schema": SCHEMA, "version": "2.1.0", "runs": [sarif_run(model) for model in run.models]}
    return json.dumps(content, indent=1) + "\n"


def sarif_run(model: ModelLint) -> dict[str, Any]:
    """One model. Its `automationDetails.id` keeps it apart from others: GitHub uses it as the category of a run."""
    result = model.result
    rules = [*(v.rule for v in result.verdicts), *(f.rule for f in result.findings)]
    ids = list(dict.fromkeys(map(rule_id, rules)))
    notifications = [{"level": "error", "message": {"text": sentence(f)}} for f in result.findings if f.rule == FAILURE]
    return {
        "tool": {"driver": {"name": "costlab", "semanticVersion": __version__, "rules": [*map(rule_descriptor, ids)]}},
        "automationDetails": {"id": f"costlab/{visible(result.model)}/"},
        "invocations": [{"executionSuccessful": not result.failed, "toolExecutionNotifications": notifications}],
        "columnKind": "utf16CodeUnits",
        "results": [
            {
                "ruleId": visible(finding.rule),
                "ruleIndex": ids.index(rule_id(finding.rule)),
                "level": finding.severity,
                "message": {"text": located_sentence(finding, result.device, model=True)},
                "locations": [location(finding, source)],
                "partialFingerprints": {"primaryLocationLineHash": fingerprint},
                "properties": {key: getattr(finding, key) for key in PROPERTIES},
            }
            for finding, source, fingerprint in model.located_findings()
        ],
    }


def rule_id(rule: str) -> str:
    """The id of the rule that describes a result: for every budget "budget", as SARIF's hierarchical ids allow."""
    return rule.partition("/")[0]


def rule_descriptor(identity: str) -> dict[str, Any]:
    """What a rule means; for a guideline with its documentation page."""
    guideline = GUIDELINES.get(identity)
    if guideline is None:
        name, level = identity, "error"
        page = summary = OTHER_RULES.get(identity, identity)
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
    """A line of the repository, and the path of the module in the network."""
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(visible(source.file)), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": source.line},
        },
        "logicalLocations": [{"fullyQualifiedName": visible(finding.module) or ROOT, "kind": "module"}],
    }
