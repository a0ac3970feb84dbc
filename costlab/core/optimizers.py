"""Optimizers: the state that each keeps for a parameter, and the arithmetic of a step for each element."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from costlab.errors import CostlabError

Shape = tuple[int, ...]
State = tuple[Shape, str]  # shape and dtype
States = Callable[[Shape, str], list[State]]

BLOCK = 256  # elements that share a scale in an 8-bit state (bitsandbytes)
SMALLEST_8BIT = 4096  # elements; smaller parameters keep states of 32 bits


def like_parameter(count: int) -> States:
    """So many states of the parameter's own shape and dtype."""
    return lambda shape, dtype: [(shape, dtype)] * count


def factored(shape: Shape, dtype: str) -> list[State]:
    """Adafactor's variance: a mean for each row and each column of a matrix, else one for each element."""
    if len(shape) < 2:
        return [(shape, dtype)]
    return [((*shape[:-1], 1), dtype), ((*shape[:-2], 1, shape[-1]), dtype)]


def quantised(shape: Shape, dtype: str) -> list[State]:
    """Two states of one byte an element, and a scale for each block of them."""
    elements = prod(shape)
    if elements < SMALLEST_8BIT:
        return [(shape, "float32")] * 2
    return [(shape, "uint8")] * 2 + [((-(-elements // BLOCK),), "float32")] * 2


@dataclass(frozen=True)
class Optimizer:
    """One optimizer."""

    states: States
    operations: int  # for each element: the arithmetic of torch's implementation, weight decay left out
    passes: tuple[int, ...] = ()  # elements that each operation reads and writes; none if there is only a fused one


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(like_parameter(0), 2, (3,)),  # p - lr g
    "momentum": Optimizer(like_parameter(1), 4, (2, 3, 3)),  # b = m b + g; p - lr b
    "adam": Optimizer(like_parameter(2), 13, (3, 2, 3, 2, 2, 2, 4)),  # moments (3 + 4), root, scale, epsilon, p - lr u
    "adamw": Optimizer(like_parameter(2), 14, (2, 3, 2, 3, 2, 2, 2, 4)),  # and p (1 - lr w)
    "adafactor": Optimizer(factored, 12),
    "adamw8bit": Optimizer(quantised, 18),  # and two states unpacked and packed
}


def optimizer_named(name: str) -> Optimizer:
    """The optimizer of that name. Raises CostlabError if there is none; the message names the nearest."""
    if name not in OPTIMIZERS:
        close = difflib.get_close_matches(name.lower(), OPTIMIZERS, n=1)
        hint = f"; nearest: {close[0]}" if close else f"; choose one of {', '.join(OPTIMIZERS)}"
        raise CostlabError(f"unknown optimizer {name!r}{hint}")
    return OPTIMIZERS[name]
