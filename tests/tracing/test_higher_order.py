"""Operators that take functions: branches and bodies are traced, a fused kernel is one operator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.calls import only, profile_of
from torch import Tensor, nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

from costlab.core.cost import RULES, Cost, traffic
from costlab.core.graph import Op
from costlab.tracing._profile import profile


class Two(nn.Module):
    """Two layers, and what to do with them."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.cheap, self.dear = nn.Linear(16, 16), nn.Sequential(nn.Linear(16, 64), nn.Linear(64, 16))
        self.function = function

    def forward(self, *args: Tensor) -> Any:
        return self.function(self, *args)


CHEAP, DEAR = 2 * 16 * 16, 2 * 2 * 16 * 64


def test_the_more_expensive_branch_is_counted_if_nobody_knows() -> None:
    def network(self: Two, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: self.cheap(x), lambda x: self.dear(x), (x,))

    result = profile(Two(network), (2, 16))
    assert result.mult_adds == DEAR
    assert result.estimated
    assert result.params == sum(p.numel() for p in Two(network).parameters())
    assert [op.name for op in result.ops if op.kind == "linear"] == ["dear.0/linear", "dear.1/linear"]


@pytest.mark.parametrize("value", [True, False])
def test_a_known_predicate_takes_its_branch(value: bool) -> None:
    def network(self: Two, x: Tensor) -> Any:
        return torch.cond(torch.tensor(value), lambda x: self.cheap(x), lambda x: self.dear(x), (x,))

    result = profile(Two(network), (2, 16))
    assert result.mult_adds == (CHEAP if value else DEAR)
    assert not result.estimated


def test_a_loop_runs_as_often_as_it_would() -> None:
    def network(self: Two, x: Tensor) -> Any:
        return while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, self.cheap(y)), (torch.tensor(0), x))[1]

    result = profile(Two(network), (2, 16))
    assert result.mult_adds == 3 * CHEAP
    assert not result.estimated


def test_a_loop_that_nobody_can_count_is_an_estimate() -> None:
    def network(self: Two, x: Tensor) -> Any:
        return while_loop(lambda y: y.norm() > 1, lambda y: (self.cheap(y),), (x,))

    result = profile(Two(network), (2, 16), max_iterations=9)
    assert result.mult_adds == 9 * CHEAP
    assert result.estimated


