"""Two networks side by side: every module of both is accounted for, and conditions are arithmetic."""

from __future__ import annotations

import json

import pytest
from torch import nn

import costlab
from costlab.budgets import amount, condition
from costlab.cli import run
from costlab.comparing import compare
from costlab.errors import CostlabError
from costlab.loading import profile_of
from costlab.profiles import COST_KEYS, Total


class Stem(nn.Module):
    def __init__(self, name: str, width: int, extra: bool = False):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.add_module(name, nn.Sequential(nn.Conv2d(8, width, 3), nn.BatchNorm2d(width), nn.ReLU()))
        self.extra = nn.Conv2d(width, width, 1) if extra else nn.Identity()
        self.name = name

    def forward(self, x):
        return self.extra(getattr(self, self.name)(self.first(x)))


def profiled(*args, **kwargs):
    return costlab.profile(Stem(*args, **kwargs), (1, 3, 12, 12))


@pytest.mark.parametrize("key", COST_KEYS)
def test_changes_of_the_modules_sum_to_the_change_of_the_total(key):
    base, head = profiled("body", 8), profiled("trunk", 16, extra=True)
    pairs = compare(base, head).pairs
    assert sum(p.change(key) for p in pairs) == getattr(head.total, key) - getattr(base.total, key)
    assert sorted(p.base.name for p in pairs if p.base) == sorted(base.by_module())
    assert sorted(p.head.name for p in pairs if p.head) == sorted(head.by_module())


def test_a_network_beside_itself_is_the_same():
    found = compare(profiled("body", 8), profiled("body", 8))
    assert {p.status for p in found.pairs} == {"same"}


def test_renamed_modules_are_recognised_by_their_shapes():
    found = compare(profiled("body", 8), profiled("trunk", 8))
    moved = {p.base.name: p.head.name for p in found.pairs if p.status == "moved"}
    assert moved == {f"body.{i}": f"trunk.{i}" for i in range(3)}


def test_added_and_removed_modules_are_told():
    small, large = profiled("body", 8), profiled("body", 8, extra=True)
    assert [p.name for p in compare(small, large).pairs if p.status == "changed" and p.name] == ["extra"]
    other = profiled("other", 16)
    statuses = {p.name: p.status for p in compare(small, other).pairs}
    assert statuses["other.0"] == "added"
    assert statuses["body.0"] == "removed"


def test_the_modules_that_grew_are_named_largest_first():
    found = compare(profiled("body", 8), profiled("body", 16, extra=True))
    assert [p.name for p in found.grown("mult_adds")] == ["body.0", "extra"]


BASE = Total(mult_adds=1000, params=200, peak_activation_bytes=8_000_000)
HEAD = Total(mult_adds=1010, params=100, peak_activation_bytes=8_000_001)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("mult_adds>+1%", False),
        ("mult_adds>=+1%", True),
        ("mult_adds > +0.99%", True),
        ("mult-adds<=1.01k", True),
        ("mult adds < 1_010", False),
        ("mult_adds==+10", True),
        ("params<-49.9%", True),
        ("params<-50%", False),
        ("peak_activation_bytes<=8 MB", False),
        ("peak_activation_bytes<=8000001", True),
        ("flops<=2020", True),
        ("params<=1e2", True),
    ],
)
def test_conditions_are_exact_arithmetic(text, holds):
    assert condition(text).holds(HEAD, BASE) is holds


@pytest.mark.parametrize(
    "text", ["", "params", "params<=", "<=3", "parms<3", "params<=3X", "params<=1%", "params<=os", "params<=1e9999"]
)
def test_what_is_no_condition_is_told_in_one_line(text):
    with pytest.raises(CostlabError) as failure:
        condition(text)
    assert "\n" not in str(failure.value)


def test_a_change_needs_a_base():
    with pytest.raises(CostlabError, match="needs a base"):
        condition("params>+1%").holds(HEAD)


def test_amounts_are_powers_of_a_thousand():
    assert amount("3.5M").value == 3_500_000
    assert amount("320 M").value == 320_000_000
    assert amount("8 MB").value == amount("8 M").value == 8_000_000
    assert amount("1.5G").value == 1_500_000_000


@pytest.fixture
def saved(tmp_path):
    paths = []
    for width in (1.0, 0.5):
        path = tmp_path / f"{width}.json"
        path.write_text(profile_of("mobilenet_v2", {"width": width}).to_json())
        paths.append(str(path))
    return paths


def test_exit_code_is_1_when_a_condition_breaks(saved, capsys):
    full, half = saved
    assert run(["compare", full, half, "--fail-on", "mult_adds>+1%", "--budget", "params<=2M"]) == 0
    assert run(["compare", half, full, "--fail-on", "mult_adds>+1%"]) == 1
    captured = capsys.readouterr()
    assert "BROKEN: mult_adds>+1%; grew most: " in captured.out
    assert captured.err == "1 of 1 conditions broken\n"
    assert run(["compare", full, half, "--budget", "parms<=2M"]) == 2
    assert capsys.readouterr().err == "error: no total 'parms'; nearest: params\n"


def test_json_holds_both_sides_of_every_module(saved, capsys):
    assert run(["compare", *saved, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["total"]["mult_adds"] == {"base": 300_774_272, "head": 97_131_840}
    for side, whole in document["total"]["params"].items():
        assert sum(m["params"][side] or 0 for m in document["modules"]) == whole


def test_markdown_and_text_show_the_totals(saved, capsys):
    assert run(["compare", *saved, "--format", "markdown"]) == 0
    assert "| mult-adds | 300.8 M | 97.13 M | -203.6 M | -67.7% |" in capsys.readouterr().out
    assert run(["compare", *saved]) == 0
    assert "300.8 M" in capsys.readouterr().out
