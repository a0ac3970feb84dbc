"""G1 and G2: the paper's tables, and prices against the rewritten layer."""

from __future__ import annotations

import re
from math import sqrt

import pytest
from helpers.calls import profile_of
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.guidelines import Finding

SIDE = 56
HW = SIDE * SIDE


class AfterReLU(nn.Module):
    """A layer that does not read the input of the model."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.before, self.layer = nn.ReLU(), layer

    def forward(self, x):
        return self.layer(self.before(x))


def found(layer: nn.Module, shape: tuple[int, ...], rule: str) -> tuple[Finding, ...]:
    return costlab.lint(profile_of(AfterReLU(layer), shape), select=[rule]).findings


def memory_access(layer: nn.Module, shape: tuple[int, ...]) -> int:
    return profile_of(layer, shape).total.memory_access


# Tables 1 and 2 of the paper: widths of the GPU rows, 56 x 56, a batch of 1.


@pytest.mark.parametrize(
    ("c1", "c2", "ratio"), [(128, 128, "1.0000"), (90, 180, "1.0595"), (52, 312, "1.4203"), (36, 432, "1.8593")]
)
def test_table_1_memory_access_over_the_bound_of_equation_1(c1, c2, ratio):
    total = profile_of(nn.Conv2d(c1, c2, 1, bias=False), (1, c1, SIDE, SIDE)).total
    assert total.mult_adds == HW * c1 * c2
    bound = 2 * sqrt(HW * HW * c1 * c2) + HW * c1 * c2 / HW
    assert f"{total.memory_access / bound:.4f}" == ratio


@pytest.mark.parametrize(
    ("groups", "channels", "memory"), [(1, 128, 819_200), (2, 180, 1_145_160), (4, 256, 1_622_016), (8, 360, 2_274_120)]
)
def test_table_2_memory_access_and_its_excess_over_one_group(groups, channels, memory):
    layer = nn.Conv2d(channels, channels, 1, groups=groups, bias=False)
    total = profile_of(layer, (1, channels, SIDE, SIDE)).total
    assert total.memory_access == memory
    b = total.mult_adds
    assert memory == HW * channels + b * groups / channels + b / HW  # equation 2
    findings = found(layer, (1, channels, SIDE, SIDE), "G2")
    one_group = HW * channels + b / channels + b / HW
    assert sum(f.excess_memory_access for f in findings) == memory - one_group


# G1.

widths = st.integers(1, 600)


@given(c1=widths, c2=widths, side=st.integers(1, 9), kernel=st.sampled_from([1, 3]))
def test_the_excess_is_zero_if_and_only_if_channel_counts_are_equal(c1, c2, side, kernel):
    layer = nn.Conv2d(c1, c2, kernel, padding=kernel // 2)
    findings = found(layer, (1, c1, side, side), "G1")
    assert bool(findings) == (c1 != c2)
    assert all(f.excess_memory_access > 0 for f in findings)


def test_a_tiny_excess_does_not_cancel_to_zero():
    assert [f.excess_memory_access for f in found(nn.Linear(9999, 10000), (1, 9999), "G1")] == [1]


@given(
    groups=st.sampled_from([1, 2, 3, 8]),
    c1=st.integers(2, 40),
    c2=st.integers(2, 40),
    side=st.integers(1, 30),
    batch=st.integers(1, 4),
    kernel=st.sampled_from([1, 3, 5]),
)
def test_the_advice_of_g1_saves_its_price_up_to_rounding_the_width(groups, c1, c2, side, batch, kernel):
    c1, c2 = c1 * groups, c2 * groups
    shape = (batch, c1, side, side)
    layer = nn.Conv2d(c1, c2, kernel, padding=kernel // 2, groups=groups, bias=False)
    for finding in found(layer, shape, "G1"):
        if finding.advice is None:
            continue
        width = int(re.match(r"(\d+) to \1 channels", finding.advice)[1])
        rewritten = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
        saved = memory_access(layer, shape) - memory_access(rewritten, (batch, width, side, side))
        off = abs(width - sqrt(c1 * c2))
        assert off <= groups / 2
        positions, taps = batch * side * side, kernel * kernel
        weights = taps * abs(c1 * c2 - width * width) // groups
        assert abs(saved - finding.excess_memory_access) <= 2 * positions * off + weights + 1
        before, after = (
            profile_of(n, s).mult_adds for n, s in ((layer, shape), (rewritten, (batch, width, side, side)))
        )
        assert abs(after - before) <= 0.05 * before


def test_the_price_of_g1_is_exact_if_the_width_is_not_rounded():
    layer = nn.Conv2d(32, 128, 3, padding=1, bias=False)
    (finding,) = found(layer, (2, 32, 14, 14), "G1")
    assert finding.advice == "64 to 64 channels (the same mult-adds)"
    assert finding.excess_memory_access == 2 * 14 * 14 * (32 + 128 - 2 * 64)
    assert finding.excess_bytes == 4 * finding.excess_memory_access
    rewritten = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    saved = memory_access(layer, (2, 32, 14, 14)) - memory_access(rewritten, (2, 64, 14, 14))
    assert saved == finding.excess_memory_access


def test_a_linear_layer_has_rows_for_positions():
    (finding,) = found(nn.Linear(16, 64), (5, 7, 16), "G1")
    assert finding.excess_memory_access == 5 * 7 * (16 + 64 - 2 * 32)


def test_no_advice_if_rounding_changes_mult_adds_by_more_than_5_percent():
    (finding,) = found(nn.Conv2d(1, 6, 1), (1, 1, 9, 9), "G1")  # sqrt 6 = 2.449: 2 to 2 is a third fewer
    assert finding.advice is None
    assert finding.excess_memory_access > 0


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(8, 16, 3, stride=2, padding=1), (1, 8, 9, 9)),
        (nn.Conv2d(8, 16, 3), (1, 8, 9, 9)),
        (nn.ConvTranspose2d(8, 16, 1), (1, 8, 9, 9)),
        (nn.Conv2d(8, 16, 3, padding=1, groups=8), (1, 8, 9, 9)),
    ],
    ids=["strided", "without padding", "transposed", "depthwise"],
)
def test_g1_skips(layer, shape):
    assert found(layer, shape, "G1") == ()


def test_g1_skips_layers_that_read_an_input_of_the_model():
    network = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 32, 1))
    result = costlab.lint(profile_of(network, (1, 3, 9, 9)), select=["G1"])
    assert [f.module for f in result.findings] == ["1"]


def test_a_matrix_product_with_a_parameter_is_a_linear_layer():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(nn.Linear(64, 16).weight.detach())  # [16, 64]

        def forward(self, x):
            return x @ self.weight

    (finding,) = found(Product(), (7, 16), "G1")
    assert finding.excess_memory_access == 7 * (16 + 64 - 2 * 32)


# G2.


@given(
    groups=st.sampled_from([2, 3, 4, 8]),
    c1=st.integers(2, 20),
    c2=st.integers(1, 20),
    side=st.integers(1, 20),
    kernel=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
)
def test_one_group_saves_exactly_the_price_at_the_same_mult_adds(groups, c1, c2, side, kernel, stride):
    c1, c2 = c1 * groups, c2 * groups
    shape = (2, c1, side, side)
    options = {"kernel_size": kernel, "stride": stride, "padding": kernel // 2, "bias": False}
    layer = nn.Conv2d(c1, c2, groups=groups, **options)
    (finding,) = found(layer, shape, "G2")
    promised = int(re.match(rf"{c1} to (\d+) channels in one group", finding.advice)[1])
    rewritten = nn.Conv2d(c1, promised, **options)
    before, after = profile_of(layer, shape).total, profile_of(rewritten, shape).total
    assert after.mult_adds == before.mult_adds
    assert before.memory_access - after.memory_access == finding.excess_memory_access
    assert before.bytes_accessed - after.bytes_accessed == finding.excess_bytes


@pytest.mark.parametrize("groups", [1, 12])
def test_g2_skips_dense_and_depthwise_layers(groups):
    assert found(nn.Conv2d(12, 24, 3, groups=groups), (1, 12, 9, 9), "G2") == ()


def test_g2_checks_transposed_convolutions():
    (finding,) = found(nn.ConvTranspose2d(12, 24, 2, stride=2, groups=3), (1, 12, 5, 5), "G2")
    assert finding.excess_memory_access == 10 * 10 * (24 - 8)
