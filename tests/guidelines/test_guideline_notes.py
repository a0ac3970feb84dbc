"""Guidelines X1 to X7: what they find, what they skip, and their prices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of
from helpers.examples import examples
from torch import Tensor, nn

import costlab
from costlab.core.profile import Profile
from costlab.guidelines import Finding

X = (2, 4, 6, 6)
N = 2 * 4 * 6 * 6


def found(network: Profile, rule: str) -> list[Finding]:
    return list(costlab.lint(network, select=[rule]).findings)


# X1: copies.


@pytest.mark.parametrize(
    ("copy", "elements"),
    [
        (lambda x: x.transpose(1, 2).contiguous(), N),
        (lambda x: x.transpose(1, 2).flatten(1), N),
        (lambda x: x.permute(0, 2, 3, 1).reshape(-1, 4), N),
        (lambda x: x.clone(), N),
        (lambda x: x[:, :2].contiguous(), N // 2),
    ],
    ids=["contiguous", "flatten", "reshape", "clone", "a slice"],
)
def test_the_price_of_a_copy_is_one_read_and_one_write(copy, elements):
    findings = found(profile_of(lambda x: copy(x.exp()), X), "X1")
    assert [f.excess_memory_access for f in findings] == [2 * elements]
    assert [f.excess_launches for f in findings] == [1]


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.contiguous(),
        lambda x: x.flatten(1),
        lambda x: x.half(),
        lambda x: torch.cat([x, x]),
        lambda x: x[:1].expand(3, 4, 6, 6).contiguous(),
        lambda x: x.roll(1),
    ],
    ids=["no-op", "view", "other dtype", "concatenation", "broadcast", "reordering"],
)
def test_x1_skips_operators_that_do_more_than_copy(other):
    assert found(profile_of(lambda x: other(x.exp()), X), "X1") == []


# X2: multiples.


@pytest.mark.parametrize(
    ("layer", "shape", "wasted"),
    [
        (nn.Conv2d(58, 58, 1), (1, 58, 4, 4), (1 - 58**2 / 64**2, 1 - 58**2 / 64**2, 1 - 58**2 / 64**2)),
        (nn.Linear(100, 24), (1, 100), (1 - 100 / 104, 1 - 100 * 24 / (112 * 32), 1 - 100 * 24 / (128 * 32))),
        (nn.Conv2d(24, 24, 1, groups=2), (1, 24, 4, 4), (1 - 12**2 / 16**2, 1 - 12**2 / 16**2, 1 - 12**2 / 32**2)),
    ],
)
def test_the_wasted_share_is_that_of_padding(layer, shape, wasted):
    (finding,) = found(profile_of(lambda x: layer(x.exp()), shape), "X2")
    for multiple, part in zip((8, 16, 32), wasted, strict=True):
        assert f"{100 * part:.1f}% at {multiple}" in finding.message
    assert (finding.excess_memory_access, finding.excess_bytes, finding.excess_launches) == (None, None, 0)


def test_the_advice_of_x2_is_the_multiples_of_8_around_a_channel_count():
    network = profile_of(lambda x: F.linear(x.exp(), torch.zeros(5, 58)), (1, 58))
    (finding,) = found(network, "X2")
    assert finding.advice == "56 or 64 in place of 58; 8 in place of 5"


@pytest.mark.parametrize(
    ("layer", "channels"),
    [(nn.Conv2d(10, 10, 1, groups=10), 10), (nn.Conv2d(64, 128, 1), 64), (nn.Conv2d(32, 32, 1, groups=4), 32)],
    ids=["depthwise", "multiples", "8 in a group"],
)
def test_x2_skips_multiples_of_8_and_depthwise_layers(layer, channels):
    assert found(profile_of(lambda x: layer(x.exp()), (1, channels, 4, 4)), "X2") == []


# X3: batch norm. tests/core tests what can be folded.


def test_the_price_of_an_unfolded_batch_norm_is_what_folding_saves():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    traced = profile_of(network, (1, 3, 9, 9))
    findings = found(traced, "X3")
    assert [f.module for f in findings] == ["1", "3"]
    folded = traced.fused("bn").total
    assert sum(f.excess_memory_access for f in findings) == traced.total.memory_access - folded.memory_access
    assert sum(f.excess_bytes for f in findings) == traced.total.bytes_accessed - folded.bytes_accessed
    assert found(traced.fused("bn"), "X3") == []


# X4: parameters.


def test_unused_parameters_are_listed_by_module_with_a_price_of_zero():
    findings = found(examples()["wasteful"], "X4")
    assert {f.module: f.message.split()[0] for f in findings} == {"": "7", "idle": str(3 * 3 + 3)}
    assert {(f.excess_memory_access, f.excess_bytes, f.excess_launches) for f in findings} == {(0, 0, 0)}


class Towers(nn.Module):
    """Takes text and, if there is one, an image."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.vision = nn.Linear(4, 4), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))

    def forward(
        self,
        x: Tensor,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        top: int | None = None,
    ) -> Tensor:
        return self.text(x) if pixel_values is None else self.text(x) + self.vision(pixel_values)


def test_a_tower_without_an_input_never_ran():
    alone, both = costlab.profile(Towers(), (1, 4)), costlab.profile(Towers(), [(1, 4), (1, 8)])
    assert alone.never_ran == {"vision": 8 * 8 + 8 + 8 * 4 + 4}
    assert (both.never_ran, both.inputs_not_given) == ({}, "")
    (finding,) = found(alone, "X4")
    assert (finding.module, finding.message) == (
        "vision",
        "108 parameters (432 B) are in a module that never ran: no input reached it",
    )
    assert finding.advice == "give it an input (not given: pixel_values), or build the network without it"
    assert found(both, "X4") == []


# X5: dead operators.


class Dead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        unread = x.exp()
        unread.sin().sum()  # three operators without effect
        self.seen += x.mean()  # writes a buffer
        y = torch.empty_like(x)
        y[:] = x * 2  # written in place, then returned
        if x.shape[0] > 100:
            y = y + unread
        return y.flatten()


def test_dead_operators_include_those_that_only_dead_ones_read():
    findings = found(profile_of(Dead(), X), "X5")
    assert sorted(f.op for f in findings) == ["exp", "sin", "sum"]
    assert sum(f.excess_memory_access for f in findings) == 2 * N + 2 * N + N + 1


def test_a_value_that_python_reads_is_not_dead():
    assert found(profile_of(lambda x, mask: x * 2 if mask.any() else x, X, torch.ones(3, dtype=torch.bool)), "X5") == []


@pytest.mark.parametrize("name", ["tiny", "train", "guessed", "wasteful", "nothing"])
def test_networks_without_dead_operators_have_no_findings(name):
    assert found(examples()[name], "X5") == []


# X6 and X7: unknown costs and sizes.


def test_an_uncounted_operator_is_an_error_without_a_price():
    result = costlab.lint(examples()["hostile"], select=["X6"])
    (finding,) = result.findings
    assert finding.severity == "error"
    assert (finding.excess_memory_access, finding.excess_bytes, finding.excess_launches) == (None, None, None)
    assert result.broken == ("X6",)


def test_x7_lists_only_the_operators_at_which_estimates_begin():
    (finding,) = found(examples()["guessed"], "X7")
    assert "index" in finding.op
    assert finding.severity == "note"
