"""Amounts are exact and have the units of their metric; conditions follow three-valued logic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.core.amounts import parse_amount
from costlab.core.conditions import DEEPEST, LONGEST, parse_condition, parse_criterion
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Total
from costlab.errors import CostlabError

# Written out by hand, as docs/ci.md lists them: what each unit is worth, by the unit of the metric.
THOUSANDS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}
DECIMAL_BYTES = {"B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000}
BINARY_BYTES = {"KiB": 1024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776}
TIMES = {"": 1, "s": 1, "ms": Fraction(1, 1000), "us": Fraction(1, 1_000_000), "ns": Fraction(1, 1_000_000_000)}
WORTH = {"": THOUSANDS, "B": THOUSANDS | DECIMAL_BYTES | BINARY_BYTES, "s": TIMES, "FLOP/B": THOUSANDS}
EVERY_UNIT = sorted(
    {unit for units in WORTH.values() for unit in units} | {"P", "m", "Ki", "kiB", "Mi", "min", "b", "Mb", "byte"}
)


# Amounts.


@pytest.mark.parametrize("key", METRICS)
@pytest.mark.parametrize("unit", EVERY_UNIT)
def test_a_metric_takes_its_own_units_and_no_others(key, unit):
    worth = WORTH[METRICS[key].unit]
    for text in (f"2.5{unit}", f"2.5 {unit}"):
        if unit in worth:
            assert parse_amount(text, key).value == Fraction(5, 2) * worth[unit]
        else:
            with pytest.raises(CostlabError, match=f"^unknown unit '{unit}' in .*: {key} takes "):
                parse_amount(text, key)


@pytest.mark.parametrize(
    ("text", "value", "share"),
    [("+1%", "0.01", True), ("-0.5 %", "-0.005", True), ("+20k", "20000", False), ("-2M", "-2000000", False)],
)
def test_a_sign_makes_a_change(text, value, share):
    amount = parse_amount(text, "params")
    assert (amount.value, amount.relative, amount.share) == (Fraction(value), True, share)


def test_a_change_counts_from_its_base():
    assert parse_amount("+1%", "params").applied_to(200) == 202
    assert parse_amount("-20", "params").applied_to(200) == 180
    assert parse_amount("20", "params").applied_to(200) == parse_amount("20", "params").applied_to(None) == 20
    with pytest.raises(CostlabError, match="needs a base"):
        parse_amount("+1%", "params").applied_to(None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1%", "needs a sign"),
        ("1e999", "out of range"),
        ("1e-999", "out of range"),
        ("1e31", "out of range"),
        ("9" * 65, "not an amount"),
        ("1" + " " * 60_000 + "M", "not an amount"),
        ("", "not an amount"),
        ("nan", "not an amount"),
        ("inf", "not an amount"),
        ("0x10", "not an amount"),
        ("1,000", "not an amount"),
        ("1 M M", "not an amount"),
        ("--1", "not an amount"),
    ],
)
def test_what_is_not_an_amount_is_one_line(text, message):
    with pytest.raises(CostlabError, match=message) as caught:
        parse_amount(text, "params")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


# One criterion, as --budget and --fail-on take it.

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
        ("mult_adds!=+10", False),
        ("params<-49.9%", True),
        ("params<-50%", False),
        ("peak_activation_bytes<=8 MB", False),
        ("peak_activation_bytes<=8 MiB", True),
        ("peak_activation_bytes<=8000001", True),
        ("flops<=2020", True),
        ("params<=1e2", True),
    ],
)
def test_criteria_are_exact_arithmetic(text, holds):
    criterion = parse_criterion(text)
    assert criterion.holds(getattr(HEAD, criterion.key), getattr(BASE, criterion.key)) is holds


@pytest.mark.parametrize(
    "text",
    ["", "params", "params<=", "<=3", "parms<3", "params<=3X", "params<=1%", "params<=os", "params<=1e9999"]
    + ["params<=3 and mult_adds<=3", "not params<=3", "params<='3'", "params<=5ms", "mult_adds<=5 MB"]
    + [f"{PREDICTED}<=5M", f"{PREDICTED}<=5MB", "params<=512 B"],
)
def test_what_is_not_a_criterion_is_one_line(text):
    with pytest.raises(CostlabError) as failure:
        parse_criterion(text)
    assert "\n" not in str(failure.value)


def test_a_change_needs_a_base():
    with pytest.raises(CostlabError, match="needs a base"):
        parse_criterion("params>+1%").holds(HEAD.params)


# Conditions on rows, as --where takes them.

ROW = {"mult_adds": 150_000_000, "width": 0.35, "act": "relu", "G1": "holds", "bias": True, "predicted_seconds": 0.005}
UNKNOWN = {"params": None, "activation_bytes": 2**20, "predicted_seconds_rtx3090": 0.005}
COLUMNS = [*ROW, *UNKNOWN]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mult_adds<=150M", True),
        ("mult_adds<150M", False),
        ("mult_adds < 0.16G and width==0.35", True),
        ("width==0.35 or params>1", True),
        ("params>1 or width==0.35", True),
        ("params>1 or width==1", None),
        ("params>1 and width==1", False),
        ("params>1 and width==0.35", None),
        ("not params>1", None),
        ("not (width<0.3 or act==gelu)", True),
        ("not not width<0.3", False),
        ("act=='relu' AND G1==holds", True),
        ('act!="relu"', False),
        ("bias==true", True),
        ("bias!=true", False),
        ("act>3", None),
        ("predicted_seconds<=5ms", True),
        ("predicted_seconds<4.9 ms", False),
        ("predicted_seconds_rtx3090<=5 ms", True),
        ("activation_bytes<=1 MiB", True),
        ("activation_bytes<=1 MB", False),
        ("activation_bytes<=2 M", True),
        ("mult_adds>=1.5e8", True),
        ("width==0.35 or width==1 and width==2", True),
        ("(width==0.35 or width==1) and width==2", False),
        ("mult_adds>-5", True),
        ("(" * 500 + "width<1" + ")" * 500, True),
    ],
)
def test_conditions_are_read_as_they_are_meant(text, expected):
    assert parse_condition(text, COLUMNS)({**ROW, **UNKNOWN}) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a column at the end"),
        ("mult_adds", "expected one of <= >= == != < > at the end"),
        ("mult_adds<=", "expected a number, a word or a 'text' at the end"),
        ("mult_adds<=5 width<1", "expected and, or, or the end at character 19, got '<'|at character 14"),
        ("(mult_adds<=5", "expected a closing parenthesis at the end"),
        ("mult_adds<=5)", r"expected the end at character 13, got '\)'"),
        ("mult_ads<=5", "unknown column 'mult_ads' at character 1; did you mean mult_adds"),
        ("width<1 and mult_ads<=5", "unknown column 'mult_ads' at character 13"),
        ("mult_adds<=5ms", "unknown unit 'ms' in '5ms': mult_adds takes k, M, G or T"),
        ("mult_adds<=+1%", "needs a base"),
        ("predicted_seconds<=5M", "predicted_seconds takes s, ms, us or ns"),
        ("predicted_seconds_rtx3090<=5M", "takes s, ms, us or ns"),
        ("mult_adds<=5 & width<1", "expected and, or, or the end at character 14, got '&'"),
        ("__import__('os')<5", "at character 11"),
        ("mult_adds.__class__<5", "unknown column"),
        ("5<mult_adds", "expected a column at character 1, got '5'"),
        ("not " * 500 + "width<1", "may nest"),
        ("not " * (DEEPEST + 1) + "width<1", "may nest"),
        ("(" * 60_000, f"at most {LONGEST} characters, got 60000"),
        (" " * 60_000, f"at most {LONGEST} characters, got 60000"),
    ],
)
def test_what_is_not_a_condition_is_refused_at_its_place(text, message):
    with pytest.raises(CostlabError, match=message) as caught:
        parse_condition(text, COLUMNS)
    assert "\n" not in str(caught.value)


@given(st.text("mult_adds<>=() andornt5.M'", max_size=40) | st.text(max_size=20))
def test_any_text_is_a_condition_or_refused(text):
    try:
        condition = parse_condition(text, COLUMNS)
    except CostlabError:
        return
    assert condition({**ROW, **UNKNOWN}) in (True, False, None)


TERMS = {"width<1": True, "width>1": False, "params>1": None}
AND = {False: 0, None: 1, True: 2}  # the order in which `and` is the minimum and `or` the maximum


def expressions() -> st.SearchStrategy[tuple[str, bool | None]]:
    """Conditions with the value that Kleene's three-valued logic gives them."""
    names = {rank: value for value, rank in AND.items()}

    def larger(inner):
        pairs = st.tuples(inner, inner)
        return (
            pairs.map(lambda p: (f"({p[0][0]}) and ({p[1][0]})", names[min(AND[p[0][1]], AND[p[1][1]])]))
            | pairs.map(lambda p: (f"({p[0][0]}) or ({p[1][0]})", names[max(AND[p[0][1]], AND[p[1][1]])]))
            | inner.map(lambda e: (f"not ({e[0]})", names[2 - AND[e[1]]]))
        )

    return st.recursive(st.sampled_from(sorted(TERMS.items())), larger, max_leaves=12)


@given(expressions())
def test_conditions_follow_three_valued_logic(expression):
    text, expected = expression
    assert parse_condition(text, COLUMNS)({**ROW, **UNKNOWN}) is expected
