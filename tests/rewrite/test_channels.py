"""Channels that are removed: the rest computes what it did when they were zero, and costs what its trace says."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import nn

import costlab
from costlab.rewrite.channels.edited import Editor
from costlab.rewrite.channels.removable import removable_channels
from costlab.rewrite.channels.slicing import sliced

QUICK = ("zoo:mobilenet_v2", "zoo:shufflenet_v2", "torchvision:regnet_y_400mf")
SLOW = """zoo:mobilenet_v1 zoo:mobilenet_v3_large torchvision:mobilenet_v2 torchvision:mobilenet_v3_large
torchvision:resnet50 torchvision:regnet_x_400mf torchvision:shufflenet_v2_x1_0 torchvision:efficientnet_b0
torchvision:convnext_tiny torchvision:densenet121 torchvision:googlenet torchvision:vgg11 timm:ghostnet_100""".split()
NETWORKS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def load(name: str, size: int = 64, real: bool = False) -> tuple[nn.Module, tuple[int, ...]]:
    from costlab.models import ModelSpec, load_model

    torch.manual_seed(0)
    return load_model(ModelSpec(name), weights=real).model.eval(), (1, 3, size, size)


def some_channels(channels, mixed: bool = True) -> list[int]:
    """A third of the channels of every group."""
    draw = random.Random(0)
    groups = [g for g in channels.groups if mixed or not g.mixed]
    return [n for g in groups for n in draw.sample(g.channels, min(len(g.channels) // 3 + 1, len(g.channels) - 1))]


def randomise(model: nn.Module) -> None:
    """Weights and statistics that are all different and keep activations near 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
        for name, parameter in module.named_parameters(recurse=False):
            if name == "layer_scale":
                nn.init.uniform_(parameter, 0.5, 1.5)


def silenced(model: nn.Module, channels, removed: list[int]) -> nn.Module:
    """The network with zeros in every weight that produces, scales or shifts these channels; readers stay."""
    result = copy.deepcopy(model)
    gone = set(removed)
    produced = {key for group in channels.groups for key in group.producers}
    with torch.no_grad():
        for (name, axis), numbers in channels.weights.items():
            tensor = result.get_parameter(name) if name in dict(model.named_parameters()) else result.get_buffer(name)
            rows = torch.tensor([n in gone for n in numbers.tolist()])
            vector = tensor.numel() == tensor.shape[axis] and not name.endswith(("running_var", "running_mean"))
            if (name, axis) in produced or vector:
                tensor[(slice(None),) * axis + (rows,)] = 0
    return result


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_rest_computes_what_it_did_when_the_channels_were_zero(name):
    model, shape = load(name, real=True)
    randomise(model)
    model.double()
    channels = removable_channels(model, torch.zeros(shape, dtype=torch.float64))
    removed = some_channels(channels, mixed=False)
    assert removed
    smaller, zeroed = sliced(model, channels, removed), silenced(model, channels, removed)
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        after, expected, before = smaller(x), zeroed(x), model(x)
    assert torch.allclose(after, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert not torch.allclose(after, before, rtol=1e-2)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_edited_profile_is_that_of_the_smaller_network(name):
    model, shape = load(name, 224)
    channels = removable_channels(model, shape)
    first, removed = some_channels(channels)[:40], some_channels(channels)
    editor = Editor(channels)
    edited = editor.without(removed, [n for n in removed if n not in first], editor.without(first))
    traced = costlab.profile(sliced(model, channels, removed, weightless=True), shape)
    assert edited.costs == traced.costs
    for ours, theirs in zip(edited.ops, traced.ops, strict=True):
        assert (ours.inputs, ours.outputs, ours.params) == (theirs.inputs, theirs.outputs, theirs.params), ours.name
    assert edited.total.peak_activation_bytes == traced.total.peak_activation_bytes
    for fusion in ("none", "pointwise"):
        seconds = [costlab.predict(p, "rtx4090", fusion=fusion, batch=16).seconds for p in (edited, traced)]
        assert seconds[0] == seconds[1]


# Kinds of layers, one at a time.


class Fork(nn.Module):
    """Two branches, joined in some way."""

    def __init__(self, join) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3)
        self.join = join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(self.one(x), self.two(x))


