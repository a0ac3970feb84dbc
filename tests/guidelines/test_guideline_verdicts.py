"""The verdicts on published networks, and `lint` in Python and on the command line."""

from __future__ import annotations

import json
import operator
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers.examples import HOSTILE, NAMES, examples
from helpers.guideline_networks import NETWORKS, network
from helpers.long_profiles import long_profile
from torch import nn

import costlab
from costlab.ci.lint_run import LintRun, ModelLint
from costlab.cli import run
from costlab.core.files import write_text
from costlab.core.graph import Source
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting.module_paths import merge_paths
from costlab.guidelines import GUIDELINES, CheckResult, Finding, Guideline, LintResult
from costlab.reports.findings import group_findings
from costlab.reports.lint import document

PAPER = ("G1", "G2", "G3", "G4")
OF_FORWARD = [code for code, guideline in GUIDELINES.items() if not guideline.training]
V1 = ("ShuffleNet V1, 3 groups", "ShuffleNet V1, 8 groups")
V2 = tuple(name for name in NETWORKS if name.startswith("ShuffleNet V2"))
OTHERS = tuple(name for name in NETWORKS if name.startswith(("MobileNet", "ShuffleNet V1")))


@pytest.fixture(autouse=True)
def outside_the_repository(tmp_path, monkeypatch):
    """costlab's own pyproject.toml has a [tool.costlab]."""
    monkeypatch.chdir(tmp_path)


def verdicts(name: str, **options: object) -> dict[str, costlab.guidelines.RuleVerdict]:
    return {v.rule: v for v in costlab.lint(network(name), select=PAPER, **options).verdicts}


# The verdicts of the paper, end of section 2.


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        *((name, {"G1", "G2"}) for name in V1),
        ("MobileNet V2", {"G1", "G4"}),
        ("NASNet-A Large", {"G3"}),
        ("PNASNet-5 Large", {"G3"}),
    ],
)
def test_networks_break_the_guidelines_that_the_paper_says(name, rules):
    assert rules <= set(costlab.lint(network(name)).broken)


@pytest.mark.parametrize("fusion", ["none", "bn"])
@pytest.mark.parametrize("name", V2)
def test_shufflenet_v2_breaks_none_of_the_four(name, fusion):
    assert costlab.lint(network(name), fusion=fusion, select=PAPER).broken == ()


@pytest.mark.parametrize("fusion", ["none", "bn"])
def test_shufflenet_v2_has_the_smallest_element_wise_share(fusion):
    ours = max(verdicts(name, fusion=fusion)["G4"].value for name in V2)
    theirs = min(verdicts(name, fusion=fusion)["G4"].value for name in OTHERS)
    assert len(OTHERS) == 7
    assert ours < theirs


def test_the_command_line_passes_shufflenet_v2(capsys):
    assert run(["lint", "zoo:shufflenet_v2", "-a", "width=2.0"]) == 0
    out, err = capsys.readouterr()
    assert "shufflenet_v2 (zoo, width=2.0), checked with batch norm folded" in out
    assert err.endswith(" notes\nAll checks passed.\n")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_every_finding_but_those_of_x2_has_a_price(name):
    result = costlab.lint(network(name))
    whole = network(name).total.memory_access
    for finding in result.findings:
        price = finding.excess_memory_access
        if price is None:
            assert finding.rule == "X2"
        else:
            assert 0 <= price < whole
            assert price <= finding.excess_bytes <= 4 * price  # float32, and masks of one byte
        assert finding.predicted_seconds_saved is None
        assert finding.message
    prices = [f.excess_memory_access for f in result.findings]
    assert prices == sorted(prices, key=lambda p: -1 if p is None else p, reverse=True)


# `costlab.lint`.


def test_findings_are_warnings_if_their_guideline_is_broken_and_notes_otherwise():
    result = costlab.lint(network("MobileNet V2"))
    assert result.broken == ("G1", "G4")
    assert {f.rule for f in result.findings if f.severity == "warning"} == {"G1", "G4"}
    assert {f.rule for f in result.findings if f.severity == "note"} == {"X3"}
    assert result.summary["G1"] == sum(f.rule == "G1" for f in result.findings)
    assert result.summary["X3"] == 0


def test_a_threshold_changes_only_the_verdict():
    share = verdicts("MobileNet V2")["G1"].value
    just_broken, just_holds = (
        costlab.lint(network("MobileNet V2"), select=["G1"], thresholds={"G1": share * factor})
        for factor in (1.0, 1.0001)
    )
    assert (just_broken.broken, just_holds.broken) == (("G1",), ())
    plain = [replace(f, severity="") for f in just_broken.findings]
    assert plain == [replace(f, severity="") for f in just_holds.findings]


