"""Rewritten networks: exact at full rank, with the error of the singular values and the cost of the formula."""

from __future__ import annotations

import copy
import importlib
import itertools
import math
import pkgutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

import costlab
import costlab.rewrite
from costlab.errors import CostlabError
from costlab.rewrite import dac, depthwise_separable, output_error
from costlab.rewrite.ranks import RankOption, ranks_within
from costlab.rewrite.surgery import RewriteResult

# Constructor arguments of convolutions, and a size at which they work.
VARIETY = {
    "plain": (nn.Conv2d, (6, 10, 3), {}, 9),
    "strided": (nn.Conv2d, (6, 10, 3), {"stride": 2, "padding": 1}, 9),
    "strides that differ": (nn.Conv2d, (6, 10, (3, 5)), {"stride": (1, 3), "padding": (0, 2)}, 9),
    "dilated": (nn.Conv2d, (6, 10, 3), {"dilation": 2, "padding": 2}, 9),
    "grouped": (nn.Conv2d, (6, 10, 3), {"groups": 2, "padding": 1}, 9),
    "grouped, strided, dilated": (nn.Conv2d, (6, 9, 3), {"groups": 3, "stride": 2, "dilation": 2}, 9),
    "depthwise": (nn.Conv2d, (6, 12, 3), {"groups": 6}, 9),
    "without bias": (nn.Conv2d, (6, 10, 3), {"bias": False}, 9),
    "same": (nn.Conv2d, (6, 10, 4), {"padding": "same"}, 9),
    "circular": (nn.Conv2d, (6, 10, 3), {"padding": (1, 2), "padding_mode": "circular"}, 9),
    "reflect": (nn.Conv2d, (6, 10, 3), {"padding": 1, "padding_mode": "reflect"}, 9),
    "replicate": (nn.Conv2d, (6, 10, 3), {"padding": "same", "padding_mode": "replicate"}, 9),
    "rows": (nn.Conv2d, (6, 10, (1, 7)), {}, 9),
    "few outputs": (nn.Conv2d, (6, 2, 3), {}, 9),
    "one dimension": (nn.Conv1d, (6, 10, 5), {"stride": 2, "padding": 1}, 9),
    "three dimensions": (nn.Conv3d, (4, 6, (2, 3, 3)), {"groups": 2, "padding": 1}, 5),
}


def convolution(name: str) -> tuple[nn.Module, torch.Tensor]:
    kind, args, kwargs, size = VARIETY[name]
    conv = kind(*args, **kwargs).double()
    dims = conv.weight.dim() - 2
    return conv, torch.randn(2, args[0], *(size for _ in range(dims)), dtype=torch.float64)


class Varied(nn.Module):
    """Dilated, strided and grouped convolutions, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(24)
        self.body = nn.Sequential(
            nn.Conv2d(24, 32, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(32, 48, 5, 2, 2, groups=4), nn.ReLU()
        )
        self.mix = nn.Conv2d(48, 64, 1)
        self.deep = nn.Conv2d(64, 64, 3, padding="same", padding_mode="circular", groups=2)
        self.up = nn.ConvTranspose2d(64, 16, 2, 2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(self.norm(self.stem(x)).relu())
        return self.head(self.up(self.deep(self.mix(x))).mean((2, 3)))


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def vgg16(torchvision):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.vgg16().eval()


def singular_values(conv: nn.Module) -> np.ndarray:
    """[i, m]: those of every input channel's own weights, one channel at a time."""
    weight = conv.weight.detach().double().numpy()
    outputs = len(weight) // conv.groups
    rows = []
    for channel in range(conv.in_channels):
        group, inside = divmod(channel, weight.shape[1])
        own = weight[group * outputs : (group + 1) * outputs, inside].reshape(outputs, -1)
        rows.append(np.linalg.svd(own, compute_uv=False))
    return np.array(rows)


