"""Profiles for the viewers of others: one format a module, each a function from what is known to the text of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.exporters import dot, graphml, model_explorer, perfetto
from costlab.exporters.context import known_of

if TYPE_CHECKING:
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
    """The text of a file that a viewer opens.

    Args:
        to: "model-explorer", its heat map "model-explorer-data", "graphml", "dot" or "perfetto".
        prediction: what `costlab.predict` says of the profile; its fusion decides what one operator is.
        measurement: what `costlab.measure` found for the same network.
        cost: what the heat map shows, and what is written in the boxes of dot: "mult_adds", "memory_access", ..., or
            "predicted_seconds" or "measured_seconds" where they are known.

    Raises:
        CostlabError: there is no such format or cost, the measurement is of another network, it is joined with a
            prediction for fused operators, or a trace is asked for without any time.
    """
    if to not in FORMATS:
        raise CostlabError(f"no format {to!r}; there are {', '.join(FORMATS)}")
    return FORMATS[to](known_of(profile, prediction, measurement, cost))