def test_the_threshold_of_g3_is_the_width_of_its_findings():
    result = costlab.lint(network("NASNet-A Large"), select=["fragmentation"], thresholds={"fragmentation": 8})
    assert result.broken == ("G3",)
    assert len(result.findings) == 18  # the normal cells; those of the stem and the reductions are 7 wide


def test_a_threshold_gives_a_limit_to_a_guideline_without_one():
    result = costlab.lint(network("ShuffleNet V2 1x"), select=["X1"], thresholds={"redundant-copy": 0.05})
    assert result.broken == ("X1",)
    assert {f.severity for f in result.findings} == {"warning"}


def test_guidelines_are_chosen_by_code_or_name_in_any_case():
    profile = examples()["tiny"]
    rules = [v.rule for v in costlab.lint(profile, select=["g4", "Fragmentation", "G4"]).verdicts]
    assert rules == ["G3", "G4"]
    left = [v.rule for v in costlab.lint(profile, ignore=["g4", "fragmentation"]).verdicts]
    assert left == [code for code in OF_FORWARD if code not in ("G3", "G4")]
    assert costlab.lint(profile, select=[]) == LintResult("tiny", "bn", (), ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": ["G9"]}, "unknown guideline 'G9'"),
        ({"ignore": ["fragmentatoin"]}, "did you mean 'fragmentation'"),
        ({"thresholds": {"G1": "much"}}, "the threshold of G1 must be a number from 0 up, got 'much'"),
        ({"thresholds": {"G1": float("nan")}}, "the threshold of G1"),
        ({"thresholds": {"G1": -1}}, "the threshold of G1"),
        ({"thresholds": {"G7": 1}}, "unknown guideline 'G7'"),
        ({"fusion": "most"}, "unknown fusion 'most'"),
    ],
)
def test_unknown_names_and_bad_thresholds_are_usage_errors(options, message):
    with pytest.raises(CostlabError, match=message):
        costlab.lint(examples()["tiny"], **options)


def no_linear(profile: Profile, limit: float | None) -> CheckResult:
    """A user's guideline: no linear layers."""
    findings = [
        Finding(module=op.module, op=op.name, message="a linear layer", excess_memory_access=cost.memory_access)
        for op, cost in zip(profile.ops, profile.costs, strict=True)
        if op.kind == "linear" and cost
    ]
    return CheckResult(findings, value=len(findings))


def test_users_add_a_guideline_by_argument():
    mine = Guideline("MY1", "no-linear", "Use no linear layers.", no_linear, limit=0, breaks=operator.gt)
    result = costlab.lint(examples()["tiny"], select=["no-linear"], rules=GUIDELINES | {"MY1": mine})
    assert result.broken == ("MY1",)
    assert [f.excess_memory_access for f in result.findings] == [2 * 8 + 5 * 8 + 5 + 2 * 5]


def run_of(result: LintResult) -> LintRun:
    """The run of one model."""
    return LintRun((ModelLint(result, result.model, Source("net.py", 1)),), result.fusion)


@pytest.mark.parametrize("name", NAMES)
def test_odd_networks_can_be_linted(name):
    result = costlab.lint(examples()[name])
    assert [v.rule for v in result.verdicts] == OF_FORWARD
    assert len(json.loads(document(run_of(result)))["findings"]) == len(result.findings)


def test_a_network_without_memory_access_has_no_shares():
    assert {v.share for v in costlab.lint(examples()["nothing"]).verdicts} == {None}


def test_ten_thousand_operators_are_linted():
    profile = long_profile(50)
    assert len(profile.ops) > 10_000
    assert len(costlab.lint(profile).findings) > 5_000


