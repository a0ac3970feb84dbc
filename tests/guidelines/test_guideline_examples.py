"""The networks in the guidelines' pages: the bad ones break them, the good ones do not."""

from __future__ import annotations

import pytest
from helpers.guideline_examples import device_of, examples, profile_example

import costlab
from costlab.guidelines import GUIDELINES


def mode_of(rule: str) -> str:
    """The mode that a rule needs."""
    return "step" if GUIDELINES[rule].training else "eval"


def named(label: str) -> list:
    return [pytest.param(rule, code, id=f"{rule}-{title}") for rule, title, code in examples(label)]


@pytest.mark.parametrize(("rule", "code"), named("bad"))
def test_a_bad_network_breaks_its_guideline(rule, code):
    result = costlab.lint(profile_example(code, mode_of(rule)), select=[rule], device=device_of(rule))
    assert result.findings
    limit = GUIDELINES[rule].limit
    assert result.broken == ((rule,) if limit is not None else ())
    assert {f.severity for f in result.findings} == {"note" if limit is None else GUIDELINES[rule].severity}


@pytest.mark.parametrize(("rule", "code"), named("good"))
def test_a_good_network_satisfies_its_guideline(rule, code):
    result = costlab.lint(profile_example(code, mode_of(rule)), select=[rule], device=device_of(rule))
    assert result.broken == ()
    if rule != "G4":  # reports every activation as a note
        assert result.findings == ()


@pytest.mark.parametrize("code", GUIDELINES)
def test_every_guideline_has_a_page_with_bad_and_good_networks(code):
    guideline = GUIDELINES[code]
    assert guideline.bad
    assert guideline.good
    assert guideline.summary.endswith(".")
    for heading in ("**What it does.**", "**Why is this bad?**", "**Price.**", "**Use instead.**"):
        assert heading in guideline.page
    assert ("**Limit.**" in guideline.page) == (guideline.limit is not None)


def test_codes_and_names_are_stable():
    assert {code: g.name for code, g in GUIDELINES.items()} == {
        "G1": "equal-channel-width",
        "G2": "group-convolution",
        "G3": "fragmentation",
        "G4": "element-wise",
        "X1": "redundant-copy",
        "X2": "channel-multiple",
        "X3": "unfolded-batch-norm",
        "X4": "unused-parameters",
        "X5": "dead-operator",
        "X6": "uncounted-operator",
        "X7": "estimated-operator",
        "X8": "host-synchronisation",
        "X9": "written-out-attention",
        "X10": "tile-quantisation",
        "X11": "wide-island",
        "X12": "bias-before-norm",
        "X13": "layout-passes",
        "X14": "launch-bound",
        "X15": "split-linear",
        "X16": "kept-activation",
        "X17": "checkpoint-candidate",
        "X18": "mobile-channels",
        "X19": "mobile-operators",
    }
