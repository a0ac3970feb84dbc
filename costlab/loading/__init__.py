"""From what a user types to a network without weights and inputs for it: the MODEL grammar and the providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from costlab.profiles import Profile


@dataclass(frozen=True)
class Loaded:
    """A network, inputs for it, and where it came from."""

    model: torch.nn.Module
    args: tuple[Any, ...]  # positional inputs of forward
    kwargs: dict[str, Any]  # keyword inputs of forward
    name: str
    provider: str
    arguments: dict[str, Any]  # what the factory was given


def load_model(
    target: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    inputs: Sequence[str] = (),
    batch: int | None = None,
    resolution: int | None = None,
    dtype: str | None = None,
) -> Loaded:
    raise NotImplementedError


def profile_of(
    target: str, arguments: Mapping[str, Any] | None = None, *, train: bool = False, **options: Any
) -> Profile:
    raise NotImplementedError


def list_models(provider: str | None = None, pattern: str | None = None) -> dict[str, list[str]]:
    raise NotImplementedError
