"""How much longer than predicted a network may take, by the published errors of predictions."""

from __future__ import annotations

import math
from statistics import NormalDist

from costlab.latency.execution import ExecutionConfig

# The 90th percentile of |predicted / measured - 1| in the tables of docs/latency.md: of judging families where a device
# was fitted, otherwise the median over devices that nothing was fitted to.
FITTED = {
    ("rtx3090", "eager"): 0.150,
    ("rtx4090", "eager"): 0.134,
    ("rtx4090", "compiled"): 0.239,
    ("i9-10940x", "compiled"): 0.296,
}
UNSEEN = {"eager": 0.232, "compiled": 0.374}


def factor_of(margin: float, config: ExecutionConfig) -> float:
    """By what a predicted time is multiplied so that the true one is shorter with a probability of `margin`.

    Errors are taken as log-normal round the prediction.
    """
    mode = "compiled" if config.compiled else "eager"
    spread = FITTED.get((config.device.name, mode), UNSEEN[mode]) / NormalDist().inv_cdf(0.95)
    return math.exp(spread * NormalDist().inv_cdf(margin))
