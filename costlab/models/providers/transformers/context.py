"""What the makers of default inputs look at."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class Context:
    """The network, its configuration, and the inputs made so far."""

    model: torch.nn.Module
    config: Any
    parameters: dict[str, inspect.Parameter]  # of forward
    made: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # inputs that a tower cannot take, with the reason

    def entry(self, *names: str, default: Any = None, part: tuple[str, ...] = ()) -> Any:
        """The first entry that a configuration has: those of a part first, then the whole, then the others."""
        for config in configs_of(self.config, part):
            for name in names:
                value = getattr(config, name, None)
                if value is not None:
                    return value
        return default

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the parameters."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def floats(self, *shape: int) -> torch.Tensor:
        """An input without data."""
        return torch.empty(shape, dtype=self.dtype, device="meta")


def configs_of(config: Any, part: tuple[str, ...]) -> Iterator[Any]:
    """The configurations of a part of a network, outermost first; then the network's own and all nested ones."""
    for name in part:
        inner = getattr(config, name, None)
        if hasattr(inner, "to_dict"):
            yield inner
            yield from configs_of(inner, part)
    yield config
    for value in vars(config).values():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            yield from configs_of(value, ())
