"""The verdict of a run, the lines of findings, and names of the configuration in every command."""

from __future__ import annotations

import json
import re

import pytest
from helpers.lint_projects import BROKEN, NET, NET_LINE, write_project

from costlab.ci import configuration
from costlab.cli import run

WIDE = NET.replace('"net"', '"wide"') + "arguments = { width = 64 }\n"


@pytest.mark.parametrize(
    ("tables", "options", "code", "last"),
    [
        ((NET,), ["--select", "G2"], 0, ["All checks passed."]),
        ((NET,), [], 1, ["1 of 1 model failed checks: net (G1)"]),
        ((NET, WIDE), [], 1, ["2 of 2 models failed checks: net (G1), wide (G1)"]),
        ((BROKEN,), [], 2, ["1 of 1 model could not be analysed: broken"]),
        (
            (NET, BROKEN),
            [],
            2,
            ["1 of 2 models failed checks: net (G1)", "1 of 2 models could not be analysed: broken"],
        ),
        ((NET,), ["--select", "G2,G1", "--fail-level", "error"], 0, ["All checks passed."]),
    ],
)
def test_the_last_line_is_a_verdict_that_agrees_with_the_exit_code(tables, options, code, last, tmp_path, capsys):
    write_project(tmp_path, *tables)
    assert run(["lint", "--config", str(tmp_path / "pyproject.toml"), *options]) == code
    err = capsys.readouterr().err.splitlines()
    assert err[-len(last) :] == last
    assert not any("broken: G" in line for line in err)


def test_text_findings_begin_with_the_line_of_their_module(tmp_path, monkeypatch, capsys):
    write_project(tmp_path, NET + "budgets = { params = 1 }\n")
    monkeypatch.chdir(tmp_path)
    assert run(["lint"]) == 1
    heads = re.findall(r"^(\S+): (?:error|warning|note) ", capsys.readouterr().out, re.M)
    assert f"nets.py:{NET_LINE}" in heads
    assert all(re.fullmatch(r"nets\.py:\d+", head) for head in heads)


def test_a_network_of_a_library_has_no_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(["lint", "zoo:mobilenet_v2", "--top", "3"])
    assert "pyproject.toml" not in capsys.readouterr().out


def test_text_and_annotations_state_the_same_launches(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["lint", "zoo:mobilenet_v2", "--format", "github", "--select", "G4"]) == 1
    out = capsys.readouterr().out
    text, annotations = out.split("\n::warning", 1)
    launches = set(re.findall(r"(\d+ launch(?:es)?)", " ".join(text.split())))
    assert set(re.findall(r"(\d+ launch(?:es)?)", annotations)) <= launches
    assert "3 launches" in annotations


# Names of the configuration.


COMMANDS = (["report"], ["lint"], ["measure", "--min-seconds", "0.01"], ["compare", "nets.py:Net", "--input=1,3,32,32"])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_configured_name_works_in_every_command(command, tmp_path, monkeypatch, capsys):
    write_project(tmp_path, WIDE)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path if command[0] == "compare" else tmp_path / "below")
    assert run([*command, "wide", "--format", "json"]) in (0, 1)
    document = json.loads(capsys.readouterr().out)
    if command[0] == "report":
        assert document["model"]["arguments"] == {"width": 64}
        assert document["inputs"][0]["shape"] == [1, 3, 32, 32]


def test_options_override_a_configured_model(tmp_path, monkeypatch, capsys):
    write_project(tmp_path, WIDE)
    monkeypatch.chdir(tmp_path)
    assert run(["report", "wide", "-a", "width=8", "--input", "2,3,16,16", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["model"]["arguments"], document["inputs"][0]["shape"]) == ({"width": 8}, [2, 3, 16, 16])


def test_misspelt_names_and_files_suggest_the_right_one(tmp_path, monkeypatch, capsys):
    write_project(tmp_path, NET.replace('"net"', '"mobi"'))
    monkeypatch.chdir(tmp_path)
    assert run(["lint", "mobbi"]) == 2
    assert "did you mean 'mobi'" in " ".join(capsys.readouterr().out.split())
    assert run(["report", "nets.py"]) == 2
    assert capsys.readouterr().err.startswith("error: nets.py is a file: name the network in it, as nets.py:")
    assert configuration.find(tmp_path) == tmp_path / "pyproject.toml"
