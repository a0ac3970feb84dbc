"""How costs grow: totals at each size, closed forms at sizes they were not made from, and what has none."""

from __future__ import annotations

import json
import random
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.cli import run
from costlab.core.parsing import whole_numbers
from costlab.core.polynomials import HIGHEST, polynomial, sizes_of
from costlab.errors import CostlabError
from costlab.reports import growth as report

NETWORKS = [
    ("resnet18", "batch"),
    ("resnet18", "resolution"),
    ("mobilenet_v2", "resolution"),
    ("shufflenet_v2_x1_0", "batch"),
    ("timm:vit_tiny_patch16_224", "batch"),
    ("timm:regnety_002", "resolution"),
    ("timm:convnext_atto", "resolution"),
    ("timm:efficientnet_b0", "batch"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "axis"), NETWORKS)
def test_closed_forms_hold_at_fresh_sizes(target, axis):
    model, inputs = costlab.load(target)
    grown = costlab.scale(model, inputs, over={axis: [4] if axis == "batch" else [64]})
    form = grown.forms["mult_adds"]
    draw = random.Random(target)
    count = (form.last - form.first) // form.step
    for n in draw.sample(range(count + 1), 4):
        size = form.first + n * form.step
        sizes = {"batch": (size, 3, 224, 224), "resolution": (1, 3, size, size)}
        total = costlab.profile(model, sizes[axis]).total
        for key, found in grown.forms.items():
            assert found is None or found(size) == getattr(total, key), (key, size)


@given(
    st.lists(st.fractions(max_denominator=8, min_value=-50, max_value=50), min_size=1, max_size=HIGHEST + 1),
    st.integers(1, 40),
    st.sampled_from([1, 2, 32]),
)
def test_a_polynomial_is_found_exactly(coefficients, first, step):
    scale = 8 * 27 * 125 * 49

    def value(size):
        return int(sum(scale * c * size**p for p, c in enumerate(coefficients)) * 840 * 840)

    values = {size: value(size) for size in sizes_of(first, step, first + 40 * step)}
    exact = [scale * c * 840 * 840 for c in coefficients]
    found = polynomial(values, first, step)
    assert found is not None
    while len(exact) > 1 and exact[-1] == 0:
        exact.pop()
    assert list(found.coefficients) == exact
    off = {**values, max(values): values[max(values)] + 1}
    assert polynomial(off, first, step) is None


