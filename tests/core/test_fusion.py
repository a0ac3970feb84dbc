"""Fused profiles compute the same in the same order and never cost more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of
from helpers.drawn_networks import INPUT, Network, networks
from helpers.examples import NAMES, examples
from helpers.long_profiles import long_profile
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from costlab.core.cost import Cost
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing._profile import profile

FUSIONS = ("none", "bn", "pointwise")


def kinds(network: Profile) -> list[str]:
    return [op.kind for op in network.ops if not op.free]


# Batch norm, beside torch's own folding.


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "googlenet", "shufflenet_v2_x0_5"])
def test_folding_costs_what_the_network_costs_that_torch_has_folded(name, torchvision):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = getattr(torchvision.models, name)(weights=None, **options).eval()
    view = profile(network, (1, 3, 64, 64)).fused("bn")
    folded = profile(fuse(network), (1, 3, 64, 64))
    assert kinds(view) == kinds(folded)
    for key in ("mult_adds", "memory_access", "bytes_accessed", "element_wise_ops", "activations", "activation_bytes"):
        assert getattr(view.total, key) == getattr(folded.total, key), key
    assert view.total.peak_activation_bytes == folded.total.peak_activation_bytes


def test_a_folded_convolution_has_a_bias_and_answers_for_both_modules_parameters():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    view = profile_of(network, (2, 3, 6, 6)).fused("bn")
    assert kinds(view) == ["conv2d", "relu"]
    conv = view.ops[0]
    assert conv.attrs["fused"] == ["0/conv2d", "1/batch_norm"]
    assert [t.name for t in conv.inputs] == ["input", "weight", "bias"]
    assert conv.params == 8 * 3 * 3 * 3 + 8 + 8
    assert view.costs[0].memory_access == 2 * 3 * 6 * 6 + 8 * 3 * 3 * 3 + 8 + 2 * 8 * 4 * 4
    assert view.by_module()["1"].params == 0


def test_batch_norms_in_a_row_fold_into_one_convolution():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False))
    assert kinds(profile_of(network, (2, 3, 6, 6)).fused("bn")) == ["conv2d"]


class Shared(nn.Module):
    """One convolution, called twice, with one norm or two behind it."""

    def __init__(self, norms: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(norms))

    def forward(self, x: Tensor) -> Tensor:
        return self.norms[0](self.conv(x)) + self.norms[-1](self.conv(x))


class Branching(nn.Module):
    """A convolution whose result has a second reader, or is returned."""

    def __init__(self, second: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.norm, self.second = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), second

    def forward(self, x: Tensor) -> Any:
        x = self.conv(x)
        return self.second(self.norm(x), x)


class OwnWeight(nn.Module):
    """A convolution whose weight is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.zeros(4, 4, 1, 1)), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.conv2d(x, self.weight * 2))


APART = {
    "something between": nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
    "no fixed statistics": nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
    "no convolution": nn.Sequential(nn.Linear(5, 5), nn.BatchNorm2d(4)),
    "a second reader": Branching(lambda y, x: y + x),
    "returned": Branching(lambda y, x: (y, x)),
    "a view of it returned": Branching(lambda y, x: (y, x[0])),
    "a shared weight with other norms": Shared(2),
    "a computed weight": OwnWeight(),
}


@pytest.mark.parametrize("case", APART)
def test_a_batch_norm_stays_where_it_cannot_be_folded(case):
    traced = profile_of(APART[case], (2, 4, 5, 5))
    assert "batch_norm" in kinds(traced)
    assert traced.fused("bn") == traced


def test_a_shared_convolution_folds_where_the_same_norm_follows_every_time():
    assert kinds(profile_of(Shared(1), (2, 4, 5, 5)).fused("bn")) == ["conv2d", "conv2d", "add"]


def test_a_batch_norm_in_train_mode_is_not_a_fixed_scale():
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    traced = profile_of(network, (2, 4, 5, 5), mode="train")
    assert traced.fused("pointwise") == traced


# Element-wise groups: elements read and written, worked out by hand. N elements each, C in a row.

N, C = 2 * 4 * 6 * 6, 6
X = (2, 4, 6, 6)


def scale_and_shift(x: Tensor, y: Tensor) -> Tensor:
    return (x * 2 + y).relu()


