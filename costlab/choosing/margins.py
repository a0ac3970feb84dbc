"""How much longer than predicted a network may take, by the published errors of predictions."""

import math
from statistics import NormalDist

from costlab.latency.execution import ExecutionConfig

# Median and 90th percentile of |predicted / measured - 1| in the tables of docs/latency.md: of fitting families where a
# device was fitted, otherwise the median over devices that nothing was fitted to.
FITTED = {
    ("rtx3090", "eager"): (0.032, 0.097),
    ("rtx4090", "eager"): (0.032, 0.126),
    ("rtx4090", "compiled"): (0.050, 0.187),
    ("i9-10940x", "compiled"): (0.071, 0.200),
}
UNSEEN = {"eager": (0.061, 0.198), "compiled": (0.124, 0.315)}
QUARTER, TWENTIETH = (NormalDist().inv_cdf(1 - above) for above in (0.25, 0.05))  # of networks take longer than that


def factor_of(margin: float, config: ExecutionConfig) -> float:
    """By what a predicted time is multiplied so that the true one is shorter with a probability of `margin`.

    Errors are taken as equally likely in both directions. Their logarithm is a line over the quantiles of a normal
    distribution up to the median error, and a steeper one beyond it: large errors are common.
    """
    mode = "compiled" if config.compiled else "eager"
    middle, high = map(math.log1p, FITTED.get((config.device.name, mode), UNSEEN[mode]))
    place = NormalDist().inv_cdf(margin)
    if place <= QUARTER:
        return math.exp(middle * place / QUARTER)
    return math.exp(middle + (high - middle) * (place - QUARTER) / (TWENTIETH - QUARTER))
