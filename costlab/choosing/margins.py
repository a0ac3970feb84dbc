"""How much longer than predicted a network may take, by the published errors of predictions."""

from __future__ import annotations

import math
from statistics import NormalDist

from costlab.latency.execution import ExecutionConfig

# The spread of ln(measured / predicted) over judging families, as half the distance between its 16th and 84th
# percentile (docs/latency.md): devices and modes that are fitted, and devices that are carried by their datasheet.
FITTED = (("rtx3090", "eager"), ("rtx4090", "eager"), ("rtx4090", "compiled"), ("i9-10940x", "compiled"))
SPREAD = {"fitted": 0.10, "datasheet": 0.20}


def factor_of(margin: float, config: ExecutionConfig) -> float:
    """By what a predicted time is multiplied so that the true one is shorter with a probability of `margin`.

    Errors are log-normal about as well as anything.
    """
    mode = "compiled" if config.compiled else "eager"
    fitted = (config.device.name, mode) in FITTED or mode in config.device.efficiency
    spread = SPREAD["fitted" if fitted else "datasheet"]
    return math.exp(spread * NormalDist().inv_cdf(margin))
