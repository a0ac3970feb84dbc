"""Checks of arguments: each returns the value, or raises a ValueError that says what is valid."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any


def multiplier(name: str, value: Any) -> float:
    """A finite number greater than 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < inf:
        raise ValueError(f"{name} must be greater than 0, such as 0.5, 0.75 or 1; got {value!r}")
    return value


def size(name: str, value: Any) -> int:
    """A positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false; got {value!r}")
    return value


def choice(name: str, value: Any, valid: Sequence[Any]) -> Any:
    """The member of `valid` that equals `value`."""
    if isinstance(value, bool) or value not in valid:
        raise ValueError(f"{name} must be one of {', '.join(map(str, valid))}; got {value!r}")
    return valid[valid.index(value)]
