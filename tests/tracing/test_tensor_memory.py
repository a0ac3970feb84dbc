"""Tensors that get the memory of others count with the shape that they have then, and are what they were afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.utils.parametrize as parametrize
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from costlab.tracing._profile import profile

Change = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Calls a function on itself and an activation [2, 8]."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.layer, self.wide, self.change = nn.Linear(8, 8), nn.Linear(8, 64), change
        self.register_buffer("memory", torch.zeros(1))
        self.loose = torch.zeros(1)  # no module owns it

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self, self.layer(x))


class Symmetric(nn.Module):
    """A parametrization without mult-adds."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


def set_buffer(net: Net, y: Tensor) -> Tensor:
    net.memory.set_(y)
    return net.layer(net.memory)


def set_storage(net: Net, y: Tensor) -> Tensor:
    return net.layer(torch.empty(0).set_(y.untyped_storage(), 8, (3, 8), (0, 1)))


def set_part(net: Net, y: Tensor) -> Tensor:
    return net.layer(torch.empty(0).set_(y, 0, [1, 8]))


def set_nothing(net: Net, y: Tensor) -> Tensor:
    z = net.layer(y)
    y.set_()
    return z


def buffer_data(net: Net, y: Tensor) -> Tensor:
    net.memory.data = y
    net.loose.data = y.detach()[:1]
    return net.layer(net.memory) + net.layer(net.loose)


def weight_of_another_shape(net: Net, y: Tensor) -> Tensor:
    net.layer.weight.data = torch.randn(3, 8)
    net.layer.bias.data = torch.zeros(3)
    return net.layer(y)


def weight_made_by_a_layer(net: Net, y: Tensor) -> Tensor:
    net.layer.weight.data = net.wide(y.mean(0)).view(8, 8)
    return net.layer(y)


def weight_scaled(net: Net, y: Tensor) -> Tensor:
    net.layer.weight.data = net.layer.weight.data / net.layer.weight.data.abs().max()
    return net.layer(y)


def known_values(net: Net, y: Tensor) -> Tensor:
    y.data = torch.ones(5, 8)
    return net.layer(y)


def part_of_itself(net: Net, y: Tensor) -> Tensor:
    y.data = y.data[:1]
    return net.layer(y)


def pruned(net: Net, y: Tensor) -> Tensor:
    prune.l1_unstructured(net.layer, "weight", 0.5)
    y = net.layer(y)
    prune.remove(net.layer, "weight")
    return y


def parametrized(net: Net, y: Tensor) -> Tensor:
    parametrize.register_parametrization(net.wide, "weight", Symmetric(), unsafe=True)
    parametrize.register_parametrization(net.layer, "weight", Symmetric())
    y = net.layer(y)
    parametrize.remove_parametrizations(net.layer, "weight")
    return net.layer(y)


CHANGES = (
    set_buffer,
    set_storage,
    set_part,
    set_nothing,
    buffer_data,
    weight_of_another_shape,
    weight_made_by_a_layer,
    weight_scaled,
    known_values,
    part_of_itself,
    pruned,
    parametrized,
)


@pytest.mark.parametrize("change", CHANGES)
def test_the_total_is_that_of_a_real_run_and_the_network_stays_as_it_was(change: Change) -> None:
    net = Net(change).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copy.deepcopy(net)(torch.randn(2, 8))
    tensors = {**net.state_dict(keep_vars=True), "loose": net.loose}
    before = {name: (tensor, tensor.data_ptr(), tensor.clone()) for name, tensor in tensors.items()}
    for _ in range(2):
        found = profile(net, (2, 8))
        assert found.mult_adds == counter.get_total_flops() // 2
        assert not found.guesses
    assert type(net.layer) is type(net.wide) is nn.Linear
    after = {**net.state_dict(keep_vars=True), "loose": net.loose}
    assert after.keys() == before.keys()
    for name, (tensor, address, values) in before.items():
        assert after[name] is tensor
        assert tensor.data_ptr() == address
        assert torch.equal(tensor, values)


def test_values_from_an_activation_are_unknown() -> None:
    def read(net: Net, y: Tensor) -> Tensor:
        net.memory.data = y
        return net.layer(y) if net.memory.sum() > 0 else y

    assert profile(Net(read), (2, 8)).guesses
