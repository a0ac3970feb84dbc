"""Findings for GitHub, GitLab, JUnit and code scanning follow each format's rules, with any names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest
from helpers.lint_projects import BLOCK_LINE, BROKEN, CALL_LINE, HOSTILE, NET, NET_ENTRY, NET_LINE, write_project
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from costlab.ci.lint_run import LintRun, ModelLint
from costlab.ci.repository import source_in_repository
from costlab.cli import run
from costlab.core.graph import Source
from costlab.guidelines import Finding, LintResult, RuleVerdict
from costlab.reports import findings, github, gitlab, junit, lint, sarif

DATA = Path(__file__).parents[1] / "data"
SCHEMA = jsonschema.Draft4Validator(json.loads((DATA / "sarif-2.1.0-rtm.5.json").read_text()))
XSD = etree.XMLSchema(etree.parse(DATA / "junit-10.xsd"))
BUDGET = "budgets = { params = 1, mult_adds = '1 G' }\n"
FORMATS = ("text", "json", "github", "gitlab", "junit", "sarif", "markdown")


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, str]:
    """One run over a network that breaks rules, one whose names are hostile and one that fails; every format."""
    folder = tmp_path_factory.mktemp("formats")
    write_project(folder, NET + BUDGET, HOSTILE, BROKEN)
    outputs = [f"--output={form}={folder / form}" for form in FORMATS]
    assert run(["lint", "--config", str(folder / "pyproject.toml"), "-o", str(folder / "plain"), *outputs]) == 2
    assert (folder / "plain").read_text() == (folder / "text").read_text()
    return {form: (folder / form).read_text() for form in FORMATS}


def everything(reports: dict[str, str]) -> list[dict]:
    return json.loads(reports["json"])["findings"]


def finding(module: str = "a", rule: str = "G1", severity: str = "warning", price: int | None = 1, model: str = "m"):
    return Finding(
        rule=rule,
        severity=severity,
        model=model,
        module=module,
        op=f"{module}/conv2d",
        message="a message",
        advice="do this",
        excess_memory_access=price,
        excess_bytes=price,
        excess_launches=1,
    )


def outcome(*found: Finding, model: str = "m") -> LintRun:
    rules = tuple(RuleVerdict(model, rule, "broken", 0.5, 0.5, 0.1, "") for rule in sorted({f.rule for f in found}))
    return LintRun((ModelLint(LintResult(model, "bn", found, rules), model, Source("pyproject.toml", 3)),), "bn")


# What every format has.


def test_one_run_writes_every_format_with_every_finding(reports):
    found = everything(reports)
    assert len(found) > 6
    assert len(json.loads(reports["gitlab"])) == len(found)
    assert sum(len(r["results"]) for r in json.loads(reports["sarif"])["runs"]) == len(found)
    tests = etree.fromstring(reports["junit"].encode())
    said = [e for e in tests.iter("failure", "error", "system-out") for _ in e.text.splitlines()]
    assert len(said) == len(found)


@pytest.mark.parametrize("form", FORMATS)
def test_no_report_contains_control_characters_of_a_name(form, reports):
    assert "\x1b" not in reports[form]
    assert reports[form].replace("\n", "").isprintable()


@pytest.mark.parametrize("form", ["json", "gitlab", "sarif"])
def test_machine_formats_go_to_stdout_and_the_verdict_to_stderr(form, tmp_path, monkeypatch, capsys):
    write_project(tmp_path, NET)
    monkeypatch.chdir(tmp_path)
    assert run(["lint", "--format", form]) == 1
    out, err = capsys.readouterr()
    json.loads(out)
    assert err == "2 warnings, 2 notes\n1 of 1 model failed checks: net (G1)\n"


# SARIF.


def test_sarif_is_valid_under_the_official_schema(reports):
    errors = [error.message for error in SCHEMA.iter_errors(json.loads(reports["sarif"]))]
    assert errors == []
    assert [*SCHEMA.iter_errors({"version": "2.1.0", "runs": [{}]})] != []


def test_every_sarif_result_is_on_a_line_of_the_repository(reports):
    net, hostile, broken = json.loads(reports["sarif"])["runs"]

    def places(log: dict) -> dict[str, tuple[str, int]]:
        return {
            f"{r['ruleId']} {r['locations'][0]['logicalLocations'][0]['fullyQualifiedName']}": (
                r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
                r["locations"][0]["physicalLocation"]["region"]["startLine"],
            )
            for r in log["results"]
        }

    assert places(net) == {
        "budget/params (root)": ("nets.py", NET_LINE),
        "G1 wide.conv": ("nets.py", CALL_LINE),
        "G1 narrow.conv": ("nets.py", CALL_LINE),
        "G4 wide": ("nets.py", BLOCK_LINE),
        "G4 narrow": ("nets.py", BLOCK_LINE),
    }
    assert {file for file, _ in places(hostile).values()} == {"nets.py"}
    assert places(broken) == {"failure (root)": ("pyproject.toml", NET_ENTRY + 11)}
    bases = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uriBaseId"] for r in net["results"]}
    assert bases == {"%SRCROOT%"}


def test_sarif_has_a_category_for_each_model_and_describes_every_rule(reports):
    log = json.loads(reports["sarif"])
    assert [r["automationDetails"]["id"] for r in log["runs"]] == [
        f"costlab/{n}/" for n in ("net", "hostile", "broken")
    ]
    assert [r["invocations"][0]["executionSuccessful"] for r in log["runs"]] == [True, True, False]
    for each in log["runs"]:
        described = each["tool"]["driver"]["rules"]
        assert all(rule["help"]["markdown"] for rule in described)
        for result in each["results"]:
            assert result["ruleId"].split("/")[0] == described[result["ruleIndex"]]["id"]


def test_fingerprints_differ_and_survive_moved_lines_and_new_findings(tmp_path, monkeypatch):
    def fingerprints(name: str) -> dict[tuple, str]:
        assert run(["lint", "-o", f"sarif={name}", "-o", "text"]) == 1
        return {
            (r["ruleId"], r["message"]["text"]): r["partialFingerprints"]["primaryLocationLineHash"]
            for r in json.loads(Path(name).read_text())["runs"][0]["results"]
        }

    write_project(tmp_path, NET)
    monkeypatch.chdir(tmp_path)
    before = fingerprints("before.sarif")
    assert len(set(before.values())) == len(before)
    source = (tmp_path / "nets.py").read_text()
    (tmp_path / "nets.py").write_text("# one line more\n" + source)
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write("budgets = { params = 1 }\n")
    after = fingerprints("after.sarif")
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_findings_on_one_operator_have_different_fingerprints():
    result = json.loads(gitlab.report(outcome(finding(), finding())))
    assert len({entry["fingerprint"] for entry in result}) == 2


def test_a_fingerprint_survives_fixing_another_operator_of_the_module():
    one, two = finding(), replace(finding(), op="a/conv2d.1")
    both, alone = (json.loads(gitlab.report(outcome(*found))) for found in ((one, two), (two,)))
    assert both[1]["fingerprint"] == alone[0]["fingerprint"] != both[0]["fingerprint"]


def test_a_saved_profile_keeps_its_locations(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = ["--input", "1,3,32,32", "--format", "json", "-o", "net.json"]
    assert run(["report", "nets.py:Net", *options]) == 0
    assert run(["lint", "net.json", "-o", "sarif=out.sarif"]) == 1
    results = json.loads((tmp_path / "out.sarif").read_text())["runs"][0]["results"]
    places = [r["locations"][0]["physicalLocation"] for r in results]
    assert {(p["artifactLocation"]["uri"], p["region"]["startLine"]) for p in places} == {
        ("nets.py", BLOCK_LINE),
        ("nets.py", CALL_LINE),
    }
    (tmp_path / "nets.py").unlink()  # a profile from elsewhere: its own file is the place
    assert run(["lint", "net.json", "-o", "sarif=out.sarif"]) == 1
    results = json.loads((tmp_path / "out.sarif").read_text())["runs"][0]["results"]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results}
    assert uris == {"net.json"}


def test_a_location_is_relative_to_the_repository_from_a_subfolder(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    write_project(tmp_path / "deep er", NET)
    (tmp_path / "deep er" / ".git").rmdir()
    monkeypatch.chdir(tmp_path / "deep er")
    assert run(["lint", "-o", "sarif=out.sarif"]) == 1
    results = json.loads(Path("out.sarif").read_text())["runs"][0]["results"]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results}
    assert uris == {"deep%20er/nets.py"}


def test_installed_code_and_code_outside_have_no_location(tmp_path):
    inside = tmp_path / "repository"
    installed = inside / ".venv" / "lib" / "site-packages" / "net.py"
    for file in (inside / "net.py", installed, tmp_path / "net.py"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    assert source_in_repository(Source(str(inside / "net.py"), 0), inside) == Source("net.py", 1)
    assert source_in_repository(Source("net.py", 7), inside) == Source("net.py", 7)
    for file in (installed, tmp_path / "net.py", inside / "none.py", inside / ".." / "net.py", inside, "<string>"):
        assert source_in_repository(Source(str(file), 1), inside) is None


def test_a_module_without_a_line_has_that_of_its_nearest_parent():
    one = outcome(finding()).models[0]
    one = replace(one, sources={"": Source("net.py", 9), "a.b": Source("net.py", 4)})
    assert [one.source(path).line for path in ("a.b.c.d", "a.b", "a.bc", "a", "")] == [4, 4, 9, 9, 9]
    assert replace(one, sources={}).source("a.b") == one.entry


# JUnit.


def test_junit_is_valid_and_its_counts_are_right(reports):
    root = etree.fromstring(reports["junit"].encode())
    XSD.assertValid(root)
    for element in (root, *root.iter("testsuite")):
        for total, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert int(element.get(total)) == len([*element.iter(tag)])
    failed = {case.get("classname"): [] for case in root.iter("testcase")}
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed[case.get("classname")].append(case.get("name"))
    assert failed["net"] == ["G1 equal-channel-width", "budget/params"]
    assert failed["broken"] == ["lint"]


def test_a_junit_test_fails_if_its_findings_fail_the_run():
    notes = outcome(finding(severity="note"))
    assert "<failure" not in junit.report(notes)
    assert "<failure" in junit.report(replace(notes, fail_level="note"))


# GitLab.


def test_gitlab_has_the_documented_fields(reports):
    content = json.loads(reports["gitlab"])
    assert content
    for entry in content:
        assert {"description", "check_name", "fingerprint", "severity", "location"} == set(entry)
        assert all(isinstance(entry[key], str) and entry[key] for key in ("description", "check_name", "fingerprint"))
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert not entry["location"]["path"].startswith(("/", "./"))
        assert type(entry["location"]["lines"]["begin"]) is int
        assert entry["location"]["lines"]["begin"] >= 1
    assert len({entry["fingerprint"] for entry in content}) == len(content)


# GitHub.

COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def commands(report: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as the runner reads them: level, properties, message; none between stop and go."""
    found, token = [], None
    for line in report.splitlines():
        line = line.lstrip()
        if token is not None:
            token = None if line == f"::{token}::" else token
        elif line.startswith("::stop-commands::"):
            token = line.removeprefix("::stop-commands::")
        elif line.startswith("::"):
            level, properties, message = COMMAND.fullmatch(line).groups()
            named = dict(p.split("=", 1) for p in properties.split(","))
            found.append((level, {k: unquote(v) for k, v in named.items()}, unquote(message)))
    assert token is None
    return found


