"""What a network asks of its tensors past the dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from costlab.tracing._profile import profile


class Net(nn.Module):
    """Calls a function on itself and an input [4, 8]."""

    def __init__(self, call: Callable[[Net, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.table, self.call = nn.Linear(8, 8, bias=False), nn.Embedding(4, 8, max_norm=1.0), call

    def forward(self, x: Tensor) -> Any:
        return self.call(self, x)


LISTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "scalars": lambda a, b: torch.tensor([a.sum(), b.mean(), 1]),
    "of one element": lambda a, b: torch.tensor([a[:1, 0], 2.0]),
    "nested": lambda a, b: torch.as_tensor([[a.sum(), 1], [2, b.sum()]], dtype=torch.float64),
    "like another": lambda a, b: a.new_tensor((a.max(), b.min())),
    "keyword": lambda a, b: torch.tensor(data=[a.sum()], device=a.device),
}


@pytest.mark.parametrize("make", LISTS.values(), ids=LISTS)
def test_lists_of_unknown_numbers_become_tensors(make: Any) -> None:
    def call(net: Net, x: Tensor) -> Tensor:
        made = make(net.layer(x), x)
        seen.append((made.shape, made.dtype, made.device))
        return net.layer(x) if made.sum() > 0 else x

    seen: list[Any] = []
    net = Net(call).eval()
    with torch.no_grad():
        net(torch.randn(4, 8))
    found = profile(net, (4, 8))
    assert seen[0] == seen[1]
    assert found.estimated


@pytest.mark.parametrize("places", [lambda y: y.argmax(1)[:2].sort()[0], lambda y: y.argmax(1)[0] + 1])
def test_a_tensor_is_split_where_an_activation_says(places: Any) -> None:
    def call(net: Net, x: Tensor) -> list[Tensor]:
        return [net.layer(part) for part in torch.tensor_split(x, places(net.layer(x)).cpu())]

    found = profile(Net(call), (4, 8))
    assert found.mult_adds == 2 * 4 * 64
    assert found.estimated


def test_types_are_those_of_the_device() -> None:
    def call(net: Net, x: Tensor) -> Tensor:
        y = net.layer(x)
        assert y.type() == torch.ones(1).type() == "torch.FloatTensor"
        assert y.cuda().type() == "torch.cuda.FloatTensor"
        assert y.type("torch.HalfTensor").dtype is y.type(torch.HalfTensor).dtype is torch.float16
        assert y.type(torch.float64).type() == "torch.DoubleTensor"
        assert y.type("torch.cuda.FloatTensor").is_cuda
        return net.layer(torch.arange(8).type(y.type()))

    assert profile(Net(call), (4, 8)).mult_adds == 4 * 64 + 64


def test_an_embedding_with_a_largest_norm_is_counted() -> None:
    def call(net: Net, x: Tensor) -> Tensor:
        return net.layer(x + net.table(torch.arange(4)))

    net = Net(call)
    before = net.table.weight.clone()
    found = profile(net, (4, 8))
    assert not found.uncounted
    assert found.by_kind()["embedding_renorm"].memory_access == 2 * 4 * 8 + 4
    assert torch.equal(net.table.weight, before)


def test_memory_of_others_is_no_operator() -> None:
    def call(net: Net, x: Tensor) -> Tensor:
        return net.layer(x + torch.from_dlpack(torch.arange(8.0)))

    found = profile(Net(call), (4, 8))
    assert not found.uncounted
    assert found.mult_adds == 4 * 64