def test_scans_take_every_step() -> None:
    def network(self: Two, x: Tensor) -> Any:
        def step(carry: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            y = self.cheap(row) + carry
            return y, y.clone()

        return scan(step, torch.zeros(16), x)[1]

    assert profile(Two(network), (5, 16)).mult_adds == 5 * 16 * 16
    sums = profile_of(lambda x: associative_scan(torch.add, x, 0, combine_mode="generic"), (8, 4))
    assert sums.by_module()[""].output_shape == (8, 4)
    assert not sums.uncounted


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_are_transparent(reentrant: bool) -> None:
    result = profile(Two(lambda s, x: checkpoint(s.cheap, x, use_reentrant=reentrant)), (2, 16))
    assert [op.kind for op in result.ops if not op.free] == ["linear"]


@pytest.mark.slow
def test_transforms_of_functions() -> None:
    assert profile(Two(lambda s, x: torch.vmap(s.cheap)(x)), (2, 16)).mult_adds == CHEAP
    weights = profile(
        Two(lambda s, x: torch.func.functional_call(s.cheap, dict(s.cheap.named_parameters()), x)), (2, 16)
    )
    assert weights.mult_adds == CHEAP
    gradient = profile(Two(lambda s, x: torch.func.grad(lambda y: s.cheap(y).sum())(x)), (2, 16))
    assert gradient.mult_adds == 2 * CHEAP  # forward, and the gradient of the input


@pytest.mark.slow
def test_gradients_taken_in_forward_are_counted() -> None:
    def forces(self: Two, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.requires_grad_()
            return torch.autograd.grad(self.cheap(x).sum(), x)[0]

    assert profile(Two(forces), (2, 16)).mult_adds == 2 * CHEAP


# Fused attention.


def test_flex_attention_is_attention() -> None:
    result = profile_of(lambda q: flex_attention(q, q, q), (2, 4, 128, 16))
    assert result.mult_adds == 2 * 4 * 128 * 128 * (16 + 16)
    assert not result.uncounted


def test_a_block_mask_leaves_blocks_out() -> None:
    def causal(q: Tensor) -> Any:
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, 128, 128, device=q.device, BLOCK_SIZE=32)
        return flex_attention(q, q, q, block_mask=mask)

    result = profile_of(causal, (2, 4, 128, 16))
    assert only(result, "flex_attention")[1].mult_adds == 2 * 4 * (4 + 3 + 2 + 1) * 32 * 32 * (16 + 16)


# Rules for what has no operator.


class Scaled(torch.autograd.Function):
    """A function with its own gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        return (x @ weight).relu()


class Host(nn.Module):
    """Calls an autograd.Function and a module that have rules."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.two = nn.Parameter(torch.ones(16, 16)), Two(lambda s, x: s.dear(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(Scaled.apply(x, self.weight))


def test_a_rule_may_be_given_for_an_autograd_function_and_for_a_type_of_module() -> None:
    def constant(mult_adds: int) -> Any:
        def rule(op: Op) -> Cost:
            return traffic(op, mult_adds=mult_adds)

        return rule

    model = Host()
    apart = profile(model, (2, 16))
    assert apart.mult_adds == 2 * 16 * 16 + DEAR
    whole = profile(model, (2, 16), rules=RULES | {"Scaled": constant(7), "Two": constant(100)})
    assert whole.mult_adds == 107
    assert [(op.name, op.after) for op in whole.ops] == [("Scaled", ()), ("two/Two", (0,))]
    assert whole.params == apart.params
    assert profile(model, (2, 16)) == apart


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("mm", lambda a, b: a @ b),
        ("mm", lambda a, b: torch.nn.functional.linear(a, b.t())),
        ("bmm", lambda a, b: a[None] @ b[None]),
        ("matmul", lambda a, b: a @ b),
    ],
)
def test_a_rule_for_a_part_of_a_product_is_used(kind: str, network: Any) -> None:
    rules = RULES | {kind: lambda op: traffic(op, mult_adds=7)}
    assert profile_of(network, (3, 4), (4, 5), rules=rules).mult_adds == 7
    assert profile_of(network, (3, 4), (4, 5)).mult_adds == 3 * 4 * 5


# Modules by who calls them.


class Borrowing(nn.Module):
    """Calls a layer of its parent."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.borrowed = [layer]

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(self.borrowed[0](x))


class Lending(nn.Module):
    """Two modules share a layer that is registered beside them; one layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(16, 16)
        self.a, self.b = Borrowing(self.shared), Borrowing(self.shared)
        self.idle = nn.Sequential(nn.Linear(16, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.shared(x)))


def test_costs_by_owner_and_by_caller() -> None:
    result = profile(Lending(), (2, 16))
    owner, caller = result.by_module(depth=1), result.by_module(depth=1, caller=True)
    assert {path: row.mult_adds for path, row in owner.items()} == {
        "": 0,
        "shared": 3 * CHEAP,
        "a": 0,
        "b": 0,
        "idle": 0,
    }
    assert [caller[path].mult_adds for path in ("shared", "a", "b")] == [CHEAP] * 3
    assert result.by_module(caller=True)["a.shared"].mult_adds == CHEAP
    for rows in (owner, caller, result.by_module(caller=True)):
        assert sum(row.mult_adds for row in rows.values()) == result.mult_adds
        assert sum(row.params for row in rows.values()) == result.params


def test_modules_that_are_never_called_and_uncounted_operators_by_module() -> None:
    result = profile(Lending(), (2, 16))
    assert result.uncalled == ("idle", "idle.0")
    assert {path: row.uncounted for path, row in result.by_module().items() if row.uncounted} == {"a": 1, "b": 1}
    assert result.uncounted == {"special_bessel_j0": 2}