def test_a_name_with_percent_newline_and_colons_stays_one_annotation(reports):
    found = [c for c in commands(reports["github"]) if "boom" in c[1]["title"]]
    assert [level for level, _, _ in found] == ["warning"]
    _, properties, _ = found[0]
    assert properties.keys() == {"file", "line", "title"}
    assert properties["title"] == "costlab G1: hostile 50%\\n::error::boom|`<b>&\\x1b[31m,x"
    assert properties["file"] == "nets.py"


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_can_inject_a_command(module, model):
    made = outcome(finding(module, model=model), model=model)
    report = github.report(made, f"{findings.sentence(finding(module))}\n  ::error::{findings.rule_label(module)}\n")
    assert [level for level, _, _ in commands(report)] == ["warning"]
    SCHEMA.validate(json.loads(sarif.report(made)))
    XSD.assertValid(etree.fromstring(junit.report(made).encode()))
    rows = [line for line in lint.markdown(made, None).splitlines() if line.startswith("| warning")]
    assert len(rows) == 1
    assert rows[0].count("|") == 5


def test_the_log_has_the_whole_text_before_the_annotations(reports):
    head, _, rest = reports["github"].partition(reports["text"])
    assert re.fullmatch(r"::stop-commands::[0-9a-f]{32}\n", head)
    assert rest.startswith(head.replace("::stop-commands", "").rstrip() + "::\n")


