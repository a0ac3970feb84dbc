"""`[tool.costlab]`: models and rules of a run, error messages, and exit codes."""

from __future__ import annotations

import json
import os

import pytest
from helpers.lint_projects import BROKEN, HEADER, NET, write_project

from costlab.ci import configuration
from costlab.cli import run
from costlab.guidelines import GUIDELINES
from costlab.models import profile_of


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that writes a repository of these tables and goes there."""

    def write(*tables: str):
        write_project(tmp_path, *tables)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return write


def document(capsys, *arguments: str, code: int) -> dict:
    assert run(["lint", *arguments, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)


def rules(content: dict) -> set[str]:
    return {verdict["rule"] for verdict in content["verdicts"]}


# Models.


def test_by_default_every_model_of_the_configuration_is_linted(project, capsys):
    project(NET, NET.replace('"net"', '"small"') + 'arguments = { width = 32 }\nbatch = 2\ndtype = "float16"\n')
    content = document(capsys, code=1)
    assert {v["model"] for v in content["verdicts"]} == {"net", "small"}
    excess = {f["model"]: f for f in content["findings"] if f["module"] == "wide"}
    assert excess["net"]["excess_memory_access"] == 2 * 256 * 32 * 32
    assert excess["small"]["excess_memory_access"] == 2 * 2 * 32 * 32 * 32
    assert excess["small"]["excess_bytes"] == 2 * excess["small"]["excess_memory_access"]


def test_models_can_be_named_from_any_subfolder(project, capsys, monkeypatch):
    folder = project(NET, BROKEN)
    (folder / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(folder / "deep" / "er")
    assert {v["model"] for v in document(capsys, "net", code=1)["verdicts"]} == {"net"}
    assert os.getcwd() == str(folder / "deep" / "er")


def test_several_models_have_the_names_typed_and_share_the_options(project, capsys):
    project()
    content = document(capsys, "nets.py:Net", "nets.py:Block", "-a", "width=2", code=2)
    failures = [f for f in content["findings"] if f["rule"] == "failure"]
    assert [f["model"] for f in failures] == ["nets.py:Block"]
    assert {v["model"] for v in content["verdicts"]} == {"nets.py:Net"}


def test_a_failing_model_exits_with_2_and_the_others_are_reported(project, capsys):
    project(BROKEN, NET)
    assert run(["lint", "--exit-zero"]) == 2
    out, err = capsys.readouterr()
    assert "G1 equal-channel-width BROKEN" in " ".join(out.split())
    assert err.splitlines() == [
        "error: broken: nets.py:broken raises RuntimeError: no weights",
        "net: 2 warnings, 2 notes",
        "1 of 2 models failed checks: net (G1)",
        "1 of 2 models could not be analysed: broken",
    ]
    content = document(capsys, code=2)
    assert (
        content["findings"][0] | {"rule": "failure", "severity": "error", "model": "broken"} == content["findings"][0]
    )
    assert content["summary"]["failure"] == 1


@pytest.mark.parametrize("where", ["import", "factory", "forward"])
def test_a_model_that_exits_is_named_and_the_others_are_reported(where, tmp_path, monkeypatch, capsys):
    bodies = {
        "import": "raise SystemExit(0)",
        "factory": "def build(): raise SystemExit(0)",
        "forward": "import torch\nclass build(torch.nn.Module):\n    def forward(self, x): raise SystemExit(0)",
    }
    (tmp_path / "leaving.py").write_text(bodies[where])
    monkeypatch.chdir(tmp_path)
    assert run(["lint", "leaving.py:build", "zoo:mobilenet_v1", "--isolated", "--format", "json"]) == 2
    content = json.loads(capsys.readouterr().out)
    assert [f["message"].count("SystemExit") for f in content["findings"] if f["rule"] == "failure"] == [1]
    assert {v["model"] for v in content["verdicts"]} == {"zoo:mobilenet_v1"}


def test_an_unexpected_exception_in_one_model_does_not_stop_the_others(project, capsys, monkeypatch):
    project(NET, NET.replace('"net"', '"other"'))
    calls = []

    def fails_once(*arguments, **options):
        calls.append(arguments)
        return 1 // 0 if len(calls) == 1 else profile_of(*arguments, **options)

    monkeypatch.setattr("costlab.models.profile_of", fails_once)
    assert run(["lint", "-v"]) == 2
    out, err = capsys.readouterr()
    assert "error net: ZeroDivisionError: " in out
    assert "other (python)" in out
    assert "Traceback" in err


# Exit codes.


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--fail-level", "note"], 1),
        (["--fail-level", "error"], 0),
        (["--exit-zero"], 0),
        (["--select", "G4"], 0),
        (["--select", "G4", "--fail-level", "note"], 1),
        (["--select", "X1", "--fail-level", "note"], 0),
    ],
)
def test_findings_at_the_fail_level_exit_with_1(options, code, project):
    project(NET)
    assert run(["lint", *options]) == code


def test_the_option_overrides_the_fail_level_of_the_configuration(project):
    project(NET, '\n[tool.costlab.lint]\nfail-level = "error"\n')
    assert run(["lint"]) == 0
    assert run(["lint", "--fail-level", "warning"]) == 1


# Rules.


def test_options_replace_or_extend_the_rules_of_the_configuration(project, capsys):
    project(NET, '\n[tool.costlab.lint]\nselect = ["G1", "fragmentation", "G4"]\nignore = ["G4"]\n')
    assert rules(document(capsys, code=1)) == {"G1", "G3"}
    assert rules(document(capsys, "--extend-select", "x1,G4", code=1)) == {"G1", "G3", "G4", "X1"}
    assert rules(document(capsys, "--ignore", "G1", code=0)) == {"G3"}
    assert rules(document(capsys, "--select", "G4", code=0)) == {"G4"}
    of_forward = [guideline for guideline in GUIDELINES.values() if not guideline.training]
    assert len(rules(document(capsys, "--isolated", "nets.py:Net", code=1))) == len(of_forward)


def test_no_rule_at_all_may_be_selected(project, capsys):
    project(NET, "\n[tool.costlab.lint]\nselect = []\n")
    for form in ("text", "markdown", "json", "github", "sarif", "junit", "gitlab"):
        assert run(["lint", "--format", form]) == 0
        assert "error" not in capsys.readouterr().err


def test_thresholds_of_the_configuration_are_applied(project):
    project(NET, "\n[tool.costlab.lint.thresholds]\nequal-channel-width = 0.5\nG4 = 0.9\n")
    assert run(["lint"]) == 0


def test_ignored_modules_do_not_count_towards_the_verdict(project, capsys):
    project(NET, '\n[tool.costlab.lint.per-module-ignores]\n"w*" = ["G1"]\n')
    content = document(capsys, code=1)
    assert [f["module"] for f in content["findings"] if f["rule"] == "G1"] == ["narrow.conv"]
    half = next(v["share"] for v in content["verdicts"] if v["rule"] == "G1")
    whole = next(
        v["share"] for v in document(capsys, "nets.py:Net", "--input", "1,3,32,32", "--isolated", code=1)["verdicts"]
    )
    assert half == pytest.approx(whole / 2)
    project(NET, '\n[tool.costlab.lint.per-module-ignores]\n"w*" = ["G1"]\n"*.conv" = ["equal-channel-width"]\n')
    assert next(v for v in document(capsys, code=0)["verdicts"] if v["rule"] == "G1")["share"] == 0


def test_fusion_and_device_come_from_the_configuration(project, capsys):
    project(NET, '\n[tool.costlab.lint]\nfusion = "pointwise"\ndevice = "rtx3090"\n')
    content = document(capsys, code=1)
    assert (content["fusion"], content["device"]) == ("pointwise", "rtx3090")
    content = document(capsys, "--fusion", "none", "--device", "rtx4090", code=1)
    assert (content["fusion"], content["device"]) == ("none", "rtx4090")


def test_statistics_count_findings_and_elements_and_have_seconds_for_a_device(project, capsys):
    project(NET, BROKEN)
    assert run(["lint", "--statistics"]) == 2
    lines = capsys.readouterr().out.splitlines()
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("rule")) :]
    assert [line.split() for line in table if not line.startswith("─")] == [
        ["rule", "findings", "elements"],
        ["G1", "equal-channel-width", "2", "294.9", "k"],
        ["G4", "element-wise", "2", "557.1", "k"],
        ["failure", "1", "-"],
    ]
    assert run(["lint", "net", "--statistics", "--device", "rtx3090"]) == 1
    assert "seconds" in capsys.readouterr().out
    statistics = document(capsys, "net", code=1)["statistics"]
    assert statistics["G1"]["findings"] == 2
    assert statistics["X1"] == {"findings": 0, "excess_memory_access": None, "predicted_seconds_saved": None}


# Mistakes.

MODEL = '[[tool.costlab.model]]\nname = "a"\ntarget = "b"\n'
LINT = "[tool.costlab.lint]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.costlab.lnit]", "tool.costlab: unknown key 'lnit'; did you mean 'lint'?"),
        (LINT + 'selct = ["G1"]', "tool.costlab.lint: unknown key 'selct'; did you mean 'select'?"),
        (LINT + "fail_level = 'error'", "unknown key 'fail_level'; did you mean 'fail-level'?"),
        (LINT + "qqq = 1", "unknown key 'qqq'; choose from select, extend-select,"),
        (
            LINT + 'ignore = ["G1", "fragmentatoin"]',
            "tool.costlab.lint.ignore[1]: unknown guideline 'fragmentatoin'; did you",
        ),
        (LINT + "select = 'G1'", "tool.costlab.lint.select: input should be a valid list; got 'G1'"),
        (LINT + "fail-level = 'eror'", "lint.fail-level: input should be 'note', 'warning' or 'error'; got 'eror'"),
        (LINT + "device = 'rtx309'", "tool.costlab.lint.device: no device 'rtx309'; did you mean 'rtx3090'?"),
        (LINT + "thresholds = { G9 = 1 }", "tool.costlab.lint.thresholds.G9: unknown guideline 'G9'"),
        (
            LINT + "thresholds = { G1 = '1%' }",
            "tool.costlab.lint.thresholds.G1: input should be a valid number; got '1%'",
        ),
        (LINT + "thresholds = { G1 = -1 }", "greater than or equal to 0; got -1"),
        (LINT + "thresholds = { G1 = nan }", "finite number"),
        (LINT + "per-module-ignores = { 'a.*' = ['G0'] }", "per-module-ignores.a.*[0]: unknown guideline 'G0'"),
        ("[[tool.costlab.model]]\nname = 'a'", "tool.costlab.model[0].target: field required"),
        (MODEL + MODEL, "tool.costlab.model: two models have the name 'a'"),
        (MODEL + "inputs = '1'", "tool.costlab.model[0]: unknown key 'inputs'; did you mean 'input'?"),
        (
            MODEL + "input = [1, 3]",
            "tool.costlab.model[0].input[0]: input should be a valid string; got 1 (and 1 more)",
        ),
        (MODEL + "batch = '2'", "tool.costlab.model[0].batch: input should be a valid integer; got '2'"),
        (
            MODEL + "budgets = { multadds = 3 }",
            "tool.costlab.model[0].budgets: unknown metric 'multadds'; nearest: mult_adds",
        ),
        (MODEL + "budgets = { params = 3.5 }", "the budget of params must be a whole number or a string such as '+1%'"),
        (MODEL + "budgets = { params = '3 furlongs' }", "unknown unit 'furlongs'"),
        (MODEL + "budgets = { arithmetic_intensity = 3 }", "arithmetic_intensity takes no budget"),
        ("[tool]\ncostlab = 3", "tool.costlab: input should be a valid dictionary"),
        ("[tool.black]", "has no [tool.costlab]"),
        ("tool = 3", "has no [tool.costlab]"),
        ("[tool", "is not valid TOML: expected"),
        ("a = " + "[" * 5000, "is not valid TOML"),
        ("a = '\xff'", "cannot be read: it is not UTF-8 text"),
    ],
    ids=str,
)
def test_an_invalid_configuration_is_an_error_of_one_line_with_the_key(text, message, tmp_path, capsys):
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode("latin-1"))
    assert run(["lint", "--config", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {path}")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "nope.toml"], "nope.toml cannot be read: no such file"),
        (["--config", "a", "--isolated"], "contradict"),
        (["--isolated"], "no model to lint: name a MODEL, or list yours as [[tool.costlab.model]]"),
        (["--batch", "3"], "--batch goes with a MODEL on the command line"),
        (["net", "-a", "width=3"], "-a goes with a MODEL on the command line"),
        (["--extend-select", "G12"], "unknown guideline 'G12'"),
        (["--device", "rtx309"], "did you mean 'rtx3090'?"),
        (["--fail-level", "eror"], "Invalid value for '--fail-level'"),
        (["--output", "sairf=x"], "--output sairf=x: no format 'sairf' with a file; did you mean 'sarif'?"),
        (["--output", "sarif="], "no format 'sarif' with a file"),
        (["-o", "a", "-o", "b"], "--output b: the text report already goes to a"),
        (["-o", "json=a", "-o", "sarif=./a"], "two reports cannot go to one file"),
        (["--baseline", "nope"], "nope cannot be read: no such file"),
        (["--baseline", "pyproject.toml"], "pyproject.toml is not a baseline: invalid JSON"),
    ],
    ids=str,
)
def test_a_usage_error_is_one_line(options, message, project, capsys):
    project(NET)
    assert run(["lint", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert err.startswith("error: ")


def test_a_path_that_cannot_be_written_is_one_line(project, capsys):
    folder = project(NET)
    for path in (folder / "none" / "report", folder):
        assert run(["lint", "-o", f"sarif={path}"]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {path} cannot be written: ")
        assert error.count("\n") == 1


def test_a_pyproject_without_costlab_is_skipped(project, tmp_path):
    folder = project(NET)
    (folder / "deep").mkdir()
    (folder / "deep" / "pyproject.toml").write_text(HEADER)
    assert configuration.find(folder / "deep") == folder / "pyproject.toml"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (NET + NET, [2, 7]),
        ("\n" + NET.replace("[[tool.costlab.model]]", "  [[ tool . costlab.model ]] # here"), [3]),
        ("[tool.costlab]\nmodel = [{name = 'a', target = 'b'}, {name = 'c', target = 'b'}]\n", [1, 1]),
        ("x = '''\n[[tool.costlab.model]]'''\n" + NET, [2]),
    ],
)
def test_the_line_of_a_model_is_that_of_its_table_header(text, lines):
    assert configuration.entry_lines(text, len(lines)) == lines


@pytest.mark.parametrize("command", ["lint", "report", "check"])
def test_a_misspelt_name_of_the_configuration_is_suggested(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text('[[tool.costlab.model]]\nname = "mobi"\ntarget = "zoo:mobilenet_v2"\n')
    monkeypatch.chdir(tmp_path)
    assert run([command, "mobbi"]) == 2
    assert "no model 'mobbi'" in (err := capsys.readouterr().err)
    assert "did you mean 'mobi', which the configuration names?" in err
    assert run([command, "quite_another"]) == 2
    assert "mobi" not in capsys.readouterr().err