def test_forms_read_as_formulas():
    found = polynomial({n: 3 * n * n + n // 2 for n in (2, 4, 6, 8, 10, 20)}, 2, 2)
    assert found.text("r") == "3 r^2 + 0.5 r"
    assert found.domain() == "from 2 to 20 in steps of 2"
    thirds = polynomial({n: n * (n + 1) * (n + 2) // 3 for n in range(1, 9)}, 1, 1)
    assert thirds.text("l") == "1/3 l^3 + l^2 + 2/3 l"
    assert thirds(100) == Fraction(100 * 101 * 102, 3)


class Rounds(nn.Module):
    """Pads its input to a multiple of a number that no step divides."""

    def forward(self, x):
        size = -(-x.shape[0] // 7) * 7
        return torch.cat([x, x.new_zeros(size - x.shape[0], 5)]) @ x.new_zeros(5, 3)


def test_rounding_has_no_closed_form_and_says_so():
    grown = costlab.scale(Rounds(), (1, 5), over={"batch": [1, 8]})
    assert grown.forms["mult_adds"] is None
    assert grown.totals["mult_adds"] == (7 * 15, 14 * 15)
    assert "no closed form" in {label: value for label, value, _ in report.facts(grown)}["mult-adds"]


def test_length_is_the_second_dimension_of_every_input_that_has_it():
    class Attends(nn.Module):
        def forward(self, q, mask):
            return (
                nn.functional.scaled_dot_product_attention(q[:, None], q[:, None], q[:, None])
                * mask[..., None, None].sum()
            )

    grown = costlab.scale(Attends(), [costlab.shape(2, 16, 8), costlab.shape(2, 16)], over={"length": [16, 32, 100]})
    assert grown.forms["mult_adds"].text("l") == "32 l^2"
    assert grown.totals["mult_adds"] == (32 * 16**2, 32 * 32**2, 32 * 100**2)


def test_a_form_reaches_to_the_sizes_asked_for_if_it_holds_there():
    class Pools(nn.Module):
        def forward(self, x, limit):
            return x[:, : limit.shape[1]] @ x.new_zeros(4, 4)

    inputs = [costlab.shape(1, 8, 4), costlab.shape(1, 300)]
    near = costlab.scale(Pools(), inputs, over={"x.1": [8, 200]})
    assert near.forms["mult_adds"].domain() == "from 8 to 200"
    beyond = costlab.scale(Pools(), inputs, over={"x.1": [8, 400]})
    assert beyond.forms["mult_adds"].domain() == "from 8 to 128"
    assert beyond.totals["mult_adds"] == (8 * 16, 300 * 16)
    assert beyond.forms["mult_adds"](200) == 200 * 16


def test_a_dimension_of_one_input_is_named():
    grown = costlab.scale(nn.Bilinear(3, 4, 5), [(2, 6, 3), (2, 6, 4)], over={"context": [6, 12]})
    assert grown.axis == "context"
    assert "  (c from 8 to 128)" in report.facts(grown)[0].value
    model, inputs = costlab.load("resnet18")
    grown = costlab.scale(model, inputs, over={"x.2": [64, 96]})
    assert grown.totals["mult_adds"][0] == costlab.profile(model, (1, 3, 64, 224)).mult_adds
    with pytest.raises(CostlabError, match=r"no input has the dimension 'y.2'; the inputs are x \(1x3x224x224\)"):
        costlab.scale(model, inputs, over={"y.2": [64]})


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("4", [4]),
        ("1,2,4,...,32", [1, 2, 4, 8, 16, 32]),
        ("32,64,...,160", [32, 64, 96, 128, 160]),
        ("1,2,...,5", [1, 2, 3, 4, 5]),
        ("1,2,4,...,33", None),
        ("1,...,4", None),
        ("4,2,...,1", None),
        ("0", None),
        ("1,,2", None),
        ("1,2,...", None),
        ("1,2,...,999999999", None),
        ("99999999999", None),
        ("abcdefghijkl", None),
    ],
)
def test_numbers_with_dots_between(text, numbers):
    assert whole_numbers(text) == numbers


def test_times_show_the_knee_and_what_fits():
    model, inputs = costlab.load("resnet18")
    sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 4096]
    grown = costlab.scale(model, inputs, over={"batch": sizes}, device="rtx3090", amp=True)
    one = costlab.predict(costlab.profile(model, (8, 3, 224, 224)), "rtx3090", amp=True).seconds
    assert grown.seconds[3] == one
    assert 1 <= grown.knee <= 128
    assert grown.largest in sizes
    ax = costlab.plots.growth(grown)
    assert ax.get_xlabel() == "batch"
    assert len(costlab.plots.growth(grown, "mult_adds").lines) == 1
    with pytest.raises(CostlabError, match="no 'beauty'"):
        costlab.plots.growth(grown, "beauty")


def test_every_format_shows_the_same_numbers():
    model, inputs = costlab.load("resnet18")
    grown = costlab.scale(model, inputs, over={"batch": [1, 3]})
    data = json.loads(report.document(grown))
    assert data["totals"]["mult_adds"] == list(grown.totals["mult_adds"])
    assert data["forms"]["mult_adds"] == {"coefficients": ["0", "1814073344"], "domain": [1, 16, 1]}
    assert report.csv(grown).splitlines()[2].startswith("3,5442220032,")
    assert "1,814,073,344 b" in report.page(grown).markdown()
    assert "1,814,073,344 b" in grown._repr_html_()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, "over takes one size"),
        ({"batch": [1], "resolution": [32]}, "over takes one size"),
        ({"width": [1]}, "unknown size 'width'"),
        ({"batch": []}, "positive whole numbers"),
        ({"batch": [0]}, "positive whole numbers"),
        ({"batch": [1.5]}, "positive whole numbers"),
        ({"resolution": [1]}, "forward fails"),
    ],
)
def test_bad_sizes_are_one_line(over, message):
    model, inputs = costlab.load("timm:vit_tiny_patch16_224")
    with pytest.raises(CostlabError, match=message):
        costlab.scale(model, inputs, over=over)


def test_the_report_shows_growth(capsys, tmp_path):
    picture = tmp_path / "growth.svg"
    assert run(["report", "resnet18", "--over", "batch=1,8", "--device", "rtx3090", "--plot", str(picture)]) == 0
    assert picture.stat().st_size > 1000
    out = capsys.readouterr().out
    assert "1,814,073,344 b  (b from 1 to 16)" in out
    assert "images/s" in out
    assert run(["report", "resnet18", "--over", "resolution=64,96", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"] == [64, 96]


@pytest.mark.parametrize(
    "over", [["batch"], ["batch=1,x"], ["width=3"], ["batch=0"], ["x.9=3"], ["batch=1", "--over", "resolution=64"]]
)
def test_a_range_that_is_none_is_one_line(over, capsys):
    assert run(["report", "resnet18", "--over", *over]) == 2
    assert capsys.readouterr().err.count("\n") == 1