def test_a_saved_profile_is_linted_without_torch(tmp_path):
    path = tmp_path / "saved.json"
    write_text(path, network("MobileNet V2").to_json())
    code = f"""import sys
from costlab.cli import run
assert run(["lint", {str(path)!r}, "--format", "json", "-o", {str(tmp_path / "out.json")!r}]) == 1
assert run(["explain", "--all"]) == 0
assert "torch" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "out.json").read_text() == document(run_of(costlab.lint(network("MobileNet V2"))))


# The command line.


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("lint") / "mobilenet_v2.json"
    write_text(path, network("MobileNet V2").to_json())
    return str(path)


def test_json_lists_findings_one_by_one_with_every_key_of_the_contract(saved, capsys):
    assert run(["lint", saved, "--format", "json"]) == 1
    out, err = capsys.readouterr()
    assert err == "97 warnings, 52 notes\n1 of 1 model failed checks: mobilenet_v2 (G1, G4)\n"
    document = json.loads(out)
    finding_keys = {
        "rule", "severity", "model", "module", "op", "message", "advice",
        "excess_memory_access", "excess_bytes", "excess_launches", "kept_bytes", "predicted_seconds_saved", "unpriced",
    }  # fmt: skip
    assert {frozenset(f) for f in document["findings"]} == {frozenset(finding_keys)}
    assert len(document["findings"]) == 97 + 52
    assert {v["verdict"] for v in document["verdicts"]} == {"broken", "holds"}
    assert {"model", "rule", "verdict", "share"} <= set(document["verdicts"][0])
    assert document["summary"] == dict.fromkeys(OF_FORWARD, 0) | {"G1": 35, "G4": 62}


def test_text_groups_all_findings_of_repeated_blocks(saved, capsys):
    assert run(["lint", saved, "--top", "0"]) == 1
    # Four blocks with 384 channels at 14 x 14, a norm behind the expansion and one behind the depthwise convolution.
    assert "features.{8-11}.conv.{0-1}.1 (8 times)" in capsys.readouterr().out
    entries = group_findings(costlab.lint(network("MobileNet V2")).findings)
    assert sum(len(e.findings) for e in entries) == 97 + 52
    assert len(entries) < 97
    excess = [sum(f.excess_memory_access for f in e.findings) for e in entries]
    assert excess == sorted(excess, reverse=True)


def test_paths_that_differ_in_numbers_are_merged():
    assert merge_paths(["a.1.b2", "a.2.b2", "a.3.b2", "a.7.b2"]) == "a.{1-3,7}.b2"
    assert merge_paths(["stage1.0", "stage2.1"]) == "stage{1-2}.{0-1}"
    assert merge_paths(["x.007"]) == "x.007"
    assert merge_paths([""]) == ""


def test_text_shows_guideline_verdict_measure_and_limit(saved, capsys):
    assert run(["lint", saved, "--select", "G1,G4", "--select", "fragmentation"]) == 1
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith("G")]
    assert rows[0] == ["G1", "equal-channel-width", "BROKEN", "6.1%", "1.0%", "35"]
    assert rows[1] == ["G3", "fragmentation", "holds", "1", "3", "0"]
    assert rows[2][:4] == ["G4", "element-wise", "BROKEN", "63.5%"]


def test_fusion_and_ignore_reach_the_check(saved, capsys):
    assert run(["lint", saved, "--ignore", "G1,G4", "--fusion", "none"]) == 0
    out, err = capsys.readouterr()
    assert "mobilenet_v2 (zoo), checked with nothing fused" in out
    assert err == "52 notes\nAll checks passed.\n"


def test_a_narrow_screen_and_a_file_show_the_same_verdicts(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert run(["lint", saved, "--top", "3", "-o", str(tmp_path / "out")]) == 1
    text = (tmp_path / "out").read_text()
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("BROKEN") == 2


def test_an_uncounted_operator_fails_the_command(tmp_path, capsys):
    path = tmp_path / "hostile.json"
    write_text(path, examples()["hostile"].to_json())
    assert run(["lint", str(path)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("1 error, 2 notes\n1 of 1 model failed checks: ")
    assert out.replace("\n", "").isprintable()
    assert HOSTILE not in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["lint", "SAVED", "--select", "G12"], "unknown guideline 'G12'"),
        (["lint", "SAVED", "--ignore", "fragmentatoin"], "did you mean 'fragmentation'?"),
        (["lint", "SAVED", "--fusion", "all"], "Invalid value for '--fusion'"),
        (["lint", "SAVED", "--top", "-1"], "--top must be 0 or more, got -1"),
        (["lint"], "no model to lint"),
        (["explain", "G12"], "unknown guideline 'G12'"),
        (["explain", "G1", "--all"], "--all explains every guideline"),
    ],
    ids=str,
)
def test_a_usage_error_is_one_line_and_exit_code_2(command, message, saved, capsys):
    assert run([word.replace("SAVED", saved) for word in command]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_explain_shows_the_page_with_its_examples(capsys):
    assert run(["explain", "G1"]) == 0
    out = capsys.readouterr().out
    assert GUIDELINES["G1"].page.strip() in out
    for code in (GUIDELINES["G1"].bad | GUIDELINES["G1"].good).values():
        assert code.strip() in out
    assert run(["explain", "equal-channel-width"]) == 0
    assert capsys.readouterr().out == out


def test_explain_lists_and_explains_all(capsys):
    assert run(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{g.code} {g.name}" for g in GUIDELINES.values()]
    assert run(["explain", "--all"]) == 0
    assert capsys.readouterr().out.count("**Why is this bad?**") == len(GUIDELINES)
    assert run(["explain", "--all", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [rule["code"] for rule in document["rules"]] == list(GUIDELINES)
    assert {"code", "name", "summary", "page", "limit", "severity", "bad", "good"} == set(document["rules"][0])


def test_a_network_with_equal_widths_has_no_findings():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    assert costlab.lint(costlab.profile(Net(), (4, 8))).findings == ()
