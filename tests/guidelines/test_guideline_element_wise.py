"""G4: the share of element-wise operators, and prices against the network without them."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from helpers.calls import profile_of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import costlab
from costlab.core.profile import Profile


class Bottleneck(nn.Module):
    """The unit of the paper's Table 4: 1x1, 3x3, 1x1, with and without ReLU and shortcut."""

    def __init__(self, channels: int, relu: bool, shortcut: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(4 * channels, channels, 1)
        self.middle = nn.Conv2d(channels, channels, 3, padding=1)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.relu, self.shortcut = relu, shortcut

    def forward(self, x: Tensor) -> Tensor:
        act = F.relu if self.relu else lambda y: y
        y = self.expand(act(self.middle(act(self.reduce(x)))))
        return x + y if self.shortcut else y


def findings(network: Profile, fusion: str = "none") -> tuple:
    return costlab.lint(network, select=["G4"], fusion=fusion).findings


@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_removing_an_activation_or_a_shortcut_saves_its_price(channels, side, batch, relu):
    shape = (batch, 4 * channels, side, side)
    full = profile_of(Bottleneck(channels, relu=True, shortcut=True), shape)
    less = profile_of(Bottleneck(channels, relu=not relu, shortcut=relu), shape)
    left_out = "relu" if relu else "add"
    prices = [f for f in findings(full) if f.op.rpartition("/")[2].startswith(left_out)]
    assert len(prices) == (2 if relu else 1)
    assert full.total.memory_access - less.total.memory_access == sum(f.excess_memory_access for f in prices)
    assert full.total.bytes_accessed - less.total.bytes_accessed == sum(f.excess_bytes for f in prices)


class Mixed(nn.Module):
    """One operator of every class, on n = 2 * 4 * 6 * 6 elements."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.depthwise(self.conv(x)))
        return F.relu(x).transpose(2, 3).contiguous()


def test_the_share_covers_element_wise_normalisation_and_depthwise_operators():
    n = 2 * 4 * 6 * 6
    result = costlab.lint(profile_of(Mixed(), (2, 4, 6, 6)), select=["G4"])
    depthwise, norm, relu = 2 * n + 4 * 3 * 3, 2 * n + 2 * 4, 2 * n
    dense, copy = 2 * n + 4 * 4, 2 * n
    assert sorted(f.excess_memory_access for f in result.findings) == sorted([depthwise, norm, relu])
    (verdict,) = result.verdicts
    whole = depthwise + norm + relu + dense + copy
    assert verdict.value == verdict.share == pytest.approx((depthwise + norm + relu) / whole)
    assert verdict.detail == f"copies: another {100 * copy / whole:.1f}%"


def test_fusion_reduces_the_memory_access_of_findings():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Hardtanh(), nn.Conv2d(8, 8, 3))
    traced = profile_of(network, (1, 3, 16, 16))
    n = 8 * 14 * 14
    moved = {how: sum(f.excess_memory_access for f in findings(traced, how)) for how in ("none", "bn", "pointwise")}
    assert moved == {"none": 2 * n + 4 * 8 + 2 * n + 2 * n, "bn": 2 * n + 2 * n, "pointwise": 2 * n}


def test_a_share_of_exactly_one_half_holds():
    half = nn.Sequential(nn.AvgPool2d(1), nn.ReLU())
    (verdict,) = costlab.lint(profile_of(half, (1, 2, 4, 4)), select=["G4"]).verdicts
    assert (verdict.value, verdict.verdict) == (0.5, "holds")
