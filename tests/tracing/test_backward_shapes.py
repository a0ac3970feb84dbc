"""Shape rules of the backward pass against torch's own meta kernels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

import costlab
from costlab.core.profile import Profile
from costlab.tracing import backward_shapes, calls

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, 2, groups=8),
            nn.SiLU(),
            nn.Conv2d(8, 2, 1),
        ),
        (2, 3, 9, 9),
    ),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.Hardswish(), nn.Conv2d(4, 2, 1)),
        (2, 3, 5, 5),
    ),
    "layers": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 3)),
        (2, 5, 6),
    ),
    "no scale": (lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8, elementwise_affine=False)), (4, 6)),
    "vectors": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Sigmoid(), nn.Hardtanh(), nn.Linear(8, 3)),
        (4, 6),
    ),
}


def profile(name: str, amp: bool) -> Profile:
    """The training step of a network."""
    make, shape = NETWORKS[name]
    return costlab.profile(make(), shape, mode="step", amp=amp)


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_rule_answers_as_torch_does(name: str, amp: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    profile(name, amp)  # torch keeps some tensors the first time that an operator runs in a process
    monkeypatch.setattr(calls, "SIGNATURES", {})
    with_rules = profile(name, amp)
    monkeypatch.setattr(backward_shapes, "BACKWARD_SHAPES", {})
    monkeypatch.setattr("costlab.tracing.inference.BACKWARD_SHAPES", {})
    monkeypatch.setattr(calls, "SIGNATURES", {})
    assert with_rules == profile(name, amp)


def test_every_rule_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = set()

    def noting(name: str, rule: Callable[..., object]) -> Callable[..., object]:
        def ask(*args: object, **named: object) -> object:
            result = rule(*args, **named)
            asked.update({name} if result is not NotImplemented else ())
            return result

        return ask

    rules = {name: noting(name, rule) for name, rule in backward_shapes.BACKWARD_SHAPES.items()}
    monkeypatch.setattr("costlab.tracing.inference.BACKWARD_SHAPES", rules)
    monkeypatch.setattr(calls, "SIGNATURES", {})
    for name in NETWORKS:
        profile(name, False)
    spare = {f"aten::{kind}_backward" for kind in ("hardsigmoid", "leaky_relu", "mish")}
    spare |= {f"aten::{kernel}" for kernel in backward_shapes.FUSED}  # whose layout is chosen, not torch's
    assert set(rules) - asked <= spare
