"""A whole training step against torch: FlopCounterMode on meta, brute force, published expectations, laws."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers.step_references import counted
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import costlab
from costlab.core.profile import Profile
from costlab.errors import CostlabError


def step(model: nn.Module, *args: Any, **options: Any) -> Profile:
    """The profile of a training step, attention by the math path."""
    with sdpa_kernel(SDPBackend.MATH):
        return costlab.profile(model, list(args), mode="step", **options)


def by_phase(profile: Profile, phase: str) -> int:
    """The mult-adds of a phase."""
    return sum(c.mult_adds for op, c in zip(profile.ops, profile.costs, strict=True) if c and op.phase == phase)


class Shared(nn.Module):
    """A linear layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.relu(self.layer(x)))


class Attention(nn.Module):
    """Self-attention with a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mha(x, x, x, need_weights=False)[0]


class Recurrent(nn.Module):
    """Two recurrent layers and a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, 2, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0])


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3)),
        (2, 3, 9, 9),
    ),
    "grouped": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)),
        (2, 4, 9, 9),
    ),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(6, 4, 3, stride=2)), (2, 4, 9, 9)),
    "linear": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Dropout(0.1), nn.Linear(8, 3)),
        (2, 5, 6),
    ),
    "shared": (Shared, (2, 5, 8)),
    "attention": (Attention, (2, 5, 16)),
    "recurrent": (Recurrent, (2, 5, 8)),
    "encoder": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 5, 16)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("grad", [False, True])
def test_counts_equal_flop_counter_mode(name: str, grad: bool) -> None:
    make, shape = NETWORKS[name]
    model, x = make(), torch.randn(shape, requires_grad=grad)
    counter, profile = counted(copy.deepcopy(model), [x]), step(model, x)
    assert 2 * profile.mult_adds == counter.get_total_flops()
    assert not profile.uncounted
    theirs = {path.partition(".")[2]: sum(counts.values()) for path, counts in counter.get_flop_counts().items()}
    ours = profile.by_module()
    for path, module in model.named_modules():
        if not list(module.children()) and path in theirs:
            assert 2 * ours[path].mult_adds == theirs[path], path


@pytest.mark.parametrize("name", NETWORKS)
def test_the_forward_pass_is_that_of_train_mode(name: str) -> None:
    make, shape = NETWORKS[name]
    model = make()
    train, whole = costlab.profile(model, shape, mode="train"), costlab.profile(model, shape, mode="step")
    ops = [op for op in whole.ops if op.phase == "forward"]
    assert [(o.name, o.kind, o.module, o.free, o.attrs, o.source, o.after) for o in ops] == [
        (o.name, o.kind, o.module, o.free, o.attrs, o.source, o.after) for o in train.ops
    ]
    assert [[(t.name, t.shape, t.dtype) for t in (*o.inputs, *o.outputs)] for o in ops] == [
        [(t.name, t.shape, t.dtype) for t in (*o.inputs, *o.outputs)] for o in train.ops
    ]


def test_published_expectations_of_flop_counter_mode() -> None:
    """Its own tests (test/test_flop_counter.py); the inputs require gradients."""

    model, _ = costlab.load("torchvision:resnet18")
    x = torch.randn(1, 3, 224, 224, requires_grad=True)
    profile = step(model, x)
    assert 2 * profile.mult_adds == 10_884_440_064
    assert 2 * by_phase(profile, "forward") == 3_628_146_688


class Expanded(nn.Module):
    """The network of torch's own test of a backward pass; only its input requires a gradient."""

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        a = torch.mm(a, torch.zeros(5, 6)).unsqueeze(0).expand(7, 4, 6)
        return torch.bmm(a, torch.zeros(7, 6, 7))


def test_published_expectation_of_a_backward_pass() -> None:
    """5184 in test/test_flop_counter.py; half of it forward."""
    profile = step(Expanded(), torch.zeros(4, 5, requires_grad=True))
    assert 2 * profile.mult_adds == 5_184
    assert 2 * by_phase(profile, "forward") == 2_592


