"""`costlab.export`: a profile as a file for another viewer."""

from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.exporters import dot, graphml, model_explorer, perfetto
from costlab.exporters.context import export_context
from costlab.latency.prediction import Prediction
from costlab.measurement.result import Measurement

FORMATS = {
    "model-explorer": model_explorer.graph,
    "model-explorer-data": model_explorer.node_data,
    "graphml": graphml.graph,
    "dot": dot.graph,
    "perfetto": perfetto.trace,
}


def export(
    profile: Profile,
    to: str,
    *,
    prediction: Prediction | None = None,
    measurement: Measurement | None = None,
    cost: str = "mult_adds",
) -> str:
    """Convert a profile to the text of a file for another viewer.

    Args:
        to: "model-explorer", its heat map "model-explorer-data", "graphml", "dot" or "perfetto".
        prediction: the result of `costlab.predict` for the profile; its fusion decides what one operator is.
        measurement: the result of `costlab.measure` for the same network.
        cost: shown by the heat map and in the boxes of dot: "mult_adds", "memory_access", ..., or "predicted_seconds"
            with a prediction or "measured_seconds" with a measurement.

    Raises:
        CostlabError: unknown format or cost, the measurement is of another network or combined with a prediction for
            fused operators, or perfetto without a prediction and a measurement.
    """
    if to not in FORMATS:
        raise CostlabError(f"unknown format {to!r}; choose one of {', '.join(FORMATS)}")
    return FORMATS[to](export_context(profile, prediction, measurement, cost))
