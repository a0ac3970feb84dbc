"""Ranks chosen from the singular values of each layer, without data.

The squared weight error of a layer at rank r is the sum of its squared singular values beyond the r-th, over all input
channels. It falls with r by less and less, as the r-th values do in every channel, while the cost rises by the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from costlab.errors import CostlabError


@dataclass(frozen=True)
class Option:
    """One way to have a layer: at a rank, or as it is."""

    rank: int | None  # None: as it is
    error: float  # relative squared weight error
    mult_adds: int


def weight_error(energy: Sequence[float], rank: int) -> float:
    """||W - W'|| / ||W|| at a rank; `energy` is the sum of the r-th squared singular values for r = 1, 2, ..."""
    whole = math.fsum(energy)
    return math.sqrt(math.fsum(energy[rank:]) / whole) if whole else 0.0


def smallest_rank(energy: Sequence[float], max_error: float) -> int:
    """The smallest rank whose weight error is at most `max_error`."""
    return next(rank for rank in range(1, len(energy) + 1) if weight_error(energy, rank) <= max_error)


def cheap_enough(layers: Sequence[Sequence[Option]], budget: int) -> list[Option] | None:
    """One option a layer, within a budget of mult-adds and with little squared error in all; None where none fit.

    Every layer starts at its cheapest; then always the step that takes away most error for a mult-add, as long as one
    fits. Errors of layers add up in the output, so their sum is what is kept low.
    """
    chosen = [min(options, key=lambda o: (o.mult_adds, o.error)) for options in layers]
    spare = budget - sum(option.mult_adds for option in chosen)
    if spare < 0:
        return None
    steps = [best_step(options, now, spare) for options, now in zip(layers, chosen, strict=True)]
    while True:
        for position, step in enumerate(steps):
            if step and step.mult_adds - chosen[position].mult_adds > spare:
                steps[position] = best_step(layers[position], chosen[position], spare)
        open_steps = [p for p, step in enumerate(steps) if step]
        if not open_steps:
            return chosen
        position = max(open_steps, key=lambda p: worth(chosen[p], steps[p]))
        spare -= steps[position].mult_adds - chosen[position].mult_adds  # type: ignore[union-attr]
        chosen[position] = steps[position]  # type: ignore[assignment]
        steps[position] = best_step(layers[position], chosen[position], spare)


def best_step(options: Sequence[Option], now: Option, spare: int) -> Option | None:
    """The option with less error than `now` that is worth most and fits."""
    better = [o for o in options if o.error < now.error and 0 < o.mult_adds - now.mult_adds <= spare]
    return max(better, key=lambda option: worth(now, option), default=None)


def worth(now: Option, then: Option | None) -> float:
    """Squared error taken away for each mult-add."""
    return (now.error - then.error) / (then.mult_adds - now.mult_adds) if then else 0.0


def share(target: float | str) -> float:
    """`0.5x`, `0.5` or 0.5 as a part of the mult-adds that are there now. Raises CostlabError."""
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*x?\s*", str(target))
    if not match or not 0 < float(match[1]) < 1:
        raise CostlabError(f"target_mult_adds is a part of the present mult-adds, as 0.5x; {target!r} is not")
    return float(match[1])