class Then(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.function(*x)


def after(first: nn.Module, *layers) -> nn.Module:
    return nn.Sequential(first, *(layer if isinstance(layer, nn.Module) else Then(layer) for layer in layers))


CONV, WIDE = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 12, 3)
# A network on 1x3x8x8, how many channels each removable group has, and words of the reasons why others have none.
KINDS = {
    "a sum": (after(Fork(torch.add), nn.Conv2d(6, 2, 1)), [6], ["returns"]),
    "two inputs joined": (after(Fork(lambda a, b: torch.cat([a, b], 1)), nn.Conv2d(12, 2, 1)), [6, 6], ["returns"]),
    "flattened": (after(CONV, nn.Flatten(), nn.Linear(216, 2)), [6], ["returns"]),
    "means": (after(CONV, lambda x: x.mean((2, 3)), nn.Linear(6, 2)), [6], ["returns"]),
    "depthwise, two outputs each": (after(CONV, nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(12, 2, 1)), [6], ["returns"]),
    "three groups": (after(CONV, nn.Conv2d(6, 9, 3, groups=3), nn.Conv2d(9, 2, 1)), [3], ["returns"]),
    "transposed": (after(nn.ConvTranspose2d(3, 6, 2), nn.ConvTranspose2d(6, 2, 2)), [6], ["returns"]),
    "transposed depthwise": (after(CONV, nn.ConvTranspose2d(6, 6, 2, groups=6), nn.Conv2d(6, 2, 1)), [6], ["returns"]),
    "equal parts": (after(WIDE, lambda x: torch.mul(*x.chunk(2, 1)), nn.Conv2d(6, 2, 1)), [6], ["returns"]),
    "parts of fixed size": (
        after(WIDE, lambda x: torch.mul(*x.split(6, 1)), nn.Conv2d(6, 2, 1)),
        [],
        ["returns", "fixed size"],
    ),
    "shuffled": (after(WIDE, nn.ChannelShuffle(3), nn.Conv2d(12, 2, 1)), [4], ["returns"]),
    "shuffled by hand": (
        after(WIDE, lambda x: x.unflatten(1, (3, -1)).transpose(1, 2).flatten(1, 2), nn.Conv2d(12, 2, 1)),
        [4],
        ["returns"],
    ),
    "a fixed view": (after(CONV, lambda x: x.view(1, 6, 36).sum(2), nn.Linear(6, 2)), [], ["returns", "does not run"]),
    "group norm": (after(WIDE, nn.GroupNorm(4, 12), nn.Conv2d(12, 2, 1)), [3], ["returns"]),
    "one slope each": (after(CONV, nn.PReLU(6), nn.Conv2d(6, 2, 1)), [6], ["returns"]),
    "padded": (after(CONV, lambda x: nn.functional.pad(x, (0, 0, 0, 0, 1, 1)), nn.Conv2d(8, 2, 1)), [6], ["returns"]),
    "pixel shuffle": (after(WIDE, nn.PixelShuffle(2), nn.Conv2d(3, 2, 1)), [3], ["returns"]),
    "gated": (
        after(Fork(lambda a, b: a * torch.sigmoid(b.mean((2, 3), keepdim=True))), nn.Conv2d(6, 2, 1)),
        [6],
        ["returns"],
    ),
    "between channels": (after(CONV, lambda x: x @ x.transpose(2, 3), nn.Conv2d(6, 2, 1)), [], ["returns", "matmul"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_is_followed_or_the_reason_given(kind):
    model, sizes, reasons = KINDS[kind]
    model = copy.deepcopy(model).double().eval()
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    channels = removable_channels(model, x)
    assert [len(group.channels) for group in channels.groups] == sizes
    for word in reasons:
        assert any(word in left.reason for left in channels.kept), channels.kept
    assert len({left.reason for left in channels.kept}) == len(reasons)
    removed = [group.channels[1] for group in channels.groups]
    smaller, zeroed = sliced(model, channels, removed), silenced(model, channels, removed)
    if kind not in ("group norm",):
        assert torch.allclose(smaller(x), zeroed(x), rtol=1e-12)
    edited, traced = Editor(channels).without(removed), costlab.profile(smaller, x)
    assert [op.outputs for op in edited.ops] == [op.outputs for op in traced.ops]
    assert edited.costs == traced.costs


def test_channels_are_removed_again_from_a_smaller_network():
    model, shape = load("zoo:mobilenet_v2")
    channels = removable_channels(model, shape)
    removed = some_channels(channels)
    half = sliced(model, channels, removed[::2], weightless=True)
    twice, once = sliced(half, channels, removed, removed[::2]), sliced(model, channels, removed, weightless=True)
    assert [p.shape for p in twice.parameters()] == [p.shape for p in once.parameters()]
