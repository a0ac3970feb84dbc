"""What is known of a network's operators: their costs, and the seconds that were predicted and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from costlab.core.metrics import METRICS, SORTABLE
from costlab.core.profile import Profile
from costlab.core.serialization import op_data
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.escaping import visible

if TYPE_CHECKING:
    from costlab.latency.prediction import Prediction
    from costlab.measurement.result import Measurement

SECONDS = {"predicted_seconds": "predicted", "measured_seconds": "measured"}
NEEDS = {"predicted_seconds": "needs a device", "measured_seconds": "needs a measurement"}


@dataclass(frozen=True)
class Known:
    """A profile with the seconds known of its operators."""

    profile: Profile  # fused as the prediction is
    prediction: Prediction | None
    measurement: Measurement | None
    seconds: Mapping[str, Mapping[str, float]]  # by key ("predicted_seconds"), then by operator
    cost: str  # the one to show where there is room for one

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the operators, such that any file can hold them; where two would look alike, the later has a number."""
        result: dict[str, None] = {}
        for position, op in enumerate(self.profile.ops):
            name = visible(op.name)
            result[name if name not in result else f"{name} #{position}"] = None
        return tuple(result)

    @cached_property
    def nodes(self) -> tuple[dict[str, Any], ...]:
        """The operators as flat plain data, with seconds; what is not known is None."""
        pairs = zip(self.profile.ops, self.profile.costs, strict=True)
        return tuple(
            {**op_data(op, cost), **{key: seconds.get(op.name) for key, seconds in self.seconds.items()}}
            for op, cost in pairs
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """Costs that the nodes have."""
        return (*SORTABLE, *self.seconds)

    def written(self, key: str, value: float | None) -> str:
        """A cost as text; `?` where it is not known."""
        if key in SECONDS:
            return units.seconds(value)
        return "?" if value is None else METRICS[key].format(value)

    def label(self, key: str) -> str:
        """What a cost is called."""
        return SECONDS[key] if key in SECONDS else METRICS[key].label


def known_of(
    profile: Profile, prediction: Prediction | None, measurement: Measurement | None, cost: str = "mult_adds"
) -> Known:
    """What is known of a profile; `cost` is written `mult_adds`, `mult-adds` or `mult adds`.

    Raises:
        CostlabError: the measurement is of another network or the prediction of fused operators, or there is no `cost`.
    """
    fusion = prediction.fusion if prediction else "none"
    if measurement and fusion != "none":
        raise CostlabError(f"operators were measured one by one: fusion {fusion!r} does not go with a measurement")
    view = profile.fused(fusion)
    seconds: dict[str, Mapping[str, float]] = {}
    if prediction:
        seconds["predicted_seconds"] = prediction.by_op
    if measurement:
        measurement.join(view)  # says so where it is of another network
        seconds["measured_seconds"] = {name: timing.median for name, timing in measurement.ops.items()}
    key = cost.strip().lower().replace("-", "_").replace(" ", "_")
    if key not in (*SORTABLE, *seconds):
        why = NEEDS.get(key, "is unknown")
        raise CostlabError(f"cost {cost!r} {why}; there are {', '.join((*SORTABLE, *seconds))}")
    return Known(view, prediction, measurement, seconds, key)