@pytest.mark.slow
@pytest.mark.parametrize(("fused", "ratio"), [(False, 3.0), (True, 3.5)])
def test_attention_costs_three_times_its_forward_pass_and_fused_three_and_a_half(fused: bool, ratio: float) -> None:
    class Plain(nn.Module):
        def forward(self, q: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(q, q * 1, q * 1)

    q = torch.randn(2, 4, 8, 16, requires_grad=True)
    profile = costlab.profile(Plain(), [q], mode="step") if fused else step(Plain(), q)
    assert profile.mult_adds == ratio * by_phase(profile, "forward")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_weight_gradient_of_a_grouped_convolution_against_a_loop(groups: int) -> None:
    """FlopCounterMode counts it `groups` times too high; a loop over every product that it needs does not."""
    layer, x = nn.Conv2d(4, 8, 3, groups=groups), torch.randn(2, 4, 6, 6)
    output = layer(x)
    needed = 0
    gradient = torch.zeros_like(layer.weight)
    for n, o, i, j in torch.cartesian_prod(*(torch.arange(size) for size in output.shape)).tolist():
        group = o // (8 // groups)
        window = x[n, group * (4 // groups) : (group + 1) * (4 // groups), i : i + 3, j : j + 3]
        gradient[o] += window
        needed += window.numel()
    output.sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(gradient, layer.weight.grad, rtol=1e-4, atol=1e-4)
    profile = step(layer, x)
    assert by_phase(profile, "backward") == needed
    theirs = FlopCounterMode(display=False)
    meta = copy.deepcopy(layer).to("meta")
    with theirs:
        out = meta(x.to("meta"))
        forward = theirs.get_total_flops()
        out.sum().backward()
    assert theirs.get_total_flops() - forward == 2 * needed * groups


def test_nothing_of_the_model_changes() -> None:
    model = NETWORKS["convolutions"][0]()
    model[0].weight.grad = before = torch.ones_like(model[0].weight)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    costlab.profile(model, (2, 3, 9, 9), mode="step", optimizer="adamw")
    assert model[0].weight.grad is before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(value is parameters[name] and value.requires_grad for name, value in model.named_parameters())
    assert model[3].weight.grad is None
    model(torch.randn(2, 3, 9, 9)).sum().backward()


@settings(max_examples=15, deadline=None)
@given(widths=st.lists(st.integers(1, 9), min_size=2, max_size=5), batch=st.integers(1, 5))
def test_freezing_all_but_the_last_layer_leaves_its_weight_gradient(widths: list[int], batch: int) -> None:
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))
    for layer in model[:-1]:
        layer.requires_grad_(False)
    profile = costlab.profile(model, (batch, widths[0]), mode="step")
    assert by_phase(profile, "backward") == batch * widths[-2] * widths[-1]
    assert profile.total.trainable_params == widths[-2] * widths[-1] + widths[-1]
    assert profile.total.gradient_bytes == 4 * profile.total.trainable_params


@settings(max_examples=10, deadline=None)
@given(name=st.sampled_from(sorted(NETWORKS)), factor=st.integers(2, 4))
def test_counts_are_linear_in_the_batch(name: str, factor: int) -> None:
    make, shape = NETWORKS[name]
    model = make()
    one, more = (costlab.profile(model, (n * shape[0], *shape[1:]), mode="step") for n in (1, factor))
    assert more.mult_adds == factor * one.mult_adds
    assert sum(row.mult_adds for row in more.by_module().values()) == more.mult_adds
    assert sum(row.saved_bytes or 0 for row in more.by_module().values()) == more.total.saved_bytes


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "adafactor"])
def test_the_state_of_an_optimizer_is_what_torch_keeps(optimizer: str) -> None:
    model = NETWORKS["convolutions"][0]()
    profile = costlab.profile(model, (2, 3, 9, 9), mode="step", optimizer=optimizer)
    make = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1),
        "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "adafactor": torch.optim.Adafactor,
    }[optimizer](model.parameters())
    model(torch.randn(2, 3, 9, 9)).sum().backward()
    make.step()
    kept = [t for state in make.state.values() for t in state.values() if isinstance(t, torch.Tensor) and t.dim()]
    assert profile.total.optimizer_bytes == sum(t.numel() * t.element_size() for t in kept)
    assert sum(op.kind == optimizer for op in profile.ops) == 3


def test_8_bit_states_have_the_layout_of_bitsandbytes() -> None:
    """Two bytes an element and two float32 scales for each block of 256; below 4,096 elements two float32 states."""
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 63), nn.Linear(63, 1000)).half()
    inputs = torch.empty(2, 64, dtype=torch.float16, device="meta")
    blocks = {4096: 16, 64: None, 63 * 64: None, 63: None, 63000: 247, 1000: None}
    expected = sum(8 * n if scales is None else 2 * n + 8 * scales for n, scales in blocks.items())
    profile = costlab.profile(model, inputs, mode="step", optimizer="adamw8bit")
    assert profile.total.optimizer_bytes == expected


def test_a_step_round_trips_through_json() -> None:
    profile = costlab.profile(NETWORKS["encoder"][0](), (2, 5, 16), mode="step", optimizer="adamw")
    assert Profile.from_json(profile.to_json()) == profile


def test_a_step_whose_results_lie_otherwise_than_inferred_round_trips() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.channels, self.tokens = nn.Linear(6, 6), nn.Linear(4, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.tokens(self.channels(x).transpose(1, 2)).transpose(1, 2).relu()

    profile = costlab.profile(Mixer(), (2, 4, 6), mode="step", amp=True)
    assert Profile.from_json(profile.to_json()) == profile


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Linear(2, 2), {"mode": "step", "optimizer": "adamwx"}, "unknown optimizer 'adamwx'; nearest: adamw"),
        (nn.Linear(2, 2), {"optimizer": "sgd"}, "needs mode 'step'"),
        (nn.Linear(2, 2), {"mode": "training"}, "unknown mode 'training'"),
        (nn.Linear(2, 2).requires_grad_(False), {"mode": "step"}, "the loss has no gradient"),
    ],
)
def test_usage_errors_are_one_line(model: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CostlabError, match=message) as error:
        costlab.profile(model, (1, 2), **options)
    assert "\n" not in str(error.value)
