"""docs/ci.md can be followed: its files, changes and commands, in order."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from helpers.stories import ROOT, blocks_of, commands, shown_as

from costlab.ci.configuration import LintConfig, ModelConfig
from costlab.cli import run

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCKS = blocks_of(ROOT / "docs" / "ci.md")


def run_test(text: str) -> None:
    """The test of the page, on the network as it is now."""
    sys.modules.pop("net", None)
    importlib.invalidate_caches()
    scope: dict = {}
    exec(compile(text, "test_net.py", "exec"), scope)
    sys.modules.pop("net", None)
    scope["test_the_network_stays_cheap"]()


def test_the_story_can_be_followed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.syspath_prepend(str(tmp_path))
    subprocess.run(["git", "init", "-q", "."], check=True)
    codes = []
    for language, name, text in BLOCKS:
        if language == "diff":
            subprocess.run(["git", "apply", "-"], input=text, text=True, check=True)
        elif language == "console":
            for line, shown in commands(text):
                if line == "echo $?":
                    assert shown == f"{codes[-1]}\n"
                    continue
                program, *arguments = shlex.split(line)
                assert program == "costlab"
                codes.append(run(arguments))
                out, err = capsys.readouterr()
                assert shown_as(shown, out + err), out + err
        elif name == "test_net.py":
            run_test(text)
        elif name:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    assert codes[0] == codes[-1] == 1
    with pytest.raises(AssertionError, match="grew most: blocks"):
        run_test(next(text for _, name, text in BLOCKS if name == "test_net.py"))


def test_examples_for_other_tools_use_existing_names():
    documents = {name: yaml.safe_load(text) for language, name, text in BLOCKS if language == "yaml"}
    action = yaml.safe_load((ROOT / ".github/actions/lint/action.yml").read_text())
    steps = documents[".github/workflows/costlab.yml"]["jobs"]["costlab"]["steps"]
    ours = next(step for step in steps if "costlab/.github/actions/lint@" in step.get("uses", ""))
    assert set(ours["with"]) <= set(action["inputs"])
    assert all(f"`{name}`" in PAGE for name in action["inputs"])
    hooks = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert {hook["id"] for hook in documents[".pre-commit-config.yaml"]["repos"][0]["hooks"]} <= hooks
    assert documents[".gitlab-ci.yml"]["costlab"]["artifacts"]["reports"].keys() == {"codequality", "junit"}


@pytest.mark.parametrize("table", [ModelConfig, LintConfig])
def test_every_key_of_the_configuration_is_documented(table):
    keys = {name.replace("_", "-") for name in table.model_fields}
    assert keys <= set(re.findall(r"`([a-z-]+)`", PAGE))
