"""Findings as JUnit XML: a suite a model, a test a rule, failed where its findings fail the run."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from costlab.ci.lint_run import Linted, Outcome
from costlab.formatting.escaping import visible
from costlab.guidelines.model import Finding
from costlab.reports.columns import ROOT
from costlab.reports.findings import label, sentence


def report(outcome: Outcome) -> str:
    """The document; it fits the schema of Jenkins' xUnit plug-in (junit-10.xsd)."""
    root = Element("testsuites", name="costlab lint")
    for linted in outcome.models:
        root.append(suite(outcome, linted))
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(child.get(total, "0")) for child in root)))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def suite(outcome: Outcome, linted: Linted) -> Element:
    """One model."""
    cases = [case(outcome, linted, v.rule) for v in linted.result.verdicts] or [failed(linted)]
    element = Element("testsuite", name=visible(linted.model), tests=str(len(cases)))
    for total, tag in (("failures", "failure"), ("errors", "error")):
        element.set(total, str(sum(c.find(tag) is not None for c in cases)))
    element.extend(cases)
    return element


def case(outcome: Outcome, linted: Linted, rule: str) -> Element:
    """One rule; findings that do not fail the run are its output."""
    element = Element("testcase", classname=visible(linted.model), name=visible(label(rule)))
    findings = [f for f in linted.result.findings if f.rule == rule]
    failing = [f for f in findings if outcome.fails(f)]
    if failing:
        said = sentence(failing[0], outcome.device) if len(failing) == 1 else f"{len(failing)} findings"
        SubElement(element, "failure", type=failing[0].severity, message=said).text = lines(failing, outcome.device)
    elif findings:
        SubElement(element, "system-out").text = lines(findings, outcome.device)
    return element


def failed(linted: Linted) -> Element:
    """A model that could not be linted."""
    element = Element("testcase", classname=visible(linted.model), name="lint")
    said = "; ".join(sentence(finding) for finding in linted.result.findings)
    if said:
        SubElement(element, "error", type="error", message=said).text = said
    return element


def lines(findings: Sequence[Finding], device: str | None) -> str:
    return "\n".join(visible(f"{f.module or ROOT}: ") + sentence(f, device) for f in findings)
