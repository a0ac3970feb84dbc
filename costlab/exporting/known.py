"""What is known of a network's operators: their costs, and the seconds that were predicted and measured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from costlab.errors import CostlabError
from costlab.profiles import Profile, node
from costlab.reports import units
from costlab.reports.columns import COSTS
from costlab.reports.escaping import visible

if TYPE_CHECKING:
    from costlab.latency.predicting import Prediction
    from costlab.latency.timings import Measurement

SECONDS = {"predicted_seconds": "predicted", "measured_seconds": "measured"}


class Known:
    """A profile with the seconds known of its operators. Never changes.

    Raises:
        CostlabError: the measurement is of another network or the prediction of fused operators, or there is no `cost`.
    """

    def __init__(
        self,
        profile: Profile,
        prediction: Prediction | None = None,
        measurement: Measurement | None = None,
        cost: str = "mult_adds",
    ):
        fusion = prediction.fusion if prediction else "none"
        if measurement and fusion != "none":
            raise CostlabError(f"operators were measured one by one: fusion {fusion!r} does not go with a measurement")
        self.profile = profile.fused(fusion)
        self.prediction, self.measurement = prediction, measurement
        self.seconds: dict[str, Mapping[str, float]] = {}  # by key, then by operator
        if prediction:
            self.seconds["predicted_seconds"] = prediction.by_op
        if measurement:
            measurement.join(self.profile)  # says so where it is of another network
            self.seconds["measured_seconds"] = {name: timing.median for name, timing in measurement.ops.items()}
        known = (*COSTS, *self.seconds)
        self.cost = cost.strip().lower().replace("-", "_").replace(" ", "_")
        if self.cost not in known:
            needs = {"predicted_seconds": " needs a device", "measured_seconds": " needs a measurement"}
            raise CostlabError(f"cost {cost!r}{needs.get(self.cost, ' is unknown')}; there are {', '.join(known)}")

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
            {**node(op, cost), **{key: by_op.get(op.name) for key, by_op in self.seconds.items()}} for op, cost in pairs
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """Costs that the nodes have."""
        return (*COSTS, *self.seconds)

    def written(self, key: str, value: float | None) -> str:
        """A cost as text; `?` where it is not known."""
        if key in SECONDS:
            return units.seconds(value)
        return "?" if value is None else COSTS[key][1](value)

    def label(self, key: str) -> str:
        """What a cost is called."""
        return SECONDS[key] if key in SECONDS else COSTS[key][0].replace("\n", " ")