def swish(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    return first * second.sigmoid()


def in_place(x: Tensor, y: Tensor) -> Tensor:
    z = F.avg_pool2d(x, 1)
    z += y
    return z.relu_()


def two_results(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = x.exp()
    return y, y + 1, x


def through_a_view(x: Tensor) -> Tensor:
    return x.exp().flatten(1).sin().view(X)


def lending(x: Tensor) -> tuple[Tensor, Tensor]:
    y = x.exp()
    return y.sin(), x.expand_as(y)


def broadcast(x: Tensor, row: Tensor) -> Tensor:
    return x * row.exp()


def gate(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 1).sigmoid() * F.avg_pool2d(x, 1)


GROUPS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]], list[str], int]] = {
    "a chain": (scale_and_shift, [X, X], ["element_wise"], 3 * N),
    "a value read twice": (swish, [X], ["element_wise"], 2 * N),
    "halves of a value": (halves, [X], ["element_wise"], N + N // 2),
    "in place": (in_place, [X, X], ["avg_pool2d", "element_wise"], 2 * N + 3 * N),
    "two results": (two_results, [X], ["element_wise"], 3 * N),
    "through a view": (through_a_view, [X], ["element_wise"], 2 * N),
    "lending its shape": (lending, [X], ["element_wise"], 2 * N),
    "broadcast": (broadcast, [X, (C,)], ["element_wise"], 2 * N + C),
    "with something between": (gate, [X], ["avg_pool2d", "avg_pool2d", "element_wise"], 2 * 2 * N + 3 * N),
    "batch norm": (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), [X], ["element_wise"], 2 * N + 4 * 4),
}


@pytest.mark.parametrize("case", GROUPS)
def test_a_group_reads_every_outside_value_once_and_writes_what_is_used_outside(case):
    function, shapes, expected, memory_access = GROUPS[case]
    view = profile_of(function, *shapes).fused("pointwise")
    assert kinds(view) == expected
    assert view.total.memory_access == memory_access


def read_before(x: Tensor) -> Tensor:
    y = x.exp()
    return F.avg_pool2d(y, 1) + y.sin()


def overwritten(x: Tensor) -> Tensor:
    x = F.avg_pool2d(x, 1)
    y = x.exp()
    x[:] = F.avg_pool2d(y, 1)
    return y.sin() + x


def part_of_it(x: Tensor) -> Tensor:
    return x.exp()[:, :2].sin()


SEPARATE: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "something outside reads it first": (read_before, ["exp", "avg_pool2d", "element_wise"]),
    "what it reads is overwritten": (overwritten, ["avg_pool2d", "exp", "avg_pool2d", "copy", "element_wise"]),
    "only a part of it is read": (part_of_it, ["exp", "sin"]),
    "every output element needs many": (lambda x: torch.cdist(x.exp(), x.exp()), ["exp", "exp", "cdist"]),
    "a reduction": (lambda x: x.exp().softmax(1).exp(), ["exp", "softmax", "exp"]),
}


@pytest.mark.parametrize("case", SEPARATE)
def test_operators_stay_apart_that_cannot_run_as_one(case):
    function, expected = SEPARATE[case]
    assert kinds(profile_of(function, X).fused("pointwise")) == expected


def test_a_group_that_would_raise_the_peak_stays_apart():
    def late(small: Tensor, other: Tensor, big: Tensor) -> tuple[Tensor, Tensor]:
        return (small + other) + big, big

    traced = profile_of(late, (1, 8), (1, 8), (100, 8))
    # Two small tensors and their sum are never there together with the result: fused, two of them would be.
    assert traced.total.peak_activation_bytes == 4 * (8 + 100 * 8 + 100 * 8)
    assert traced.fused("pointwise") == traced


# Laws, on random networks.


def expanded(view: Profile, traced: Profile) -> list[Op]:
    """The traced operators in the order in which the fused ones run them."""
    named = {op.name: op for op in traced.ops}
    return [named[name] for op in view.ops if not op.free for name in op.attrs.get("fused", [op.name])]


def versions_read(ops: list[Op]) -> dict[str, list[tuple[int, str]]]:
    """For every operator, the memory it reads and who wrote it last."""
    writer: dict[int, str] = {}
    read = {}
    for op in ops:
        read[op.name] = [(t.storage, writer.get(t.storage, "")) for t in op.inputs]
        writer.update((t.storage, op.name) for t in op.outputs)
    return read


