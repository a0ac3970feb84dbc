"""Training steps of networks that need care: their counts are those of a real step on the CPU."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import costlab


class Checkpointed(nn.Module):
    """Blocks that the network itself checkpoints."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16)) for _ in range(2))
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=self.reentrant)
        return x


class Experts(nn.Module):
    """Two of four experts for each token, picked by masks, that add to zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(2, -1)
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            tokens, places = (chosen == number).nonzero(as_tuple=True)
            result.index_add_(0, tokens, expert(x[tokens]) * weights[tokens, places, None])
        return result


class GradientPenalty(nn.Module):
    """A critic whose loss contains the gradient for its input."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_(True)
        score = self.critic(x)
        (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        return score.mean() + (gradient.norm(2, -1) - 1).square().mean()


class Adversaries(nn.Module):
    """The losses of a generator and of its critic."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = nn.Linear(8, 16), nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.generator(x)
        return functional.softplus(-self.critic(made)).mean() + functional.softplus(self.critic(made.detach())).mean()


class Adapted(nn.Module):
    """A frozen layer with a low-rank adapter, after another frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.base = nn.Linear(8, 16).requires_grad_(False), nn.Linear(16, 16).requires_grad_(False)
        self.down, self.up = nn.Linear(16, 2, bias=False), nn.Linear(2, 16, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        return self.base(x) + self.up(self.down(x))


class Tied(nn.Module):
    """Embeddings that are the weights of the head too."""

    def __init__(self, sparse: bool = False, tied: bool = True) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 8, sparse=sparse), nn.Linear(8, 50, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(tokens))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "checkpoint": (lambda: Checkpointed(False), lambda: torch.randn(4, 8)),
    "reentrant checkpoint": (lambda: Checkpointed(True), lambda: torch.randn(4, 8)),
    "experts": (Experts, lambda: torch.randn(16, 8)),
    "two losses": (Adversaries, lambda: torch.randn(4, 8)),
    "adapter": (Adapted, lambda: torch.randn(4, 8)),
    "tied": (Tied, lambda: torch.randint(0, 50, (2, 6))),
    "sparse gradient": (lambda: Tied(sparse=True, tied=False), lambda: torch.randint(0, 50, (2, 6))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_are_those_of_a_real_step(name: str) -> None:
    torch.manual_seed(0)
    make, draw = NETWORKS[name]
    model, x = make(), draw()
    real: Any = copy.deepcopy(model)
    with FlopCounterMode(display=False) as counter:
        real(x).sum().backward()
    profile = costlab.profile(model, [x], mode="step")
    assert 2 * profile.mult_adds == counter.get_total_flops()
    assert not profile.uncounted
    trained = [p for p in real.parameters() if p.grad is not None]
    assert profile.total.trainable_params == sum(p.numel() for p in real.parameters() if p.requires_grad)
    assert len([t for op in profile.ops for t in op.inputs if t.name.startswith("grads.")]) == len(trained)


def test_a_gradient_in_the_loss_is_differentiated_again() -> None:
    step = costlab.profile(GradientPenalty(), (4, 8), mode="step")
    outer, inner = 4 * 8 * 16, 4 * 16  # one product of the first layer, and of the second
    forward, gradient = outer + inner, outer + inner
    backward = 2 * outer + 2 * inner  # for weights and inputs of both layers
    again = 2 * outer + inner  # of the gradient: for the first weight, for what it was multiplied by, for the second
    assert step.mult_adds == forward + gradient + backward + again


def test_a_sparse_gradient_has_the_rows_that_were_looked_up() -> None:
    model = nn.Embedding(1000, 16, sparse=True)
    step = costlab.profile(model, [torch.randint(0, 1000, (4, 5))], mode="step", optimizer="sgd")
    rows = 4 * 5
    assert step.total.gradient_bytes == rows * (16 * 4 + 8)  # values, and an index of 8 bytes
    optimizer = next(cost for op, cost in zip(step.ops, step.costs, strict=True) if op.phase == "optimizer")
    assert optimizer is not None
    assert optimizer.memory_access == 3 * rows * 16
    dense = costlab.profile(nn.Embedding(1000, 16), [torch.randint(0, 1000, (4, 5))], mode="step", optimizer="sgd")
    assert dense.total.gradient_bytes == 1000 * 16 * 4


def test_a_shared_table_has_the_rows_of_both_uses() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(1000, 16, sparse=True)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.table(left).sum() * self.table(right).sum()

    step = costlab.profile(Twice(), [torch.randint(0, 1000, (8,)), torch.randint(0, 1000, (3,))], mode="step")
    assert step.total.gradient_bytes == (8 + 3) * (16 * 4 + 8)
