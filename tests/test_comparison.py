"""Two networks side by side: every module of both is accounted for, and conditions are arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

import costlab
from costlab.cli import run
from costlab.comparison import compare
from costlab.core.cost import COST_KEYS
from costlab.core.metrics import PREDICTED
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.models import ModelSpec, profile_of


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


def test_added_and_removed_modules_are_reported():
    small, large = profiled("body", 8), profiled("body", 8, extra=True)
    assert [p.name for p in compare(small, large).pairs if p.status == "changed" and p.name] == ["extra"]
    other = profiled("other", 16)
    statuses = {p.name: p.status for p in compare(small, other).pairs}
    assert statuses["other.0"] == "added"
    assert statuses["body.0"] == "removed"


def test_the_modules_that_grew_are_named_largest_first():
    found = compare(profiled("body", 8), profiled("body", 16, extra=True))
    assert [p.name for p in found.grown("mult_adds")] == ["body.0", "extra"]


@pytest.fixture
def saved(tmp_path):
    paths = []
    for width in (1.0, 0.5):
        path = tmp_path / f"{width}.json"
        path.write_text(profile_of(ModelSpec("mobilenet_v2", {"width": width})).to_json())
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
    assert capsys.readouterr().err == "error: unknown metric 'parms'; nearest: params\n"


def test_json_has_both_sides_of_every_module(saved, capsys):
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


# On a device.

ON = {"device": "rtx3090", "fusion": "bn"}


def test_latencies_are_those_of_predict_and_modules_sum_to_their_operators():
    base, head = profiled("body", 8), profiled("trunk", 16, extra=True)
    found = compare(base, head, **ON)
    wanted = [costlab.predict(profile, **ON) for profile in (base, head)]
    assert found.totals(PREDICTED) == tuple(prediction.seconds for prediction in wanted)
    sums = [sum(prediction.by_op.values()) for prediction in wanted]
    assert sum(p.base_seconds for p in found.pairs if p.base) == pytest.approx(sums[0])
    assert sum(p.head_seconds for p in found.pairs if p.head) == pytest.approx(sums[1])
    assert sum(p.change(PREDICTED) for p in found.pairs) == pytest.approx(sums[1] - sums[0])


def test_without_a_device_nothing_is_predicted():
    found = compare(profiled("body", 8), profiled("body", 16))
    assert found.totals(PREDICTED) == (None, None)
    assert {(p.base_seconds, p.head_seconds) for p in found.pairs} == {(None, None)}


def test_the_modules_that_got_slower_are_named():
    found = compare(profiled("body", 8), profiled("body", 8, extra=True), **ON)
    assert [p.name for p in found.grown(PREDICTED)] == ["extra"]


@pytest.fixture
def saved_pair(tmp_path):
    for name, extra in (("base", False), ("head", True)):
        (tmp_path / f"{name}.json").write_text(profiled("body", 64, extra=extra).to_json())
    return [str(tmp_path / f"{name}.json") for name in ("base", "head")]


def test_conditions_on_seconds_decide_the_exit_code(saved_pair, capsys):
    on = ["compare", *saved_pair, "--device", "rtx3090"]
    assert run([*on, "--budget", "predicted_seconds<=1s"]) == 0
    assert run([*on, "--budget", "predicted_seconds<=1us"]) == 1
    capsys.readouterr()
    assert run([*on, "--fail-on", "predicted_seconds>+0.1%"]) == 1
    assert "BROKEN: predicted_seconds>+0.1%; grew most: extra +" in capsys.readouterr().out


def test_every_format_shows_latencies(saved_pair, capsys):
    on = ["compare", *saved_pair, "--device", "rtx3090", "--fusion", "bn", "--amp", "--channels-last"]
    assert run([*on, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    wanted = {
        side: costlab.predict(Profile.from_json(Path(path).read_text()), **ON, amp=True, channels_last=True)
        for side, path in zip(("base", "head"), saved_pair, strict=True)
    }
    assert document["total"][PREDICTED] == {side: prediction.seconds for side, prediction in wanted.items()}
    assert document["latency"] == {side: prediction.summary for side, prediction in wanted.items()}
    assert all(set(module[PREDICTED]) == {"base", "head"} for module in document["modules"])
    said = "rtx3090, batch 1, autocast, channels-last, batch norms folded"
    for form in ("text", "markdown"):
        assert run([*on, "--format", form]) == 0
        out = capsys.readouterr().out
        assert said in out
        assert units.seconds(wanted["head"].seconds) in out


@pytest.mark.parametrize("width", [40, 60, 80, 94, 120])
def test_a_comparison_with_seconds_fits_its_width(width, saved_pair, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["compare", *saved_pair, "--device", "rtx3090"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("module"))
    assert "predicted" in lines[head - 1]
    assert "change" in lines[head]
    assert all(len(line) <= max(width, 56) for line in lines if not line.startswith(("base", "head", "modules:")))


def test_without_a_device_seconds_are_null_and_their_options_are_refused(saved_pair, capsys):
    assert run(["compare", *saved_pair, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["latency"] is None
    assert document["total"][PREDICTED] == {"base": None, "head": None}
    for options in (["--amp"], ["--fusion", "bn"], ["--channels-last"], ["--budget", "predicted_seconds<=1s"]):
        assert run(["compare", *saved_pair, *options]) == 2
        assert capsys.readouterr().err.rstrip().endswith("needs a prediction: name a --device")
