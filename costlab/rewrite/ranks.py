"""Ranks chosen from the singular values of each layer, without data.

The squared weight error of a layer at rank r is the sum of its squared singular values beyond the r-th, over all input
channels. It falls with r by less and less, while the cost grows linearly.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from costlab.errors import CostlabError


@dataclass(frozen=True)
class RankOption:
    """One choice for a layer: a rank, or the layer unchanged."""

    rank: int | None  # None: unchanged
    error: float  # relative squared weight error
    mult_adds: int


def weight_error(energy: Sequence[float], rank: int) -> float:
    """||W - W'|| / ||W|| at a rank; `energy` is the sum of the r-th squared singular values for r = 1, 2, ..."""
    whole = math.fsum(energy)
    return math.sqrt(math.fsum(energy[rank:]) / whole) if whole else 0.0


def smallest_rank(energy: Sequence[float], max_error: float) -> int:
    """The smallest rank whose weight error is at most `max_error`."""
    return next(rank for rank in range(1, len(energy) + 1) if weight_error(energy, rank) <= max_error)


def ranks_within(layers: Sequence[Sequence[RankOption]], budget: int) -> list[RankOption] | None:
    """One option per layer, within a budget of mult-adds and with a small sum of squared errors; None if none fit.

    Greedy: every layer starts at its cheapest option; then the step that removes the most error per mult-add is taken
    as long as one fits. The errors of layers add up in the output, hence the sum.
    """
    chosen = [min(options, key=lambda o: (o.mult_adds, o.error)) for options in layers]
    spare = budget - sum(option.mult_adds for option in chosen)
    if spare < 0:
        return None
    steps = [best_step(options, now, spare) for options, now in zip(layers, chosen, strict=True)]
    while True:
        for i, step in enumerate(steps):
            if step and step.mult_adds - chosen[i].mult_adds > spare:
                steps[i] = best_step(layers[i], chosen[i], spare)
        candidates = [(gain(chosen[i], step), -i, step) for i, step in enumerate(steps) if step]
        if not candidates:
            return chosen
        _, negative, best = max(candidates, key=lambda candidate: candidate[:2])
        spare -= best.mult_adds - chosen[-negative].mult_adds
        chosen[-negative] = best
        steps[-negative] = best_step(layers[-negative], best, spare)


def best_step(options: Sequence[RankOption], now: RankOption, spare: int) -> RankOption | None:
    """The option that removes the most error per mult-add and fits."""
    better = [o for o in options if o.error < now.error and 0 < o.mult_adds - now.mult_adds <= spare]
    return max(better, key=lambda option: gain(now, option), default=None)


def gain(now: RankOption, then: RankOption) -> float:
    """Squared error removed per additional mult-add."""
    return (now.error - then.error) / (then.mult_adds - now.mult_adds)


def fraction(target: float | str) -> float:
    """`0.5x`, `0.5` or 0.5 as a fraction of the current mult-adds. Raises CostlabError."""
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*x?\s*", str(target))
    if not match or not 0 < float(match[1]) < 1:
        raise CostlabError(
            f"target_mult_adds must be a fraction of the current mult-adds between 0 and 1, such as 0.5x; got"
            f" {target!r}"
        )
    return float(match[1])
