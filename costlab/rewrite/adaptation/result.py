"""What NetAdapt did to a network, as data: its steps, the groups of channels it made smaller, and both profiles."""

from dataclasses import dataclass
from typing import Any

from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.formatting.notebook import ShownInNotebooks
from costlab.latency.execution import ExecutionConfig
from costlab.rewrite.result import KeptConvolution

METRIC_OF = {"latency": PREDICTED, "mult_adds": "mult_adds", "params": "params", "peak_memory": "peak_activation_bytes"}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a step could do: leave a group of channels with fewer of them."""

    group: str
    channels: int  # of the group's first layer, once the others are removed
    value: float  # of the metric that is to fall
    lost: float  # share of the squared norm of the group's filters, the mean over its layers
    accuracy: float | None  # after the step's fine-tuning; None without an accuracy function


@dataclass(frozen=True, slots=True)
class AdaptationStep:
    """A proposal that was carried out."""

    number: int
    proposal: Proposal
    removed: tuple[int, ...]  # places of the removed channels in their group
    accuracy: float | None  # after fine-tuning
    proposals: tuple[Proposal, ...]  # that it was chosen from


@dataclass(frozen=True, slots=True)
class ShrunkGroup:
    """A group of channels that lost some."""

    path: str  # of its first layer
    before: int  # channels of that layer
    after: int
    layers: tuple[str, ...]  # paths of all layers whose outputs these channels are


@dataclass(frozen=True)
class Adaptation(ShownInNotebooks):
    """A network before and after NetAdapt."""

    metric: str  # key of the metric that was to fall
    execution: ExecutionConfig | None  # what latency is predicted for; None without a device
    target: float
    before: float
    after: float
    multiple: int
    after_unrounded: float | None  # with one channel fewer in every shrunk group; None if that has no meaning
    weights: bool  # filters were chosen by the norms of real weights
    accuracy: float | None  # before
    final_accuracy: float | None
    steps: tuple[AdaptationStep, ...]
    groups: tuple[ShrunkGroup, ...]
    left: tuple[KeptConvolution, ...]
    base: Profile
    head: Profile

    def format(self, value: float | None) -> str:
        """A value of the metric as text."""
        return METRICS[self.metric].format(value)

    @property
    def summary(self) -> dict[str, Any]:
        """The target and what was reached, as plain data."""
        return {
            "metric": self.metric,
            "device": self.execution.device.name if self.execution else None,
            "target": self.target,
            "before": self.before,
            "after": self.after,
            "multiple": self.multiple,
            "after_unrounded": self.after_unrounded,
            "accuracy": self.accuracy,
            "final_accuracy": self.final_accuracy,
        }
