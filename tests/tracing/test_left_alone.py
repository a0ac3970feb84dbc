"""Nothing that a trace makes outlives it: networks train afterwards as if they had never been profiled."""

from __future__ import annotations

import collections
import copy
import functools
import types
from typing import Any

import numpy as np
import pytest
import torch
from helpers.random_networks import random_network
from torch import Tensor, nn

from costlab.tracing._profile import profile

GLOBAL: dict[str, Any] = {}
LATEST: Any = None


@functools.lru_cache
def table(length: int, device: torch.device) -> Tensor:
    return torch.arange(float(length), device=device)


@functools.cache
def frequencies(length: int) -> tuple[Tensor, ...]:
    return torch.linspace(0, 1, length), torch.ones(length)


class Caching(nn.Module):
    """Fills caches everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.seen: collections.Counter[str] = collections.Counter()
        self.state = collections.UserDict({"steps": 0, "list": ([1], (2,))})
        self.history = np.zeros(3)
        self.register_buffer("total", torch.zeros(4))
        self.register_buffer("rows", torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        global LATEST
        scaled = GLOBAL.setdefault("scaled", self.layer.weight * 2)
        LATEST = self.layer(x)
        self.seen["calls"] += 1
        self.state["steps"] += 1
        self.state["list"][0].append(3)
        self.history[0] += 1
        self.total += 1
        self.rows.resize_(3, 4)
        self.layer.weight.requires_grad_(self.layer.weight.requires_grad)
        return LATEST * table(4, x.device) * frequencies(4)[0] * scaled.sum()


def trained(model: nn.Module, *inputs: Tensor) -> tuple[Any, list[Any]]:
    """The loss of one step and the gradients it leaves."""
    torch.manual_seed(0)
    model.zero_grad()
    outputs = model(*inputs)
    tensors = [outputs] if isinstance(outputs, Tensor) else [t for t in outputs if isinstance(t, Tensor)]
    loss = sum(t.double().abs().sum() for t in tensors if t.is_floating_point())
    if isinstance(loss, Tensor) and loss.requires_grad:
        loss.backward()
    return float(loss), [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def test_caches_of_any_kind_are_as_they_were_or_hold_ordinary_tensors() -> None:
    model, x = Caching(), torch.randn(2, 4)
    before = copy.deepcopy({k: v for k, v in vars(model).items() if k in ("seen", "state", "history")})
    profile(model, [x])
    assert GLOBAL == {}
    assert LATEST is None
    assert model.seen == before["seen"]
    assert model.state == before["state"]
    assert np.array_equal(model.history, before["history"])
    assert model.total.tolist() == [0] * 4
    assert model.rows.shape == (2, 4)
    kept = table(4, torch.device("cpu"))
    assert (kept.tolist(), kept.is_inference()) == ([0, 1, 2, 3], False)
    _, gradients = trained(model, x)
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(30))
def test_a_network_trains_the_same_before_and_after_a_profile(seed: int) -> None:
    import random

    drawn = random_network(random.Random(seed), most=8)
    untouched = copy.deepcopy(drawn.network)
    try:
        loss, gradients = trained(untouched, *(t.clone() for t in drawn.inputs))
    except RuntimeError as error:
        pytest.skip(f"cannot be trained: {error}")
    profile(drawn.network, list(drawn.inputs))
    again, others = trained(drawn.network, *(t.clone() for t in drawn.inputs))
    assert again == loss or (again != again and loss != loss)
    for gradient, other in zip(gradients, others, strict=True):
        assert (gradient is None) == (other is None)
        assert gradient is None or torch.equal(gradient.nan_to_num(), other.nan_to_num())


def test_global_settings_and_grad_survive() -> None:
    class Rude(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            torch.set_grad_enabled(False)
            torch.set_default_dtype(torch.bfloat16)
            return x * 2

    profile(Rude(), (2, 4))
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    x = torch.ones(2, requires_grad=True)
    (x * x).sum().backward()
    assert x.grad is not None
    assert torch.zeros(1).device.type == "cpu"


def test_statistics_of_known_values_are_restored() -> None:
    model = nn.Sequential(nn.BatchNorm1d(5), nn.InstanceNorm1d(5, track_running_stats=True))
    before = copy.deepcopy(model.state_dict())

    class Known(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = model

        def forward(self, x: Tensor) -> Tensor:
            return x + self.norms(torch.arange(40.0).reshape(2, 5, 4))

    profile(Known(), (2, 5, 4), mode="train")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_containers_that_hold_one_another_are_restored_in_linear_time() -> None:
    class Tangled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lists: list[Any] = [0]
            for _ in range(8):  # 20 to the 8th paths to the innermost
                self.lists = [self.lists] * 20
            self.lists.append(self.lists)
            self.objects = [types.SimpleNamespace(number=number) for number in range(20_000)]

        def forward(self, x: Tensor) -> Tensor:
            self.lists[0][0][0].clear()
            self.objects[-1].number = None
            return x * 2

    model = Tangled()
    profile(model, (2, 4))
    assert len(model.lists[0][0][0]) == 20
    assert model.objects[-1].number == 19_999


class Counting(nn.Module):
    """Counts its calls in attributes of classes."""

    calls = 0
    seen: list[int] = []  # noqa: RUF012 - shared on purpose

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        Counting.calls += 1
        type(self).latest = x  # type: ignore[attr-defined]
        self.seen.append(1)
        for _ in range(Counting.calls + len(self.seen)):
            x = self.layer(x)
        return x


class CountingMore(Counting):
    """A class that inherits them."""


def test_attributes_of_classes_are_as_they_were() -> None:
    for _ in range(3):
        assert profile(CountingMore(), (2, 4)).mult_adds == 2 * 2 * 16
    assert (Counting.calls, Counting.seen) == (0, [])
    assert not hasattr(CountingMore, "latest")
