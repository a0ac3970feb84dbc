"""`costlab init`: a first configuration from what a folder holds, which never changes what is there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.ci import configuration
from costlab.ci.first_configuration import find_targets, rounded_up
from costlab.cli import run
from costlab.core.amounts import parse_amount

NETS = """import torch
from torch import nn


class Part(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)

    def forward(self, x):
        return self.conv(x)


class Base(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.part = Part(width)

    def forward(self, x):
        return self.part(x)


class Net(Base):
    pass


class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()


class NoNetwork:
    pass
"""
DIGITS = """import torch.nn as nn

class Digits(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 3)
    def forward(self, tokens):
        return self.table(tokens)

class Odd(nn.Module):
    def forward(self, x):
        raise RuntimeError("needs something else")
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    (tmp_path / "net.py").write_text(NETS)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "digits.py").write_text(DIGITS)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "nets.py").write_text(NETS.replace("Net(", "Tested("))
    (tmp_path / "broken.py").write_text("class Net(nn.Module:")
    (tmp_path / "exits.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_networks_are_found_without_running_any_file(project):
    assert find_targets(project) == [
        "more/digits.py:Digits",
        "more/digits.py:Odd",
        "more/digits.py:Words",
        "net.py:Net",
    ]


def test_it_writes_networks_with_inputs_and_budgets_that_lint_then_checks(project, capsys):
    assert run(["init"]) == 0
    out = capsys.readouterr().out
    accepts = "costlab lint --write-baseline costlab-baseline.json accepts what it finds now"
    assert out.endswith(f"written to pyproject.toml; next: costlab lint; {accepts}\n")
    assert "more/digits.py:Odd: could not be traced" in out
    settings = configuration.read(project / "pyproject.toml").settings
    models = {model.name: model for model in settings.model}
    assert {name: model.input for name, model in models.items()} == {
        "Digits": ["1,1,28,28"],
        "Odd": [],
        "Words": ["1,128:int64"],
        "Net": ["1,3,224,224"],
    }
    traced = costlab.profile(nn.Conv2d(3, 8, 3), (1, 3, 224, 224)).total
    limit = parse_amount(models["Net"].budgets["mult_adds"], "mult_adds").applied_to(None)
    assert traced.mult_adds <= limit < 1.01 * traced.mult_adds
    assert run(["lint", "Net", "Digits", "Words", "--select", "G2"]) == 0


def test_what_is_in_the_file_stays_and_a_configuration_is_never_written_twice(project, capsys):
    before = '[project]\nname = "demo"  # a comment'
    (project / "pyproject.toml").write_text(before)
    assert run(["init", "."]) == 0
    after = (project / "pyproject.toml").read_text()
    assert after.startswith(f"{before}\n\n[[tool.costlab.model]]\n")
    assert tomllib.loads(after)["project"] == {"name": "demo"}
    capsys.readouterr()
    assert run(["init"]) == 2
    assert capsys.readouterr().err == (
        "error: pyproject.toml has a [tool.costlab] already: edit it, docs/ci.md lists its keys\n"
    )
    assert (project / "pyproject.toml").read_text() == after


def test_a_device_file_of_the_project_is_the_device(project):
    (project / "board.toml").write_text(
        (Path(costlab.__file__).parent / "latency/data/raspberry-pi-5.toml").read_text()
    )
    assert run(["init"]) == 0
    device = configuration.read(project / "pyproject.toml").settings.lint.device
    assert device == str(project / "board.toml")


@pytest.mark.parametrize(
    ("folder", "message"), [("nowhere", "nowhere is not a folder"), ("empty", "no network found in empty: ")]
)
def test_a_folder_without_networks_is_an_error_of_one_line(folder, message, project, capsys):
    (project / "empty").mkdir()
    assert run(["init", folder]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not (project / folder / "pyproject.toml").exists()


@given(st.integers(0, 10**17))
def test_a_budget_is_at_most_one_percent_above_the_count(value):
    limit = parse_amount(rounded_up(value), "params").applied_to(None)
    assert value <= limit <= value + value // 100 + 1
