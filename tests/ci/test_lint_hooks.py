"""The pre-commit hook and the GitHub Action, run for real on small repositories."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.lint_projects import BROKEN, NET, write_project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NOBODY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "nobody"), ("EMAIL", "nobody@example.com"))
}


def call(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(BIN), os.environ["PATH"]))
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **NOBODY, "PATH": path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def committed(folder: Path) -> str:
    """The commit of everything in a folder."""
    for command in (["init", "-q", "."], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        done = call(["git", "-c", "core.hooksPath=/dev/null", *command], folder)
        assert done.returncode == 0, done.stderr
    return call(["git", "rev-parse", "HEAD"], folder).stdout.strip()


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "project"
    write_project(folder, NET)
    (folder / ".git").rmdir()
    return folder


def test_the_hook_passes_and_fails_in_a_real_pre_commit(project, tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    repository = {"repo": str(hooks), "rev": committed(hooks), "hooks": [{"id": "costlab-lint"}]}
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [repository]}))
    committed(project)
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files", "--color", "never"]
    failed = call(command, project, PRE_COMMIT_HOME=str(tmp_path / "home"))
    assert failed.returncode == 1, failed.stderr
    assert re.search(r"^costlab lint\.+Failed$", failed.stdout, re.M)
    assert "exit code: 1" in failed.stdout
    assert "warning G1 wide.conv: saves" in failed.stdout
    with (project / "pyproject.toml").open("a") as file:
        file.write('\n[tool.costlab.lint]\nignore = ["G1"]\n')
    committed(project)
    passed = call(command, project, PRE_COMMIT_HOME=str(tmp_path / "home"))
    assert passed.returncode == 0, passed.stdout
    assert re.search(r"^costlab lint\.+Passed$", passed.stdout, re.M)


def action(project: Path, tmp_path: Path, **inputs: str) -> tuple[int, str, str, dict[str, str]]:
    """What the Action's own steps do: exit code, log, summary and outputs; actions of others are left out."""
    described = yaml.safe_load((ROOT / ".github/actions/lint/action.yml").read_text())
    given = {name: str(declared["default"]) for name, declared in described["inputs"].items()} | inputs
    known = {**{f"inputs.{name}": value for name, value in given.items()}, "runner.temp": str(tmp_path)}

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: known[match[1]], text)

    assert described["runs"]["using"] == "composite"
    step = next(step for step in described["runs"]["steps"] if step.get("id") == "lint")
    assert step["shell"] == "bash"
    assert "${{" not in step["run"]  # inputs reach the script as environment only, so that they cannot be code in it
    script = tmp_path / "step.sh"
    script.write_text(step["run"])
    files = {name: tmp_path / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    files["GITHUB_STEP_SUMMARY"].write_text("before\n")
    files["GITHUB_OUTPUT"].write_text("")
    done = call(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
        project / filled(step["working-directory"]),
        **{name: filled(value) for name, value in step["env"].items()},
        **{name: str(path) for name, path in files.items()},
    )
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    return done.returncode, done.stdout + done.stderr, files["GITHUB_STEP_SUMMARY"].read_text(), outputs


def test_the_action_annotates_summarizes_and_fails(project, tmp_path):
    code, log, summary, outputs = action(project, tmp_path)
    assert code == 1
    assert "::warning file=nets.py,line=11,title=costlab G1%3A net wide.conv::16 to 256 channels" in log
    assert summary.startswith("before\n### `net (python)`\n")
    results = json.loads(Path(outputs["sarif"]).read_text())["runs"][0]["results"]
    assert {result["ruleId"] for result in results} == {"G1", "G4"}


def test_inputs_of_the_action_are_passed_as_separate_words(project, tmp_path):
    (project / "deep").mkdir()
    words = "--select G4 $(touch${IFS}owned) *"
    code, log, summary, _ = action(
        project, tmp_path, **{"models": words, "working-directory": "deep", "args": "--top 1", "summary": "false"}
    )
    assert code == 2
    assert "no model '$(touch${IFS}owned)'" in log
    assert not (project / "deep" / "owned").exists()
    assert summary == "before\n"
    code, log, _, _ = action(project, tmp_path, models="net", args="--select G4 --fail-level error")
    assert code == 0, log


def test_a_failing_model_fails_the_action_after_the_reports_are_written(project, tmp_path):
    with (project / "pyproject.toml").open("a") as file:
        file.write(BROKEN)
    code, log, summary, outputs = action(project, tmp_path)
    assert code == 2
    assert "::error file=pyproject.toml,line=9,title=costlab failure%3A broken (root)::" in log
    assert "### `broken`" in summary
    assert len(json.loads(Path(outputs["sarif"]).read_text())["runs"]) == 2


def test_reports_of_an_earlier_run_are_ignored(project, tmp_path):
    for name in ("costlab.md", "costlab.sarif"):
        (tmp_path / name).write_text("old")
    code, log, summary, outputs = action(project, tmp_path, args="--top -1")
    assert (code, summary, outputs) == (2, "before\n", {})
    assert "error: --top must be 0 or more" in log


def test_the_upload_runs_after_findings_and_only_if_enabled():
    steps = yaml.safe_load((ROOT / ".github/actions/lint/action.yml").read_text())["runs"]["steps"]
    upload = next(step for step in steps if "uses" in step)
    assert upload["if"].startswith("${{ always() && inputs.upload-sarif == 'true'")
    assert upload["with"] == {"sarif_file": "${{ steps.lint.outputs.sarif }}"}
