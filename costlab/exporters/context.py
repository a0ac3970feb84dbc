"""What the formats export: a profile with the predicted and measured seconds of its operators."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from costlab.core.metrics import MEASURED, METRICS, PREDICTED, SORTABLE
from costlab.core.profile import Profile
from costlab.core.serialization import op_data
from costlab.errors import CostlabError
from costlab.formatting.escaping import visible
from costlab.latency.prediction import Prediction
from costlab.measurement.result import Measurement

NEEDS = {PREDICTED: "needs a device", MEASURED: "needs a measurement"}


@dataclass(frozen=True)
class ExportContext:
    """A profile with the times of its operators, if they are known."""

    profile: Profile  # fused as for the prediction
    prediction: Prediction | None
    measurement: Measurement | None
    seconds: Mapping[str, Mapping[str, float]]  # by key ("predicted_seconds"), then by operator
    cost: str  # shown where a format shows one

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Printable names of the operators; a number tells those apart that would look the same."""
        result: dict[str, None] = {}
        for position, op in enumerate(self.profile.ops):
            name = visible(op.name)
            result[name if name not in result else f"{name} #{position}"] = None
        return tuple(result)

    @cached_property
    def nodes(self) -> tuple[dict[str, Any], ...]:
        """The operators as flat plain data, with seconds; unknown values are None."""
        return tuple(
            {**op_data(op, cost), **{key: by_op.get(op.name) for key, by_op in self.seconds.items()}}
            for op, cost in zip(self.profile.ops, self.profile.costs, strict=True)
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The costs of the nodes."""
        return (*SORTABLE, *self.seconds)


def cost_text(key: str, value: float | None) -> str:
    """A cost as text; an unknown count is `?`."""
    return "?" if value is None and key in SORTABLE else METRICS[key].format(value)


def export_context(
    profile: Profile, prediction: Prediction | None, measurement: Measurement | None, cost: str = "mult_adds"
) -> ExportContext:
    """The context of an export; `cost` may be written `mult_adds`, `mult-adds` or `mult adds`.

    Raises:
        CostlabError: unknown cost, or the measurement is of another network or the prediction for fused operators.
    """
    fusion = prediction.fusion if prediction else "none"
    if measurement and fusion != "none":
        raise CostlabError(f"a measurement times single operators: it cannot be combined with fusion {fusion!r}")
    view = profile.fused(fusion)
    seconds: dict[str, Mapping[str, float]] = {}
    if prediction:
        seconds[PREDICTED] = prediction.by_op
    if measurement:
        measurement.join(view)  # raises for another network
        seconds[MEASURED] = {name: timing.median for name, timing in measurement.ops.items()}
    key = cost.strip().lower().replace("-", "_").replace(" ", "_")
    if key not in (*SORTABLE, *seconds):
        raise CostlabError(
            f"cost {cost!r} {NEEDS.get(key, 'is unknown')}; choose one of {', '.join((*SORTABLE, *seconds))}"
        )
    return ExportContext(view, prediction, measurement, seconds, key)