element_wise = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "in place", "in place on a view", "created", "norm", "assigned", "shape", "view", "swapped", "conv"]
        ),
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    min_size=3,
    max_size=40,
).map(Network)
convolutions_and_norms = st.lists(
    st.tuples(st.sampled_from([1, 2, 4]), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=5
)


def sequence(layers: list[tuple[int, bool, bool, bool]]) -> nn.Module:
    network = nn.Sequential()
    for groups, bias, norm, activation in layers:
        network.append(nn.Conv2d(4, 4, 3, padding=1, groups=groups, bias=bias))
        if norm:
            network.append(nn.BatchNorm2d(4))
        if activation:
            network.append(nn.ReLU(inplace=True))
    return network


@pytest.mark.parametrize("fusion", FUSIONS)
@given(network=st.one_of(networks, element_wise, convolutions_and_norms.map(sequence)))
def test_fusing_keeps_the_work_and_never_costs_more(fusion: str, network: nn.Module) -> None:
    traced = profile_of(network, INPUT)
    view = traced.fused(fusion)
    assert view.total.mult_adds == traced.total.mult_adds
    assert view.total.activations == traced.total.activations
    assert view.total.params == traced.total.params == sum(p.numel() for p in network.parameters())
    for key in ("memory_access", "read_bytes", "write_bytes", "element_wise_ops", "peak_activation_bytes"):
        assert getattr(view.total, key) <= getattr(traced.total, key), key
    for row in fields(Cost):
        rows = view.by_module(1).values()
        assert sum(getattr(r, row.name) for r in rows) == getattr(view.total, row.name)
    assert view.fused(fusion) == view
    assert Profile.from_json(view.to_json()) == view


@pytest.mark.parametrize("fusion", FUSIONS)
@given(network=st.one_of(networks, element_wise, convolutions_and_norms.map(sequence)))
def test_fused_operators_run_what_was_traced_on_the_same_data(fusion: str, network: nn.Module) -> None:
    traced = profile_of(network, INPUT)
    view = traced.fused(fusion)
    original = [op for op in traced.ops if not op.free]
    order = expanded(view, traced)
    assert sorted(op.name for op in order) == sorted(op.name for op in original)
    assert versions_read(order) == versions_read(original)


@pytest.mark.parametrize("fusion", FUSIONS)
@given(network=st.one_of(networks, element_wise, convolutions_and_norms.map(sequence)))
def test_a_fused_operator_reads_and_writes_what_its_members_share_with_the_others(
    fusion: str, network: nn.Module
) -> None:
    traced = profile_of(network, INPUT)
    view = traced.fused(fusion)
    named = {op.name: op for op in traced.ops}
    versions = versions_read([op for op in traced.ops if not op.free])
    written: dict[int, tuple[str, int]] = {}  # by storage: the traced operator, and where it runs now
    ancestors: list[set[int]] = []
    for position, op in enumerate(view.ops):
        assert all(i < position for i in op.after)
        ancestors.append(set().union(*(ancestors[i] | {i} for i in op.after)))
        if op.free:
            continue
        members = op.attrs.get("fused", [op.name])
        reads = {t.storage for t in op.inputs}
        for member in members:
            tensors = {t.storage: t for t in named[member].inputs}
            for storage, version in versions[member]:
                if version in members:
                    continue
                last, place = written.get(storage, ("", -1))
                assert last == version
                assert place in ancestors[position] or not version
                assert storage in reads or tensors[storage].role in ("parameter", "buffer")
        outputs = {t.storage for t in op.outputs}
        for member in members:
            written.update((t.storage, (member, position)) for t in named[member].outputs if t.storage in outputs)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_odd_networks_can_be_fused(name, fusion):
    traced = examples()[name]
    view = traced.fused(fusion)
    assert view.uncounted == traced.uncounted
    assert (view.total.mult_adds, view.total.params) == (traced.total.mult_adds, traced.total.params)
    assert view.total.memory_access <= traced.total.memory_access


def test_no_other_fusion_is_known():
    with pytest.raises(CostlabError, match="unknown fusion 'all'; choose one of none, bn, pointwise"):
        examples()["tiny"].fused("all")


@pytest.mark.slow
def test_many_copies_of_a_network_fuse_as_one_does():
    one, many = long_profile(1).fused("pointwise"), long_profile(50).fused("pointwise")
    assert many.mult_adds == 50 * one.mult_adds
    assert len(many.ops) <= 50 * len(one.ops)
