"""A lint run as JUnit XML: a suite for each model, a test for each rule, which fails if its findings fail the run."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from costlab.ci.lint_run import LintRun, ModelLint
from costlab.formatting.escaping import visible
from costlab.guidelines.model import NOT_CHECKED, RuleVerdict
from costlab.guidelines.registry import rule_label
from costlab.reports.findings import located_sentence, sentence


def report(run: LintRun) -> str:
    """The document, valid under the schema of Jenkins' xUnit plug-in (junit-10.xsd)."""
    root = Element("testsuites", name="costlab lint")
    root.extend(test_suite(run, model) for model in run.models)
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(child.get(total, "0")) for child in root)))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def test_suite(run: LintRun, model: ModelLint) -> Element:
    """The suite of one model."""
    cases = [test_case(run, model, v) for v in model.result.verdicts] or [failed_case(model)]
    suite = Element("testsuite", name=visible(model.result.model), tests=str(len(cases)))
    for total, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(total, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    return suite


def test_case(run: LintRun, model: ModelLint, verdict: RuleVerdict) -> Element:
    """The test of one rule; findings that do not fail the run are its output."""
    case = Element("testcase", classname=visible(model.result.model), name=visible(rule_label(verdict.rule)))
    if verdict.verdict == NOT_CHECKED:
        SubElement(case, "skipped", message=visible(verdict.detail))
    findings = [f for f in model.result.findings if f.rule == verdict.rule]
    failing = [f for f in findings if run.fails(f)]
    text = "\n".join(located_sentence(f, run.device) for f in failing or findings)
    if failing:
        message = sentence(failing[0], run.device) if len(failing) == 1 else f"{len(failing)} findings"
        SubElement(case, "failure", type=failing[0].severity, message=message).text = text
    elif findings:
        SubElement(case, "system-out").text = text
    return case


def failed_case(model: ModelLint) -> Element:
    """The only test of a model that could not be linted, or of one that no rule was checked on."""
    case = Element("testcase", classname=visible(model.result.model), name="lint")
    text = "; ".join(sentence(finding) for finding in model.result.findings)
    if text:
        SubElement(case, "error", type="error", message=text).text = text
    return case
