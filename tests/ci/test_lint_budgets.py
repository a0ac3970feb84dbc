"""Budgets in the configuration and in test suites, and baselines."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from helpers.lint_projects import BROKEN, NET, write_project
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.ci import baseline as baselines
from costlab.ci.budgets import check_budgets, parse_budgets
from costlab.ci.lint_run import BaselineEntry
from costlab.cli import run
from costlab.core.files import write_text
from costlab.core.metrics import METRICS, PREDICTED
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.latency.devices import find_device
from costlab.testing import assert_budget


def linear(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(8, width), nn.Linear(width, 4))


# 8 x 16 + 16 x 4 mult-adds, and the biases.
PROFILE = costlab.profile(linear(16), (1, 8))
MULT_ADDS, PARAMS = 192, 212


@pytest.fixture
def project(tmp_path, monkeypatch):
    def write(*tables: str):
        write_project(tmp_path, *tables)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return write


# `assert_budget`.


def test_a_network_within_its_budget_passes():
    assert_budget(linear(16), (1, 8), mult_adds=MULT_ADDS, params=PARAMS, peak_activation_bytes="96 B")
    assert_budget(PROFILE, mult_adds="0.000192 M")
    assert_budget(PROFILE, base=PROFILE, mult_adds="+0%", params="+0")


def test_a_broken_budget_names_the_most_expensive_modules():
    with pytest.raises(AssertionError) as failure:
        assert_budget(PROFILE, mult_adds=100, params="1k", flops=383)
    assert str(failure.value).splitlines() == [
        "mult_adds 192, 92 over the budget of 100; largest: 0 128, 1 64, (root) 0",
        "flops 384, 1 over the budget of 383; largest: 0 256, 1 128, (root) 0",
    ]


def test_a_change_counts_from_a_saved_base_and_names_the_modules_that_grew(tmp_path):
    base = tmp_path / "base.json"
    write_text(base, PROFILE.to_json())
    wider = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 5))
    assert_budget(wider, (1, 8), base=base, mult_adds="+16")
    with pytest.raises(AssertionError) as failure:
        assert_budget(wider, (1, 8), base=str(base), mult_adds="+1%")
    assert str(failure.value) == ("mult_adds 208 (192 in the base, +8.3%), 15 over the budget of +1%; grew most: 1 +16")


TOTALS = [  # those of a forward pass
    key
    for key, metric in METRICS.items()
    if metric.budgetable and key != PREDICTED and getattr(PROFILE.total, key) is not None
]


@pytest.mark.parametrize("key", [key for key, m in METRICS.items() if m.budgetable and key not in (*TOTALS, PREDICTED)])
def test_a_budget_on_what_only_a_training_step_has_is_one_line(key):
    with pytest.raises(CostlabError, match=f"{key} is not known"):
        check_budgets(PROFILE, parse_budgets({key: 1}))


@given(st.sampled_from(TOTALS), st.integers(-3, 3))
def test_a_budget_breaks_only_above_its_limit(metric, slack):
    value = getattr(PROFILE.total, metric)
    findings, verdicts = check_budgets(PROFILE, parse_budgets({metric: max(value + slack, 0)}))
    assert bool(findings) == (value > max(value + slack, 0))
    assert [v.verdict for v in verdicts] == ["broken" if findings else "holds"]
    assert [(v.value, v.limit) for v in verdicts] == [(value, max(value + slack, 0))]


# Budgets in seconds.


def test_a_budget_in_seconds_is_compared_with_the_prediction():
    device = find_device("rtx3090")
    seconds = costlab.predict(PROFILE, device, fusion="bn").seconds
    for factor, broken in ((0.99, True), (1.01, False)):
        given = parse_budgets({"predicted_seconds": f"{factor * seconds * 1e6:.9f} us"})
        findings, (verdict,) = check_budgets(PROFILE, given, None, device, "bn")
        assert [verdict.verdict == "broken", bool(findings)] == [broken, broken]
        assert (verdict.value, verdict.limit) == (seconds, pytest.approx(factor * seconds))


def test_a_broken_budget_in_seconds_names_modules_and_the_excess():
    device = find_device("rtx3090")
    wider = costlab.profile(linear(1 << 18), (1, 8))
    (finding,), _ = check_budgets(wider, parse_budgets({"predicted_seconds": "1 us"}), None, device)
    seconds = costlab.predict(wider, device).seconds
    assert finding.predicted_seconds_saved == pytest.approx(seconds - 1e-6)
    assert finding.message.startswith("predicted_seconds ")
    assert "us over the budget of 1 us; largest: " in finding.message
    (finding,), _ = check_budgets(wider, parse_budgets({"predicted_seconds": "+1%"}), PROFILE, device)
    assert " us in the base, +" in finding.message
    assert "; grew most: " in finding.message
    assert finding.message.endswith("s")


def test_a_budget_in_seconds_needs_a_device_and_a_unit_of_time():
    with pytest.raises(CostlabError, match="--device"):
        check_budgets(PROFILE, parse_budgets({"predicted_seconds": "5 ms"}))
    for metric, text in (("predicted_seconds", "5 M"), ("predicted_seconds", "8 MB"), ("params", "5 ms")):
        with pytest.raises(CostlabError, match=metric):
            parse_budgets({metric: text})


def test_the_configuration_can_have_budgets_in_seconds(project, capsys):
    project(NET + 'budgets = { predicted_seconds = "1 us" }\n')
    assert run(["lint", "--select", "G1"]) == 2
    assert "a budget on predicted_seconds needs a device" in capsys.readouterr().err
    assert run(["lint", "--select", "G1", "--device", "rtx3090"]) == 1
    out = capsys.readouterr().out
    assert "budget/predicted_seconds" in out
    assert "1.000 us" in out
    assert run(["lint", "--select", "G1", "--device", "rtx3090", "--format", "json"]) == 1
    first = json.loads(capsys.readouterr().out)["findings"][0]
    assert (first["rule"], first["severity"]) == ("budget/predicted_seconds", "error")
    assert first["predicted_seconds_saved"] > 0


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"mult_add": 1}, "unknown metric 'mult_add'; nearest: mult_adds"),
        ({"params": "much"}, "'much' is not an amount of params: write 320 M or +1%"),
        ({"params": True}, "the budget of params must be a whole number"),
        ({"params": 3.5}, "the budget of params must be a whole number"),
        ({"params": "+1%"}, "the budget params +1% is a change and needs a base"),
        ({"arithmetic_intensity": 1}, "arithmetic_intensity takes no budget"),
    ],
)
def test_an_invalid_budget_is_a_usage_error(budgets, message):
    with pytest.raises(CostlabError) as failure:
        assert_budget(PROFILE, **budgets)
    assert message in str(failure.value)


# In the configuration.


def test_budgets_in_the_configuration_have_units(project, capsys):
    project(NET + 'budgets = { mult_adds = "8.9 M", peak_activation_bytes = "2 MB", params = 9_455 }\n')
    assert run(["lint", "--select", "X1"]) == 1
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:6] for line in out.splitlines() if line.startswith("budget/")}
    assert rows["budget/mult_adds"] == ["holds", "8.831", "M", "8.900", "M"]
    assert rows["budget/peak_activation_bytes"] == ["BROKEN", "2.097", "MB", "2.000", "MB"]
    assert "error budget/params (root)\n    params 8.944 k" not in out
    assert err == "1 error\n1 of 1 model failed checks: net (budget/peak_activation_bytes)\n"


def test_a_change_counts_from_a_saved_profile_next_to_the_configuration(project, capsys, monkeypatch):
    folder = project(NET + 'base = "base.json"\nbudgets = { mult_adds = "+1%" }\n')
    assert run(["report", "nets.py:Net", "--input", "1,3,32,32", "--format", "json", "-o", "base.json"]) == 0
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    capsys.readouterr()
    assert run(["lint", "--fail-level", "error"]) == 0
    with (folder / "pyproject.toml").open("a") as file:
        file.write("arguments = { width = 272 }\n")
    capsys.readouterr()
    assert run(["lint", "--fail-level", "error"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "mult_adds 9.355 M (8.831 M in the base, +5.9%), 436.0 k over the budget of +1%" in out
    assert "grew most: wide.conv +262.1 k, narrow.conv +262.1 k" in out


def test_top_never_hides_a_broken_budget(project, capsys):
    project(NET + "budgets = { params = 1 }\n")
    assert run(["lint", "--top", "1"]) == 1
    assert "error budget/params" in capsys.readouterr().out


# Baselines.


def lint(capsys, *options: str, code: int) -> tuple[list[tuple[str, str, str]], str]:
    assert run(["lint", *options, "--format", "json"]) == code
    out, err = capsys.readouterr()
    return [(f["model"], f["rule"], f["module"]) for f in json.loads(out)["findings"] if f["severity"] != "note"], err


def test_a_baseline_hides_exactly_the_findings_that_it_lists(project, capsys):
    project(NET)
    found, _ = lint(capsys, code=1)
    assert found == [("net", "G1", "wide.conv"), ("net", "G1", "narrow.conv")]
    assert lint(capsys, "--write-baseline", "known.json", code=0)[0] == []
    assert set(baselines.read(Path("known.json"))) == {BaselineEntry(*f) for f in found}
    known, err = lint(capsys, "--baseline", "known.json", code=0)
    assert (known, err) == ([], "2 notes, 2 in the baseline\nAll checks passed.\n")
    baselines.write(Path("known.json"), [BaselineEntry(*found[0])])
    assert lint(capsys, "--baseline", "known.json", code=1)[0] == [found[1]]


def test_findings_that_cost_more_than_in_the_baseline_are_findings_again(project, capsys):
    project(NET)
    path = Path("known.json")
    lint(capsys, "--write-baseline", str(path), code=0)
    entries = {entry.module: entry for entry in baselines.read(path)}
    now = entries["wide.conv"].excess_memory_access
    assert now == 32 * 32 * (16 + 256 - 2 * 64)  # positions (c1 + c2 - 2 sqrt(c1 c2))
    for before, code in ((now, 0), (now / 1.04, 0), (now / 1.06, 1), (None, 0)):
        other = replace(entries["wide.conv"], excess_memory_access=before and int(before))
        baselines.write(path, [other, entries["narrow.conv"]])
        found, _ = lint(capsys, "--baseline", str(path), code=code)
        assert found == [("net", "G1", "wide.conv")] * code
    baselines.write(path, [replace(other, excess_memory_access=now // 2), entries["narrow.conv"]])
    run(["lint", "--baseline", str(path)])
    said = f"G1 costs {units.short(now)} elements here, {units.short(now // 2)} in the baseline"
    assert said in " ".join(capsys.readouterr().out.split())


def test_stale_entries_are_reported_for_checked_rules_and_models_only(project, capsys):
    project(NET, NET.replace('"net"', '"other"'))
    path = Path("known.json")
    gone = [BaselineEntry("net", "G1", "gone"), BaselineEntry("dropped", "G1", "wide.conv")]
    baselines.write(path, [*gone, BaselineEntry("net", "G1", "wide.conv")])
    line = "stale in known.json, no longer found: {}; --write-baseline known.json drops them"
    _, err = lint(capsys, "--baseline", "known.json", code=1)
    assert err.splitlines()[0] == line.format("dropped G1 wide.conv, net G1 gone")
    _, err = lint(capsys, "net", "--baseline", "known.json", code=1)
    assert err.splitlines()[0] == line.format("net G1 gone")
    for options in (["net", "--select", "G4"], ["other", "--exit-zero"]):
        assert "stale" not in lint(capsys, *options, "--baseline", "known.json", code=0)[1]


def test_a_new_baseline_keeps_entries_that_the_run_did_not_check(project, capsys):
    project(NET, BROKEN)
    path = Path("known.json")
    others = {BaselineEntry("broken", "G1", "a"), BaselineEntry("other", "G1", "a"), BaselineEntry("net", "G2", "a")}
    baselines.write(path, [*others, BaselineEntry("net", "G1", "gone")])
    lint(capsys, "net", "broken", "--select", "G1", "--write-baseline", "known.json", code=2)
    assert set(baselines.read(path)) == others | {
        BaselineEntry("net", "G1", "wide.conv"),
        BaselineEntry("net", "G1", "narrow.conv"),
    }


def test_budgets_and_failures_cannot_be_in_a_baseline(project, capsys):
    project(NET + "budgets = { params = 1 }\n", BROKEN)
    found, _ = lint(capsys, "--write-baseline", "known.json", code=2)
    assert found == [("net", "budget/params", ""), ("broken", "failure", "")]
    path = Path("known.json")
    assert {key.rule for key in baselines.read(path)} == {"G1"}
    baselines.write(path, [BaselineEntry(*f) for f in found])
    assert lint(capsys, "--baseline", "known.json", code=2)[0][:2] == found


def test_control_characters_of_a_stale_entry_are_escaped(project, capsys):
    project(NET)
    baselines.write(Path("known.json"), [BaselineEntry("net", "G1", "a\n\x1b[31mb")])
    _, err = lint(capsys, "--baseline", "known.json", code=1)
    assert err.count("\n") == 3
    assert "\x1b" not in err


names = st.text(max_size=8)


@given(st.sets(st.builds(BaselineEntry, names, names, names), max_size=5))
def test_reading_a_baseline_inverts_writing_it(tmp_path_factory, keys):
    path = tmp_path_factory.mktemp("baseline") / "known.json"
    clean = {BaselineEntry(*(part.encode("utf-8", "ignore").decode() for part in astuple(key)[:3])) for key in keys}
    baselines.write(path, clean)
    assert set(baselines.read(path)) == clean


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "schema_version: field required"),
        ('{"schema_version": 2, "accepted": []}', "schema_version: input should be 1; got 2"),
        ('{"schema_version": 1, "accepted": [{"model": 3, "rule": "a", "module": "b"}]}', "accepted[0].model: input"),
        ('{"schema_version": 1, "accepted": [], "more": 1}', "more: extra inputs are not permitted"),
        ("[" * 100_000, "invalid JSON"),
        ("\0", "invalid JSON"),
    ],
)
def test_an_invalid_baseline_is_an_error_of_one_line(text, message, project, capsys):
    project(NET)
    Path("known.json").write_text(text)
    assert run(["lint", "--baseline", "known.json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: known.json is not a baseline: ")
    assert message in err
    assert err.count("\n") == 1
