"""Laws of every network: costs add up, edges follow the data, and the network is left unchanged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of, total_of
from helpers.drawn_networks import INPUT, Network, networks
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from costlab.core.cost import Cost
from costlab.core.graph import Trace
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing._profile import profile
from costlab.tracing.calls import SIGNATURES

small = st.integers(1, 4)


@given(st.sampled_from([nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d]), small, small, small, small, small)
def test_convolutions_are_linear_in_the_batch(
    layer: Any, batch: int, inputs: int, outputs: int, kernel: int, stride: int
) -> None:
    network = layer(inputs, outputs, kernel, stride)
    image = (9,) if layer is nn.Conv1d else (9, 7)
    one, many = (total_of(network, (n, inputs, *image)).mult_adds for n in (1, batch))
    assert many == batch * one > 0


@given(small, small, small, st.sampled_from([1, 3]))
def test_groups_divide_mult_adds_and_weights(groups: int, inputs: int, outputs: int, kernel: int) -> None:
    image = (1, inputs * groups, 5, 5)
    dense, grouped = (
        total_of(nn.Conv2d(inputs * groups, outputs * groups, kernel, groups=g, bias=False), image) for g in (1, groups)
    )
    assert grouped.mult_adds * groups == dense.mult_adds
    assert grouped.params * groups == dense.params
    assert dense.memory_access - grouped.memory_access == dense.params - grouped.params


@given(small, small, small, small)
def test_a_1x1_convolution_is_a_linear_layer_on_pixels(batch: int, inputs: int, outputs: int, side: int) -> None:
    convolution = total_of(nn.Conv2d(inputs, outputs, 1), (batch, inputs, side, side))
    linear = total_of(nn.Linear(inputs, outputs), (batch * side * side, inputs))
    assert convolution == linear


@given(small, small, small)
def test_a_transposed_convolution_costs_the_convolution_it_transposes(inputs: int, outputs: int, kernel: int) -> None:
    convolution = total_of(nn.Conv2d(inputs, outputs, kernel, 2, bias=False), (1, inputs, 8 + kernel, 8 + kernel))
    out = 8 // 2 + 1
    transposed = total_of(nn.ConvTranspose2d(outputs, inputs, kernel, 2, bias=False), (1, outputs, out, out))
    assert convolution.mult_adds == transposed.mult_adds


KEYS = [f.name for f in fields(Cost)]


@given(networks)
def test_parts_sum_to_the_total(network: Network) -> None:
    result = profile_of(network, INPUT)
    assert not result.uncounted
    depths = [result.by_module(depth) for depth in (*range(6), None)]
    for rows in depths:
        for key in KEYS:
            assert sum(getattr(row, key) for row in rows.values()) == getattr(result.total, key), key
        assert sum(row.unused_params for row in rows.values()) == result.total.unused_params
        assert sum(row.ops for row in rows.values()) == sum(not op.free for op in result.ops)
    kinds = result.by_kind().values()
    for key in KEYS:
        unread = {"params": 1, "param_bytes": 4}.get(key, 0) * result.total.unused_params  # of no kind
        assert sum(getattr(row, key) for row in kinds) == getattr(result.total, key) - unread, key
    assert sum(op.params for op in result.ops) == result.params - result.total.unused_params
    assert result.params == sum(p.numel() for p in network.parameters())


@given(networks)
def test_the_graph_is_acyclic_and_every_operator_has_its_data_from_somewhere(network: Network) -> None:
    result = profile_of(network, INPUT)
    graph = result.graph
    assert nx.is_directed_acyclic_graph(graph)
    assert list(graph) == [op.name for op in result.ops]
    order = {name: position for position, name in enumerate(graph)}
    assert all(order[a] < order[b] for a, b in graph.edges)
    for op in result.ops:
        outside = not op.inputs or any(t.role != "activation" for t in op.inputs)
        assert outside or graph.in_degree(op.name), op.name


@given(networks)
def test_an_operator_comes_after_all_that_wrote_what_it_reads(network: Network) -> None:
    result = profile_of(network, INPUT)
    writers: dict[int, list[str]] = {}
    for op in result.ops:
        ancestors = nx.ancestors(result.graph, op.name)
        for tensor in op.inputs:
            assert set(writers.get(tensor.storage, ())) <= ancestors, (op.name, tensor.name)
        if not op.free:
            for tensor in op.outputs:
                writers.setdefault(tensor.storage, []).append(op.name)


@given(networks)
def test_profiling_twice_gives_the_same(network: Network) -> None:
    SIGNATURES.clear()
    fresh, remembered = (profile(network, INPUT) for _ in range(2))
    assert fresh == remembered


@given(networks)
def test_a_profile_survives_json(network: Network) -> None:
    original = profile_of(network, INPUT)
    read = Profile.from_json(original.to_json())
    assert read == original
    assert read.total == original.total


@given(networks)
def test_shapes_are_those_of_a_real_run(network: Network) -> None:
    with torch.no_grad():
        real = network.eval()(torch.randn(INPUT))
    result = profile_of(network, INPUT)
    assert result.by_module()[""].output_shape == tuple(real["last"].shape)
    assert result.by_module()["blocks"].output_shape == INPUT


@given(networks)
def test_it_does_not_matter_whether_the_weights_are_there(network: Network) -> None:
    real = profile(network, torch.randn(INPUT))
    assert profile(network.to("meta"), INPUT) == real


# Peak memory: another way of finding it, and examples worked out by hand.


def simulated_peak(trace: Trace) -> int:
    """Walk through the operators with the set of storages that are there."""
    size: dict[int, int] = {}
    weights = set()
    for op in trace.ops:
        for tensor in (*op.inputs, *op.outputs):
            size.setdefault(tensor.storage, tensor.bytes)
            if tensor.role in ("parameter", "buffer", "constant"):
                weights.add(tensor.storage)
    made = {t.storage for op in trace.ops for t in op.outputs if not any(t.storage == i.storage for i in op.inputs)}
    there = size.keys() - made - weights
    peak = 0
    for position, op in enumerate(trace.ops):
        there |= {t.storage for t in op.outputs} - weights
        needed = set(trace.outputs)
        for later in trace.ops[position:]:
            needed |= {t.storage for t in (*later.inputs, *later.outputs)}
        there &= needed
        peak = max(peak, sum(size[s] for s in there))
    return peak


@given(networks)
def test_peak_memory_is_that_of_a_walk_through_the_operators(network: Network) -> None:
    result = profile_of(network, INPUT)
    assert result.total.peak_activation_bytes == simulated_peak(result.trace)


def two_results(x: Tensor) -> tuple[Tensor, Tensor]:
    first = x * 2
    return first, (first + 1).exp()


def kept_view(x: Tensor) -> Tensor:
    wide = x * 2
    corner = wide[:1, :1]
    return corner + (x * 3).exp().sum()


T = 4 * 8 * 8  # bytes of one 8 x 8 tensor

PEAKS: dict[str, tuple[Callable[..., Any], int]] = {
    "a chain holds two": (lambda x: x.exp().exp().exp(), 2 * T),
    "in place holds one": (lambda x: x.exp_().exp_().exp_(), T),
    "a residual holds three": (lambda x: x + x.exp().exp(), 3 * T),
    "a view takes no memory": (lambda x: x.view(-1).view(8, 8).t().exp(), 2 * T),
    "a concatenation holds its parts": (lambda x: torch.cat([x.exp(), x.sin()]), 4 * T),
    "results live to the end": (two_results, 3 * T),
    "a view keeps its base alive": (kept_view, 3 * T),
    "a broadcast tensor is as large as its memory": (lambda x: x[:1].clone().expand(8, 8).exp(), T + T // 8),
    "weights are left out": (nn.Linear(8, 8), 2 * T),
    "buffers are left out": (nn.BatchNorm1d(8), 2 * T),
    "an unused result dies at once": (lambda x: (x.exp(), x.sum())[1], 2 * T),
}


def test_an_input_lives_from_the_start_to_its_last_use() -> None:
    def late(x: Tensor, y: Tensor) -> Tensor:
        return x.exp().exp().sum() + y.sum()

    assert total_of(late, (8, 8), (8, 8)).peak_activation_bytes == 3 * T


@pytest.mark.parametrize(("network", "peak"), PEAKS.values(), ids=PEAKS)
def test_peak_memory_by_hand(network: Any, peak: int) -> None:
    assert total_of(network, (8, 8)).peak_activation_bytes == peak


# The network is left as it was.


class Restless(nn.Module):
    """Its forward changes whatever it can."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.frozen = nn.BatchNorm1d(4).eval()
        self.dropout = nn.Dropout()
        self.register_buffer("steps", torch.zeros(2, 4))
        self.register_buffer("replaced", torch.zeros(4))
        self.table = torch.zeros(3)
        self.cache: Tensor | None = None
        self.log: list[Tensor] = []
        self.nested: dict[str, Any] = {"seen": {"shapes": [1]}}
        self.fail = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.frozen(self.norm(self.layer(x)))
        self.cache = y
        self.log.append(y)
        self.nested["seen"]["shapes"].append(y)
        self.nested["more"] = y
        self.steps += 1
        self.steps.copy_(y)
        self.replaced = y
        self.steps.data = torch.ones(2, 4)
        self.table.add_(1)
        self.layer.weight.data.mul_(2)
        self.layer.bias.data = torch.ones(4)
        self.layer.extra = y
        self.register_buffer("late", y)
        self.add_module("later", nn.ReLU())
        self.dropout.train()
        self.layer.register_forward_hook(lambda *_: None)
        x.add_(random.random() + float(np.random.rand()) + torch.rand(()))
        if self.fail:
            raise ValueError("no")
        return self.dropout(y) * self.steps


