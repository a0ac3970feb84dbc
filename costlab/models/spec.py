"""What a user asks for: a network by name, file or factory, and the inputs to give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelSpec:
    """A network as the command line, the configuration file and a design space name it."""

    target: str  # a MODEL of the command line: "mobilenet_v2", "hf:config.json", "net.py:Net", "profile.json"
    arguments: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the factory
    inputs: tuple[str, ...] = ()  # as --input takes them; () for the default inputs
    batch: int | None = None
    resolution: int | None = None
    dtype: str | None = None
    mode: str = "eval"  # or "train"
    cached: bool = False  # look in the cache before tracing