def recomposed(pair: nn.Module, groups: int) -> np.ndarray:
    """The kernel of a depthwise and a pointwise convolution, summed up weight by weight."""
    kernels = pair.depthwise.weight.detach().double().numpy()[:, 0]
    mixing = pair.pointwise.weight.detach().double().numpy().reshape(pair.pointwise.out_channels, -1)
    outputs, inner = mixing.shape
    rank = len(kernels) // pair.depthwise.in_channels
    result = np.zeros((outputs, inner // rank, *kernels.shape[1:]))
    for o, j in itertools.product(range(outputs), range(inner)):
        group = o // (outputs // groups)
        result[o, j // rank] += mixing[o, j] * kernels[group * inner + j]
    return result


# Exactness.


@pytest.mark.parametrize("name", VARIETY)
def test_at_full_rank_every_kind_of_convolution_agrees(name):
    conv, x = convolution(name)
    result = dac(conv, rank=10**9, force=True)
    assert torch.allclose(result.model(x), conv(x), rtol=1e-11, atol=1e-12)
    (layer,) = result.layers
    assert layer.rank == layer.full_rank == singular_values(conv).shape[1]
    assert layer.weight_error == 0


@pytest.mark.slow
def test_at_full_rank_vgg16_agrees(vgg16):
    agree(vgg16, dac(vgg16, rank=9, force=True), layers=13)


@pytest.mark.slow
def test_at_full_rank_resnet50_agrees(torchvision):
    agree(model := torchvision.models.resnet50().eval(), dac(model, rank=49, force=True), layers=17)


def test_at_full_rank_dilated_strided_and_grouped_convolutions_agree():
    agree(model := Varied().eval(), dac(model, rank=49, force=True), layers=4)


def agree(model: nn.Module, result: RewriteResult, layers: int) -> None:
    assert len(result.layers) == layers
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = model(x), result.model(x)
    assert (after - before).abs().max() <= 1e-4 * before.abs().max()
    assert output_error(model, result.model, [x]) <= 1e-4


# What is lost.


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize(
    "name", ["plain", "strides that differ", "grouped", "rows", "one dimension", "three dimensions"]
)
def test_squared_weight_error_is_the_sum_of_the_dropped_squared_singular_values(name, rank):
    conv, _ = convolution(name)
    result = dac(conv, rank=rank, force=True)
    weight = conv.weight.detach().numpy()
    squared = ((weight - recomposed(result.model, conv.groups)) ** 2).sum()
    assert squared == pytest.approx((singular_values(conv)[:, rank:] ** 2).sum(), rel=1e-9, abs=1e-20)
    assert result.layers[0].weight_error == pytest.approx(math.sqrt(squared / (weight**2).sum()), rel=1e-9, abs=1e-12)


def test_the_weight_of_the_pair_is_the_kernel_that_it_amounts_to():
    conv, x = convolution("grouped")
    pair = dac(conv, rank=2, force=True).model
    assert np.allclose(pair.weight.detach(), recomposed(pair, conv.groups))
    assert torch.allclose(pair(x), nn.functional.conv2d(x, pair.weight, pair.bias, padding=1, groups=2))


def test_a_layer_of_low_rank_loses_nothing_at_that_rank():
    conv = nn.Conv2d(8, 32, 3)
    kernels = torch.randn(2, 3, 3)
    with torch.no_grad():
        conv.weight.copy_(torch.einsum("oir,rhw->oihw", torch.randn(32, 8, 2), kernels))
    result = dac(conv, max_error=1e-6)
    assert [layer.rank for layer in result.layers] == [2]
    x = torch.randn(1, 8, 8, 8)
    assert torch.allclose(result.model(x), conv(x), atol=1e-4)


def test_output_error_is_the_relative_distance_of_the_answers():
    one, other = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        one.weight.copy_(torch.tensor([[3.0, 0, 0], [0, 4, 0]]))
        other.weight.copy_(torch.tensor([[3.0, 0, 0], [0, 4, 2]]))
    assert output_error(one, other, [torch.ones(1, 3)]) == pytest.approx(2 / 5)
    assert output_error(one, one, [torch.ones(1, 3)]) == 0


class Noisy(nn.Module):
    """Draws random numbers in eval mode too, and changes its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x.add_(1), training=True)


def test_comparing_outputs_leaves_everything_as_it_was():
    model, x = nn.Sequential(Noisy(), nn.BatchNorm1d(3)).train(), torch.ones(4, 3)
    state = torch.get_rng_state()
    assert output_error(model, model, [x]) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, torch.ones(4, 3))
    assert model[1].num_batches_tracked == 0
    assert all(module.training for module in model.modules())


# What is saved.


@pytest.mark.parametrize("rank", [1, 3])
def test_counted_mult_adds_are_those_of_the_formula(rank):
    model = Varied()
    result = dac(model, rank=rank)
    base, head = (costlab.profile(m, (2, 3, 40, 40)).by_module() for m in (model, result.model))
    assert [layer.path for layer in result.layers] == ["stem", "body.0", "body.2", "deep"]
    for layer in result.layers:
        conv = model.get_submodule(layer.path)
        n, g, k = conv.out_channels, conv.groups, math.prod(conv.kernel_size)
        counted = head[f"{layer.path}.depthwise"].mult_adds + head[f"{layer.path}.pointwise"].mult_adds
        ratio = Fraction(rank * g, n) + Fraction(rank, k)
        assert Fraction(counted, base[layer.path].mult_adds) == ratio
        assert Fraction(layer.mult_adds_after, layer.mult_adds_before) == ratio


def test_another_counter_sees_the_same_mult_adds():
    model = Varied().eval()
    result = dac(model, rank=2)
    x = torch.randn(1, 3, 40, 40)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result.model(x)
    assert counter.get_total_flops() == 2 * costlab.profile(result.model, x).mult_adds


def test_what_would_not_become_cheaper_stays():
    conv = nn.Conv2d(8, 8, 3)  # ratio r / 8 + r / 9: 0.94 at rank 4, 1.18 at rank 5
    assert dac(conv, rank=4).left == ()
    kept = dac(conv, rank=5)
    assert kept.layers == ()
    assert [(left.path, left.reason) for left in kept.left] == [("", "would cost more at rank 5")]
    assert isinstance(kept.model, nn.Conv2d)
    assert len(dac(conv, rank=5, force=True).layers) == 1
    assert dac(nn.Conv2d(8, 8, 3, groups=8), rank=1).layers == ()


@pytest.mark.parametrize("target", [0.9, "0.7x", 0.47])
@pytest.mark.slow
def test_a_target_is_kept_and_ranks_differ_from_layer_to_layer(vgg16, target):
    result = dac(vgg16, target_mult_adds=target, inputs=(1, 3, 224, 224))
    before, after = (costlab.profile(m, (1, 3, 224, 224)).mult_adds for m in (vgg16, result.model))
    wanted = float(str(target).rstrip("x"))
    assert before == 15_470_264_320
    assert wanted - 0.02 < after / before <= wanted
    assert len({layer.rank for layer in result.layers}) > 1 or result.left


def test_a_target_is_met_with_about_the_least_squared_error_there_is():
    model = nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in [(16, 32), (32, 64), (64, 64)]))
    with torch.no_grad():
        for position, conv in enumerate(model):  # spectra that fall off at different speeds
            conv.weight *= torch.exp(-position * torch.arange(9.0) / 8).reshape(3, 3)
    before = [8 * 8 * conv.out_channels * conv.in_channels * 9 for conv in model]
    options = []
    for conv, whole in zip(model, before, strict=True):
        squares = (singular_values(conv) ** 2).sum(0)
        pairs = [8 * 8 * rank * conv.in_channels * (9 + conv.out_channels) for rank in range(1, 9)]
        options.append(
            [(whole, 0.0)] + [(cost, squares[r + 1 :].sum() / squares.sum()) for r, cost in enumerate(pairs)]
        )
    for target in (0.3, 0.5, 0.6, 0.7, 0.9):
        least = min(
            sum(error for _, error in combination)
            for combination in itertools.product(*options)
            if sum(cost for cost, _ in combination) <= target * sum(before)
        )
        result = dac(model, target_mult_adds=target, inputs=(1, 16, 8, 8))
        assert costlab.profile(result.model, (1, 16, 8, 8)).mult_adds <= target * sum(before)
        assert least - 1e-9 <= sum(layer.weight_error**2 for layer in result.layers) <= 1.05 * least + 1e-9


def test_the_choice_is_within_one_step_of_the_best_there_is():
    for seed in range(20):
        numbers = np.random.default_rng(seed)
        layers = []
        for _ in range(4):
            steps = np.sort(numbers.random(4))[::-1]  # each lowers the error by less than the one before
            errors = [*np.cumsum(steps[::-1])[::-1], 0.0]
            costs = numbers.integers(5, 20) * np.arange(1, 6)
            layers.append(
                [RankOption(r + 1, float(e), int(c)) for r, (e, c) in enumerate(zip(errors, costs, strict=True))]
            )
        budget = sum(options[2].mult_adds for options in layers)
        chosen = ranks_within(layers, budget)
        assert sum(option.mult_adds for option in chosen) <= budget
        best = min(
            sum(o.error for o in combination)
            for combination in itertools.product(*layers)
            if sum(o.mult_adds for o in combination) <= budget
        )
        largest_step = max(a.error - b.error for options in layers for a, b in itertools.pairwise(options))
        assert best <= sum(option.error for option in chosen) <= best + largest_step


@pytest.mark.parametrize("limit", [0.05, 0.3, 0.8])
def test_ranks_are_the_smallest_that_keep_the_error(limit):
    model = Varied()
    result = dac(model, max_error=limit, force=True)
    for layer in result.layers:
        squares = (singular_values(model.get_submodule(layer.path)) ** 2).sum(0)
        errors = [math.sqrt(squares[rank:].sum() / squares.sum()) for rank in range(len(squares) + 1)]
        assert errors[layer.rank] <= limit < errors[layer.rank - 1]


# Which layers.


def paths(result: RewriteResult) -> list[str]:
    return [layer.path for layer in result.layers]


def reasons(result: RewriteResult) -> dict[str, str]:
    return {left.path: left.reason for left in result.left}


def test_pointwise_and_transposed_convolutions_are_left_and_named():
    assert reasons(dac(Varied(), rank=1)) == {"mix": "pointwise already", "up": "transposed"}


def test_skip_and_only_are_globs_that_reach_into_modules():
    model = Varied()
    assert paths(dac(model, rank=1, skip="body")) == ["stem", "deep"]
    assert paths(dac(model, rank=1, only=["body.*", "deep"], skip=["*.2"])) == ["body.0", "deep"]
    assert reasons(dac(model, rank=1, only="stem"))["deep"] == "not selected"


def test_ranks_by_path_leave_the_others_and_the_last_glob_counts():
    model = Varied()
    result = dac(model, rank={"body.*": 3, "body.2": 2, "stem": 10**6}, force=True)
    assert {layer.path: layer.rank for layer in result.layers} == {"body.0": 3, "body.2": 2, "stem": 24}
    assert reasons(result)["deep"] == "no rank given"


class Scaled(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_convolutions_that_are_more_than_a_convolution_stay():
    layers = [nn.Conv2d(8, 8, 3) for _ in range(4)]
    parametrizations.weight_norm(layers[0])
    layers[1].register_forward_hook(lambda module, args, result: result + 1)
    layers[2].forward = lambda x: x  # type: ignore[method-assign]
    prune.l1_unstructured(layers[3], "weight", amount=0.5)
    model = nn.Sequential(*layers, Scaled(8, 8, 3), nn.LazyConv2d(8, 3), nn.Conv2d(8, 8, 3, dtype=torch.complex64))
    assert list(reasons(dac(model, rank=1))) == ["0", "1", "2", "3", "4", "5", "6"]


class Tied(nn.Module):
    """Two convolutions with one weight and one bias, a module under two names, and one in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.second.weight, self.second.bias = self.first.weight, self.first.bias
        self.again = self.first
        self.plain = [self.second]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.plain[0](self.again(self.first(x)))


def test_a_shared_weight_stays_shared():
    model = Tied()
    result = dac(model, rank=2)
    net = result.model
    assert [(layer.path, layer.aliases) for layer in result.layers] == [("first", ("again",)), ("second", ())]
    assert net.first is net.again
    assert net.plain[0] is net.second
    assert net.first.depthwise.weight is net.second.depthwise.weight
    assert net.first.pointwise.weight is net.second.pointwise.weight
    assert net.first.pointwise.bias is net.second.pointwise.bias is not model.first.bias
    assert sum(p.numel() for p in net.parameters()) == 2 * 8 * 9 + 2 * 8 * 8 + 8
    x = torch.randn(1, 8, 9, 9)
    assert output_error(model, dac(model, rank=9, force=True).model, [x]) < 1e-5
    new = depthwise_separable(model).model
    assert new.first.depthwise.weight is new.second.depthwise.weight


def test_a_weight_shared_with_a_layer_that_stays_is_left():
    assert reasons(dac(Tied(), rank=2, skip="second")) == {
        "second": "not selected",
        "first": "shares its weight with second, which is kept",
    }
    grouped = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3, groups=2))
    grouped[1].weight = grouped[0].weight
    assert paths(dac(grouped, rank=1)) == []
    with pytest.raises(CostlabError, match="share one weight"):
        dac(Tied(), rank={"first": 1, "second": 2})


def test_a_weight_that_another_module_holds_is_left():
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ConvTranspose2d(8, 8, 3))
    model[1].weight = model[0].weight
    assert reasons(dac(model, rank=1))["0"] == "shares its weight with 1, which is kept"


