"""How a network is trained."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from costlab.core.optimizers import optimizer_named
from costlab.errors import CostlabError

OPTIMIZER = "sgd"


@dataclass(frozen=True)
class StepOptions:
    """The options of a training step.

    Raises:
        CostlabError: the optimizer is unknown, or a number is below 1.
    """

    optimizer: str = OPTIMIZER
    freeze: tuple[str, ...] = ()  # globs of parameters or modules; one that begins with ! trains them after all
    checkpoint: tuple[str, ...] = ()  # globs of modules whose forward pass runs again in the backward pass
    loss: Callable[[Any], Any] | None = None  # of the network's result; None: its own, or the sum of its outputs
    accumulate: int = 1  # forward and backward passes for each step of the optimizer
    shards: int = 1  # devices that parameters, gradients and optimizer state are divided among

    def __post_init__(self) -> None:
        optimizer_named(self.optimizer)
        for name in ("accumulate", "shards"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise CostlabError(f"{name} must be a whole number of 1 or greater, got {getattr(self, name)!r}")


def check_options(given: Mapping[str, Any]) -> None:
    """Raise CostlabError for an option of a training step, as a file names them, that does not exist or is wrong."""
    names = [*(field.name for field in fields(StepOptions)), "amp"]
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; nearest: {close[0]}" if close else f"; choose one of {', '.join(names)}"
            raise CostlabError(f"a training step has no option {name!r}{hint}")
    StepOptions(**{name: value for name, value in given.items() if name in ("optimizer", "accumulate", "shards")})


def is_frozen(name: str, globs: Iterable[str]) -> bool:
    """Whether a parameter is frozen: the last glob that matches it, or a module that it is in, decides."""
    frozen = False
    for glob in globs:
        if matches(name, glob.removeprefix("!")):
            frozen = not glob.startswith("!")
    return frozen


def matches(name: str, glob: str) -> bool:
    """Whether a glob matches a dotted name, or a module above it."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:n]), glob) for n in range(1, len(parts) + 1))


def check_globs(option: str, globs: Iterable[str], names: Iterable[str]) -> None:
    """Raise CostlabError for a glob that matches none of the names."""
    names = [name for name in names if name]
    for glob in globs:
        if not any(matches(name, glob.removeprefix("!")) for name in names):
            example = f"; names are such as {names[0]}" if names else ""
            raise CostlabError(f"{option} {glob!r} matches nothing{example}")
