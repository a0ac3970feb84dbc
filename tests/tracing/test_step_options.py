"""Freezing, checkpointing, losses, accumulation and shards of a training step."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.core.memory import peak_of_step
from costlab.core.profile import Profile
from costlab.core.step_document import communication
from costlab.errors import CostlabError


def phase(profile: Profile, name: str) -> int:
    """The mult-adds of a phase."""
    return sum(c.mult_adds for op, c in zip(profile.ops, profile.costs, strict=True) if c and op.phase == name)


class Block(nn.Module):
    """Two layers with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(x)))


def blocks(count: int, width: int = 8) -> nn.Sequential:
    """A stack of blocks."""
    return nn.Sequential(*(Block(width) for _ in range(count)))


class WithAdapter(nn.Module):
    """A frozen layer with a low-rank adapter beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.lora_a, self.lora_b = nn.Linear(16, 16), nn.Linear(16, 2), nn.Linear(2, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.lora_b(self.lora_a(x))


def test_a_frozen_base_has_no_weight_gradient_but_passes_gradients_on() -> None:
    model = nn.Sequential(WithAdapter(), WithAdapter())
    profile = costlab.profile(model, (4, 16), mode="step", freeze=["*", "!*lora*"])
    adapter = 4 * (16 * 2 + 2 * 16)
    into_first = 4 * 16 * 16 + adapter  # the second layer's inputs: base and adapter
    inside_first = 4 * 2 * 16  # what lora_b hands to lora_a; the input itself needs no gradient
    assert phase(profile, "backward") == 2 * adapter + into_first + inside_first
    assert profile.total.trainable_params == 2 * (16 * 2 + 2 + 2 * 16 + 16)
    assert all(parameter.requires_grad for parameter in model.parameters())


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 4), batch=st.integers(1, 9))
def test_checkpointing_every_block_adds_one_forward_pass(count: int, batch: int) -> None:
    plain = costlab.profile(blocks(count), (batch, 8), mode="step")
    again = costlab.profile(blocks(count), (batch, 8), mode="step", checkpoint="*")
    assert again.mult_adds == plain.mult_adds + phase(plain, "forward")
    assert phase(again, "forward") == phase(plain, "forward")
    assert (again.total.saved_bytes or 0) <= (plain.total.saved_bytes or 0)
    recomputed = [op for op in again.ops if op.attrs.get("recomputed")]
    assert {op.phase for op in recomputed} == {"backward"}
    assert {op.module for op in recomputed} == {f"{i}{name}" for i in range(count) for name in ("", ".up", ".down")}


def test_the_peak_with_checkpointing_is_not_larger() -> None:
    plain, again = (costlab.profile(blocks(6, 32), (64, 32), mode="step", checkpoint=c) for c in ((), "*"))
    assert peak_of_step(again.trace).bytes < peak_of_step(plain.trace).bytes
    assert again.total.saved_bytes == 5 * 64 * 32 * 4  # what the blocks are given; the first gets the input


def test_an_own_loss_is_part_of_the_forward_pass() -> None:
    model = nn.Linear(4, 3)
    target = torch.zeros(5, dtype=torch.int64)
    profile = costlab.profile(
        model, (5, 4), mode="step", loss=lambda output: nn.functional.cross_entropy(output, target)
    )
    kinds = {op.kind: op.phase for op in profile.ops}
    assert kinds["log_softmax" if "log_softmax" in kinds else "cross_entropy_loss"] == "forward"
    assert kinds["nll_loss_backward"] == kinds["_log_softmax_backward_data"] == "backward"


def test_gradients_that_accumulate_cost_a_pass_each_and_are_stepped_once() -> None:
    one, three = (costlab.profile(blocks(2), (4, 8), mode="step", accumulate=n) for n in (1, 3))
    assert three.mult_adds == 3 * one.mult_adds
    assert [op.kind for op in three.ops].count("sgd") == [op.kind for op in one.ops].count("sgd")
    assert three.total.gradient_bytes == one.total.gradient_bytes
    adds = [op for op in three.ops if op.phase == "backward" and op.kind == "add"]
    assert len(adds) >= 2 * len(list(blocks(2).parameters()))


def test_shards_divide_what_is_kept_and_say_what_is_sent() -> None:
    whole, share = (costlab.profile(blocks(2), (4, 8), mode="step", optimizer="adamw", shards=n) for n in (1, 4))
    for category in ("parameter", "optimizer"):
        before, after = (peak_of_step(p.trace).categories[category] for p in (whole, share))
        assert after == before / 4
    stepped = [
        sum(c.memory_access for o, c in zip(p.ops, p.costs, strict=True) if c and o.phase == "optimizer")
        for p in (whole, share)
    ]
    assert stepped[0] == 4 * stepped[1] > 0
    seconds = [costlab.predict(p, "a100-40gb").by_phase for p in (whole, share)]
    assert seconds[0]["optimizer"] > seconds[1]["optimizer"] > seconds[0]["optimizer"] / 4
    assert seconds[0]["backward"] == seconds[1]["backward"]
    assert share.trace.step is not None
    assert share.trace.step.shards == 4
    assert communication(share.trace) == (2 * share.total.param_bytes * 3 // 4, share.total.gradient_bytes * 3 // 4)
    assert communication(whole.trace) == (0, 0)
    accumulated = costlab.profile(blocks(2), (4, 8), mode="step", shards=4, accumulate=3)
    assert communication(accumulated.trace) == tuple(3 * amount for amount in communication(share.trace))
    assert json.loads(share.to_json())["step"]["all_gather_bytes"] == communication(share.trace).all_gather_bytes
    assert Profile.from_json(share.to_json()) == share


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "conv*"}, "freeze 'conv\\*' matches nothing; names are such as 0.up.weight"),
        ({"checkpoint": "layer"}, "checkpoint 'layer' matches nothing; names are such as 0"),
        ({"loss": lambda output: output}, "the loss must return a scalar tensor, got a tensor of shape \\(4, 8\\)"),
        ({"loss": lambda output: 3.0}, "the loss must return a scalar tensor, got float"),
        ({"loss": lambda output: output.detach().sum()}, "the loss has no gradient"),
        ({"freeze": "*"}, "the loss has no gradient"),
        ({"accumulate": 0}, "accumulate must be a whole number of 1 or greater, got 0"),
        ({"shards": -1}, "shards must be a whole number of 1 or greater, got -1"),
    ],
)
def test_options_that_are_wrong_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CostlabError, match=message) as error:
        costlab.profile(blocks(1), (4, 8), mode="step", **options)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_network_that_breaks_under_autograd_is_one_line() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layer(x).exp()
            y.mul_(2)  # exp keeps its result
            return y

    with pytest.raises(CostlabError, match="modified by an inplace operation") as error:
        costlab.profile(Broken(), (2, 4), mode="step")
    assert "\n" not in str(error.value)