# The copy.


def test_the_users_network_is_untouched():
    model = Varied().train()
    before = copy.deepcopy(model.state_dict())
    modules, parameters, state = list(model.modules()), list(model.parameters()), torch.get_rng_state()
    result = dac(model, rank=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(model.modules()) == modules
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert not {id(p) for p in result.model.parameters()} & {id(p) for p in parameters}
    assert not {t.data_ptr() for t in result.model.state_dict().values()} & {t.data_ptr() for t in before.values()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtype_mode_and_frozen_weights_are_kept(dtype):
    conv = nn.Conv2d(8, 16, 3).to(dtype).requires_grad_(False).eval()
    for result in (dac(nn.Sequential(conv), rank=2), depthwise_separable(nn.Sequential(conv))):
        assert {p.dtype for p in result.model.parameters()} == {dtype}
        assert not any(module.training for module in result.model[0].modules())
    assert not any(p.requires_grad for p in dac(conv, rank=2).model.parameters())


def test_the_new_weights_train():
    model = dac(Varied(), rank=2).model
    model(torch.randn(2, 3, 40, 40)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_network_with_a_pruned_layer_is_copied():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    result = dac(model, rank=9, force=True)
    assert [layer.path for layer in result.layers] == ["1"]
    assert output_error(model, result.model, [torch.randn(1, 3, 9, 9)]) < 1e-6


def test_graph_modules_and_compiled_modules_are_rewritten():
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
    x = torch.randn(1, 8, 9, 9)
    expected = dac(model, rank=2).model(x)
    assert torch.allclose(dac(torch.fx.symbolic_trace(model), rank=2).model(x), expected, atol=1e-5)
    assert torch.allclose(dac(torch.compile(model), rank=2).model(x), expected, atol=1e-5)


class Curious(nn.Module):
    """Reads its convolution's attributes, as networks do that pad for themselves or ask for dtype and device."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 16, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = self.conv.kernel_size
        x = nn.functional.pad(x.to(self.conv.weight.dtype), (width // 2, width // 2, height // 2, height // 2))
        return self.conv(x)[:, : self.conv.out_channels // self.conv.groups, :: self.conv.stride[0]]


def test_networks_that_read_their_convolutions_attributes_still_run():
    model, x = Curious(), torch.randn(1, 8, 9, 9)
    assert output_error(model, dac(model, rank=9, force=True).model, [x]) < 1e-6
    assert depthwise_separable(model).model(x).shape == model(x).shape


# Depthwise separable.


def test_mobilenet_v1_with_full_convolutions_becomes_mobilenet_v1():
    full = costlab.load("zoo:mobilenet_v1", full_conv=True)[0]
    published, inputs = costlab.load("zoo:mobilenet_v1")
    result = depthwise_separable(full, skip="features.0")
    assert all(parameter.is_meta for parameter in result.model.parameters())
    head, own = costlab.profile(result.model, inputs), costlab.profile(published, inputs)
    assert (head.mult_adds, head.params) == (568_740_352, 4_231_976)
    nested = replace(head.total, peak_bytes=own.total.peak_bytes)  # a Sequential holds its input until it returns
    assert nested == own.total


def test_a_depthwise_separable_convolution_costs_1_n_plus_1_k2():
    model = nn.Conv2d(16, 48, 5, stride=2, padding=2)
    result = depthwise_separable(nn.Sequential(model, nn.ReLU()))
    counted = costlab.profile(result.model, (1, 16, 20, 20)).mult_adds
    assert Fraction(counted, 10 * 10 * 48 * 16 * 25) == Fraction(1, 48) + Fraction(1, 25)
    assert result.layers[0].weight_error is None


@pytest.mark.parametrize("name", ["one dimension", "three dimensions", "grouped", "without bias"])
def test_every_kind_of_convolution_can_become_depthwise_separable(name):
    conv, x = convolution(name)
    model = depthwise_separable(conv, force=True).model.eval()
    assert model(x).shape == conv(x).shape
    assert (model.pointwise.bias is None) == (conv.bias is None)


# Errors.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of rank, max_error and target_mult_adds"),
        ({"rank": 1, "max_error": 0.1}, "one of rank, max_error and target_mult_adds"),
        ({"rank": 0}, "rank must be an integer of at least 1, got 0"),
        ({"rank": True}, "rank must be an integer"),
        ({"rank": 1.5}, "rank must be an integer"),
        ({"rank": {"stem": -1}}, "rank must be an integer"),
        ({"rank": {"stam": 1}}, "'stam'"),
        ({"rank": {"mix": 1}}, "'mix'"),
        ({"rank": 1, "skip": "nothing"}, "skip 'nothing' matches no module"),
        ({"rank": 1, "only": ["stem", "nothing"]}, "only 'nothing' matches no module"),
        ({"max_error": -0.1}, "max_error"),
        ({"max_error": math.nan}, "max_error"),
        ({"target_mult_adds": 0.5}, "needs inputs"),
        ({"target_mult_adds": 1.5, "inputs": (1, 3, 40, 40)}, "target_mult_adds"),
        ({"target_mult_adds": "half", "inputs": (1, 3, 40, 40)}, "target_mult_adds"),
        ({"target_mult_adds": 0.001, "inputs": (1, 3, 40, 40)}, "out of reach"),
        ({"target_mult_adds": 0.5, "inputs": (1, 3, 40, 40), "force": True}, "force"),
    ],
)
def test_bad_arguments_raise_one_line(arguments, message):
    with pytest.raises(CostlabError, match=message) as failure:
        dac(Varied(), **arguments)
    assert "\n" not in str(failure.value)


def test_networks_without_convolutions_or_weights_raise():
    with pytest.raises(CostlabError, match="no convolution"):
        dac(nn.Linear(3, 3), rank=1)
    with pytest.raises(CostlabError, match="no convolution"):
        depthwise_separable(nn.Linear(3, 3))
    with pytest.raises(CostlabError, match="no weights in memory"):
        dac(nn.Conv2d(8, 8, 3, device="meta"), rank=1)
    conv = nn.Conv2d(8, 8, 3)
    nn.init.constant_(conv.weight, math.inf)
    with pytest.raises(CostlabError, match="not finite"):
        dac(conv, rank=1)


def test_a_network_that_cannot_be_copied_raises():
    class Uncopyable(nn.Conv2d):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copies\nof me")

    with pytest.raises(CostlabError, match=r"cannot be copied: no copies$"):
        dac(nn.Sequential(nn.Conv2d(8, 8, 3), Uncopyable(8, 8, 1)), rank=1)


def test_public_names_survive_the_import_of_every_submodule():
    for module in pkgutil.iter_modules(costlab.rewrite.__path__):
        importlib.import_module(f"costlab.rewrite.{module.name}")
    model = nn.Sequential(nn.Conv2d(8, 8, 3))
    assert isinstance(costlab.rewrite.dac(model, rank=1), costlab.rewrite.RewriteResult)
    assert isinstance(costlab.rewrite.depthwise_separable(model).layers[0], costlab.rewrite.ReplacedConvolution)
    assert isinstance(costlab.rewrite.dac(model, rank=9).left[0], costlab.rewrite.KeptConvolution)
    assert costlab.rewrite.output_error(model, model, [torch.ones(1, 8, 3, 3)]) == 0
