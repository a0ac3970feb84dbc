"""Layers that run in threads of a forward pass are counted like others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from costlab.errors import CostlabError
from costlab.tracing import threads
from costlab.tracing._profile import profile

LATER: list[threading.Thread] = []


class Net(nn.Module):
    """Two layers that a function calls."""

    def __init__(self, call: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.call = nn.Linear(8, 8), nn.Linear(8, 8), call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self, x)


def one_after_another(net: Net, x: Tensor) -> Tensor:
    return net.a(x) + net.b(x)


def in_threads(net: Net, x: Tensor) -> Tensor:
    found: dict[str, Tensor] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: getattr(net, n)(x)})) for n in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found["a"] + found["b"]


def in_a_pool(net: Net, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda layer: layer(x), (net.a, net.b))
    return a + b  # type: ignore[no-any-return]


def in_a_thread_of_a_thread(net: Net, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    outer = threading.Thread(target=lambda: found.append(in_threads(net, x)))
    outer.start()
    outer.join()
    return found[0]


def read_in_a_thread(net: Net, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(1) as pool:
        positive = pool.submit(lambda: bool(net.a(x).sum() > 0)).result()
    return net.b(x) if positive else x


def total(call: Callable[[Net, Tensor], Tensor], mode: Any) -> tuple[Any, ...]:
    found = profile(Net(call), (2, 8), mode=mode)
    ops = [(op.kind, op.module, op.params) for op in found.ops]
    return (
        found.mult_adds,
        found.total.unused_params,
        sorted(ops),
        {path: row.mult_adds for path, row in found.by_module().items()},
    )


@pytest.mark.parametrize("mode", ["eval", "train", "step"])
@pytest.mark.parametrize("call", [in_threads, in_a_pool, in_a_thread_of_a_thread])
def test_threads_are_recorded_as_if_they_ran_one_after_another(call: Any, mode: Any) -> None:
    assert total(call, mode) == total(one_after_another, mode)


def test_a_value_read_in_a_thread_is_a_guess() -> None:
    assert profile(Net(read_in_a_thread), (2, 8)).guesses


def test_threads_that_wait_for_what_comes_later_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    work: queue.Queue[Tensor] = queue.Queue()

    def waiting(net: Net, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        LATER.append(threading.Thread(target=lambda: found.append(net.a(work.get()))))
        LATER[0].start()
        work.put(x)
        LATER[0].join()
        return found[0]

    monkeypatch.setattr(threads, "SECONDS", 0.1)
    with pytest.raises(CostlabError, match="one after another") as caught:
        profile(Net(waiting), (2, 8))
    assert "\n" not in str(caught.value)
    work.put(torch.zeros(2, 8))
    LATER[0].join(10)
    assert not LATER[0].is_alive()


def test_threads_of_others_are_left_alone() -> None:
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    with ThreadPoolExecutor(1) as pool:
        outside = pool.submit(lambda: torch.ones(3).sum().item())

        def call(net: Net, x: Tensor) -> Tensor:
            return net.a(x) * outside.result()

        assert profile(Net(call), (2, 8)).mult_adds >= 128
        assert pool.submit(lambda: torch.ones(3).sum().item()).result() == 3
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == (start, submit)
