"""Every guideline's own networks: the bad ones break it, the good ones do not."""

from __future__ import annotations

import pytest
from helpers.guideline_examples import examples, profiled

import costlab
from costlab.guidelines import GUIDELINES


def named(label: str) -> list:
    return [pytest.param(code, e, id=f"{code}-{e.title}") for code, e in examples(label)]


@pytest.mark.parametrize(("code", "example"), named("bad"))
def test_a_bad_network_breaks_its_guideline(code, example):
    result = costlab.lint(profiled(example), select=[code])
    assert result.findings
    limit = GUIDELINES[code].limit
    assert result.broken == ((code,) if limit is not None else ())
    assert {f.severity for f in result.findings} == {"note" if limit is None else GUIDELINES[code].severity}


@pytest.mark.parametrize(("code", "example"), named("good"))
def test_a_good_network_keeps_its_guideline(code, example):
    result = costlab.lint(profiled(example), select=[code])
    assert result.broken == ()
    if code != "G4":  # has something to say about every activation
        assert result.findings == ()


@pytest.mark.parametrize("code", GUIDELINES)
def test_every_guideline_has_a_page_and_both_kinds_of_networks(code):
    guideline = GUIDELINES[code]
    assert guideline.bad
    assert guideline.good
    assert guideline.summary.endswith(".")
    for heading in ("**Why.**", "**What is judged.**", "**Price.**", "**Instead.**"):
        assert heading in guideline.page
    assert ("**Broken**" in guideline.page) == (guideline.limit is not None)


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
    }
