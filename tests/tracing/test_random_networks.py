"""Two hundred random networks satisfy every law; `make soak` draws thousands. Regressions follow."""

from __future__ import annotations

import random
from collections import Counter
from random import Random

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of
from helpers.network_laws import (
    LAWS,
    broken,
    commands,
    every_report_can_be_made,
    operators_are_those_of_a_plain_run,
    own_shape_rules_say_what_meta_kernels_say,
)
from helpers.random_networks import DYNAMIC, FUNCTIONS, LAYERS, PAIRS, Block, Drawn, random_network
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.core.cost import FAMILY_OF
from costlab.core.profile import Profile
from costlab.guidelines import lint
from costlab.latency._predict import predict
from costlab.tracing import calls, shapes
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow

SEEDS = range(200)


@pytest.mark.parametrize("seeds", [SEEDS[i : i + 25] for i in SEEDS[::25]], ids=str)
def test_a_random_network_keeps_every_law(seeds, tmp_path):
    for seed in seeds:
        assert broken(random_network(Random(seed)), tmp_path) == [], seed


@pytest.mark.parametrize("law", LAWS[:2], ids=lambda law: law.__name__)
def test_a_network_that_hypothesis_draws_keeps_a_law(law):
    @settings(max_examples=25)
    @given(st.randoms(use_true_random=False))
    def holds(rng: random.Random) -> None:
        drawn = random_network(rng, most=6)
        law(drawn, profile(drawn.network, list(drawn.inputs)))

    holds()


def test_every_command_takes_a_random_network(tmp_path):
    drawn = random_network(Random(1))
    every_report_can_be_made(drawn, profile(drawn.network, list(drawn.inputs)), tmp_path, most=len(commands()))


def test_a_seed_draws_the_same_network_again():
    first, second = (random_network(Random(3)) for _ in range(2))
    assert first.steps == second.steps
    assert str(first.network) == str(second.network)


def test_random_networks_reach_every_family_and_every_step():
    steps: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for seed in range(500):
        drawn = random_network(Random(seed))
        steps.update(drawn.steps)
        if seed < 250:
            kinds.update(op.kind for op in profile(drawn.network, list(drawn.inputs)).ops)
    rare = {"fold", "grid", "meshgrid", "unpooled", "fused products"}
    assert {*LAYERS, *FUNCTIONS, *PAIRS, *DYNAMIC} - rare <= steps.keys()
    not_drawn = {"linear_algebra", "quantised", "backward", "optimizer"}  # the last two are of a training step
    assert {FAMILY_OF[kind] for kind in kinds if kind in FAMILY_OF} == set(FAMILY_OF.values()) - not_drawn


def test_a_wrong_shape_rule_breaks_a_law(monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "aten::relu", lambda x: torch.empty((*x.shape, 1), device="meta"))
    drawn = Drawn(Block().eval(), (torch.ones(2, 3),), (), dynamic=False)
    drawn.network.add("relu", torch.relu, (0,))
    drawn.network.results = (1,)
    calls.SIGNATURES.clear()
    result = profile(drawn.network, list(drawn.inputs))
    for law in (operators_are_those_of_a_plain_run, own_shape_rules_say_what_meta_kernels_say):
        with pytest.raises(AssertionError):
            law(drawn, result)
    calls.SIGNATURES.clear()


# What random networks found.


def test_a_linear_layer_with_a_vector_is_predicted():
    result = profile_of(F.linear, (2, 3), (3,))
    assert predict(result, "rtx3090").seconds > 0


def broadcast_then_written(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    first, second = torch.broadcast_tensors(x.exp().sin(), y.sum())
    second[..., 0] = 1
    return first * y.mean() + second.sum()


NOTHING = {
    "no features": (torch.nn.Linear(0, 4), [(2, 0)]),
    "no images": (torch.nn.Conv2d(3, 4, 3), [(0, 3, 8, 8)]),
    "no keys": (F.scaled_dot_product_attention, [(1, 2, 3, 4), (1, 2, 0, 4), (1, 2, 0, 4)]),
    "no values": (F.scaled_dot_product_attention, [(1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 0)]),
    "no queries": (F.scaled_dot_product_attention, [(2, 0, 4), (2, 5, 4), (2, 5, 4)]),
    "no summands": (torch.matmul, [(2, 0), (0, 3)]),
    "no signals": (lambda x: F.interpolate(x, scale_factor=2), [(0, 3, 4)]),  # torch's meta kernel fails here
}


@pytest.mark.parametrize(("network", "shapes"), NOTHING.values(), ids=NOTHING)
def test_tensors_without_elements_are_costed_and_predicted(network, shapes):
    result = profile_of(network, *(torch.empty(shape, device="meta") for shape in shapes))
    for fusion in ("none", "pointwise"):
        assert 0 < predict(result, "rtx3090", fusion=fusion).seconds < 1e-3
        assert lint(result, device="i9-10940x", fusion=fusion)


@pytest.mark.parametrize("fusion", ["none", "bn", "pointwise"])
def test_a_view_of_two_tensors_waits_for_both(fusion):
    view = profile_of(broadcast_then_written, (2, 3), (2, 3)).fused(fusion)
    assert Profile.from_json(view.to_json()) == view


@pytest.mark.parametrize("shape", [(), (4,)])
def test_a_transposed_vector_has_a_layout(shape):
    def transposed(x: torch.Tensor) -> torch.Tensor:
        return x.t().exp() + x.transpose(0, -1)

    assert lint(profile_of(transposed, torch.zeros(shape, device="meta")), device="rtx3090")