def test_ten_annotations_for_each_level_most_expensive_first_then_the_rest_as_a_number():
    many = [finding(chr(97 + i), price=i, severity=s) for i in range(13) for s in ("warning", "note")]
    report = github.report(outcome(*many, finding("z", severity="error")), "text\n")
    titles = [(level, properties["title"][-1]) for level, properties, _ in commands(report)]
    assert titles == [("error", "z"), *(("warning", c) for c in "mlkjihgfed"), *(("notice", c) for c in "mlkjihgfed")]
    assert [line for line in report.splitlines() if " more " in line] == [
        "3 more warnings; the text above has all of them",
        "3 more notes; the text above has all of them",
    ]


def test_findings_of_repeated_blocks_are_one_annotation_for_each_model():
    one = [finding(f"layer.{i}.conv") for i in range(4)]
    two = outcome(*(replace(f, model="n") for f in one), model="n").models
    made = replace(outcome(*one), models=outcome(*one).models + two)
    titles = [properties["title"] for _, properties, _ in commands(github.report(made, ""))]
    assert titles == [f"costlab G1: {model} layer.{{0-3}}.conv (4 times)" for model in "mn"]


# Markdown.


def test_markdown_shows_verdicts_and_findings_of_each_model(reports):
    lines = reports["markdown"].splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "### `net (python)`",
        "### `hostile (python)`",
        "### `broken`",
    ]
    assert "**error:** nets.py:broken raises RuntimeError: no weights" in lines
    assert any(line.startswith("| G1 equal-channel-width | BROKEN |") for line in lines)
    assert any(line.startswith("| warning | G1 | `wide.conv` | 16 to 256 channels") for line in lines)
    for line in lines:
        assert "<b>" not in line
        assert line.count("|") in (0, 5, 7)


def test_markdown_truncates_and_says_how_much(tmp_path, monkeypatch, capsys):
    write_project(tmp_path, NET)
    monkeypatch.chdir(tmp_path)
    assert run(["lint", "--format", "markdown", "--top", "1"]) == 1
    assert "3 smaller findings not shown" in capsys.readouterr().out
    assert run(["lint", "--format", "markdown", "--statistics"]) == 1
    out = capsys.readouterr().out
    assert "| G1 equal-channel-width | 2 | 294.9 k |" in out
    assert "wide.conv" not in out