def state_of(network: nn.Module) -> dict[str, Any]:
    tensors = {name: (t, t.detach().clone(), t.data_ptr()) for name, t in network.state_dict(keep_vars=True).items()}
    modules = {
        name: (module.training, dict(module.__dict__), [len(v) for v in vars(module).values() if isinstance(v, dict)])
        for name, module in network.named_modules()
    }
    return {"tensors": tensors, "modules": modules}


def assert_same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before["tensors"].keys() == after["tensors"].keys()
    for name, (tensor, values, place) in before["tensors"].items():
        now, values_now, place_now = after["tensors"][name]
        assert now is tensor, name
        assert torch.equal(values, values_now), name
        assert place == place_now, name
    assert before["modules"].keys() == after["modules"].keys()
    for name, (training, attributes, sizes) in before["modules"].items():
        now_training, now_attributes, now_sizes = after["modules"][name]
        assert training == now_training, name
        assert sizes == now_sizes, name
        assert attributes.keys() == now_attributes.keys(), name
        for key, value in attributes.items():
            assert now_attributes[key] is value, (name, key)


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("was_training", [False, True])
@pytest.mark.slow
def test_the_network_is_left_as_it_was(train: bool, fail: bool, was_training: bool) -> None:
    network = Restless().train(was_training)
    network.frozen.eval()
    network.fail = fail
    network.layer.register_forward_hook(lambda *_: None)
    x = torch.randn(2, 4)
    values = x.clone()
    before = state_of(network)
    log, shapes, table = network.log, network.nested["seen"]["shapes"], network.table.clone()
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    if fail:
        with pytest.raises(CostlabError, match="ValueError: no"):
            profile(network, x, mode="train" if train else "eval")
    else:
        profile(network, x, mode="train" if train else "eval")
    assert_same_state(before, state_of(network))
    assert (log, shapes, network.cache) == ([], [1], None)
    assert list(network.nested) == ["seen"]
    assert torch.equal(network.table, table)
    assert torch.equal(x, values)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert random.getstate() == generators[1]
    assert np.array_equal(np.random.get_state()[1], generators[2])
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    network.fail = False
    network(torch.randn(2, 4))


@given(networks)
def test_any_network_is_left_as_it_was(network: Network) -> None:
    for train in (False, True):
        before = state_of(network)
        profile(network, INPUT, mode="train" if train else "eval")
        assert_same_state(before, state_of(network))


def test_counted_batches_are_not_counted_by_a_profile() -> None:
    network = nn.BatchNorm2d(3)
    network(torch.randn(2, 3, 4, 4))
    mean = network.running_mean.clone()
    profile(network, (2, 3, 4, 4), mode="train")
    assert network.num_batches_tracked == 1
    assert torch.equal(network.running_mean, mean)


def test_integer_inputs_keep_their_values() -> None:
    tokens = torch.zeros(2, 3, dtype=torch.long)
    profile_of(lambda t: F.one_hot(t.add_(1), 4), tokens)
    assert not tokens.any()
