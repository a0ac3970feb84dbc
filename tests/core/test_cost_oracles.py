"""Mult-adds against other counters and against published figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import Call, profile_of
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from costlab.models import ModelSpec, load_model
from costlab.models import profile_of as load_and_profile
from costlab.tracing._profile import profile


def torchs_count(network: nn.Module, *inputs: torch.Tensor, **kwargs: Any) -> int:
    """What torch's own counter finds on the meta device; on a CPU it misses attention and recurrent layers."""
    network = network.to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs, **kwargs)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, groups=2), [(2, 4, 9)]),
    "conv2d": (nn.Conv2d(4, 6, 3, 2, 1, 2, 2), [(2, 4, 9, 11)]),
    "conv2d without a batch": (nn.Conv2d(4, 6, 3), [(4, 9, 11)]),
    "conv3d": (nn.Conv3d(2, 3, 2, stride=2), [(1, 2, 4, 6, 8)]),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 6, 3, stride=2), [(2, 4, 9)]),
    "conv_transpose2d": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), [(2, 4, 5, 6)]),
    "conv_transpose2d, grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), [(2, 4, 5, 6)]),
    "linear": (nn.Linear(7, 5), [(2, 3, 7)]),
    "matmul": (Call(torch.matmul), [(2, 1, 3, 4), (6, 4, 5)]),
    "baddbmm": (Call(torch.baddbmm), [(2, 3, 5), (2, 3, 4), (2, 4, 5)]),
    "attention": (Call(F.scaled_dot_product_attention), [(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 8)]),
    "multi-head attention": (nn.MultiheadAttention(8, 2, batch_first=True), [(3, 5, 8), (3, 6, 8), (3, 6, 8)]),
    "encoder layer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), [(3, 5, 8)]),
    "transformer": (nn.Transformer(8, 2, 2, 2, 16, batch_first=True), [(3, 5, 8), (3, 4, 8)]),
    "lstm": (nn.LSTM(3, 4, num_layers=2, bidirectional=True), [(5, 2, 3)]),
    "lstm, projected": (nn.LSTM(3, 4, proj_size=2), [(5, 2, 3)]),
    "gru": (nn.GRU(3, 4, num_layers=2), [(5, 2, 3)]),
    "rnn": (nn.RNN(3, 4, bidirectional=True), [(5, 2, 3)]),
    "cells": (nn.GRUCell(3, 4), [(2, 3)]),
    "einsum": (Call(lambda x, y: torch.einsum("bhqd,bhkd->bhqk", x, y)), [(2, 3, 5, 4), (2, 3, 6, 4)]),
}


@pytest.mark.parametrize(("network", "shapes"), LAYERS.values(), ids=LAYERS)
def test_layers_cost_what_torch_counts(network: nn.Module, shapes: list[tuple[int, ...]]) -> None:
    assert profile_of(network, *shapes).mult_adds == torchs_count(network, *(meta(*shape) for shape in shapes))


# One of each way of building: plain, residual, grouped, depthwise, dense, inception, attention, windows, video, masks.
NETWORKS = (
    "alexnet vgg11_bn resnet18 resnext50_32x4d densenet121 squeezenet1_1 googlenet mobilenet_v3_small mnasnet0_5"
    " shufflenet_v2_x0_5 regnet_y_400mf efficientnet_b0 convnext_tiny vit_b_32 swin_t maxvit_t r3d_18 s3d"
).split()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_networks_cost_what_torch_counts(name: str) -> None:
    loaded = load_model(ModelSpec(f"torchvision:{name}"))
    result = profile_of(loaded.model, *loaded.inputs.args)
    assert not result.uncounted
    assert not result.estimated
    assert result.mult_adds == torchs_count(loaded.model, *loaded.inputs.args)
    assert result.params == sum(p.numel() for p in loaded.model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_convolutions_and_linear_layers_cost_what_fvcore_counts(name: str, torchvision: Any) -> None:
    from fvcore.nn import FlopCountAnalysis

    network = torchvision.models.get_model(name, weights=None).eval()
    image = torch.zeros(1, 3, 64, 64)
    theirs = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = theirs.by_operator()
    ours = profile_of(network, image).by_kind()
    assert ours["conv2d"].mult_adds == by_operator["conv"]
    assert ours["linear"].mult_adds == by_operator["linear"]


# Worked out from the published architectures: mult-adds of convolutions and fully connected layers, parameters.
PUBLISHED_WIDTHS = {1.4: 582_195_824, 1.0: 300_774_272, 0.75: 209_069_792, 0.5: 97_131_840, 0.35: 59_285_808}
PUBLISHED = {
    "mobilenet_v2": (300_774_272, 3_504_872),
    "mobilenet_v3_large": (216_589_760, 5_483_032),
    "mobilenet_v3_small": (56_510_400, 2_542_856),
    "shufflenet_v2_x0_5": (40_476_448, 1_366_792),
    "shufflenet_v2_x1_0": (144_907_992, 2_278_604),
    "shufflenet_v2_x1_5": (295_759_392, 3_503_624),
    "shufflenet_v2_x2_0": (583_253_464, 7_393_996),
    "vit_b_16": (17_563_828_224, 86_567_656),
}


@pytest.mark.parametrize(("width", "mult_adds"), PUBLISHED_WIDTHS.items())
def test_mobilenet_v2_costs_what_its_architecture_says(width: float, mult_adds: int) -> None:
    assert load_and_profile(ModelSpec("zoo:mobilenet_v2", {"width": width})).mult_adds == mult_adds


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    result = load_and_profile(ModelSpec(f"torchvision:{name}"))
    assert (result.mult_adds, result.params) == PUBLISHED[name]


SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6}  # none is 1, which torch broadcasts instead of summing


@st.composite
def equations(draw: st.DrawFn) -> str:
    """Any einsum of one to three operands over five dimensions; dimensions repeat within an operand at times."""
    terms = draw(st.lists(st.text(st.sampled_from(list(SIZES)), min_size=1, max_size=4), min_size=1, max_size=3))
    used = sorted({d for term in terms for d in term})
    kept = draw(st.lists(st.sampled_from(used), unique=True, max_size=len(used)))
    return f"{','.join(terms)}->{''.join(kept)}" if draw(st.booleans()) else ",".join(terms)


@given(equations())
def test_any_einsum_costs_what_torch_counts(equation: str) -> None:
    operands = [meta(*(SIZES[d] for d in term)) for term in equation.partition("->")[0].split(",")]
    network = Call(lambda *tensors: torch.einsum(equation, *tensors))
    assert profile(network, operands).mult_adds == torchs_count(network, *operands)


BATCHES = st.lists(st.sampled_from([2, 3]), max_size=3)
WIDTHS = st.integers(1, 5)


@given(BATCHES, st.data(), WIDTHS, WIDTHS, WIDTHS)
def test_any_matmul_costs_what_torch_counts(batch: list[int], data: st.DataObject, i: int, k: int, o: int) -> None:
    """Batches that broadcast; torch does not count products with a vector."""
    left, right = (
        [n if data.draw(st.booleans()) else 1 for n in batch[data.draw(st.integers(0, len(batch))) :]] for _ in range(2)
    )
    a, b = meta(*left, i, k), meta(*right, k, o)
    assert profile(Call(torch.matmul), [a, b]).mult_adds == torchs_count(Call(torch.matmul), a, b)
