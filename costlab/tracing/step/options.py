"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass

from costlab.core.optimizers import optimizer_named

OPTIMIZER = "sgd"


@dataclass(frozen=True)
class StepOptions:
    """The options of a training step.

    Raises:
        CostlabError: the optimizer is unknown.
    """

    optimizer: str = OPTIMIZER

    def __post_init__(self) -> None:
        optimizer_named(self.optimizer)
