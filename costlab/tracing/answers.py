"""Answers for control flow that depends on unknown values, so that every loop ends.

A question is a place in the code: a source line in a module. It gets the same answer every time, until it was asked
`max_iterations` times in a row: then another one, once, which ends a loop that waits for it. Where that does not help,
the forward pass starts again, with the other answer from the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from costlab.core.graph import Source
from costlab.errors import ForwardError

MAX_ITERATIONS = 100
ENDLESS = 12  # times `max_iterations`: a loop that is still running
RETRIES = 8  # other answers to try if a guess makes forward fail
Place = tuple[Source | None, str]  # a line, and the path of the module that runs


@dataclass
class Answers:
    """What was answered where, in one run of a forward pass."""

    max_iterations: int = MAX_ITERATIONS
    gradients: bool = False  # the network differentiates in forward: no floating-point tensor has values
    flipped: frozenset[Place] = frozenset()  # where the first answer made forward fail in an earlier run
    asked: Counter[Place] = field(default_factory=Counter)
    sized: Counter[Place] = field(default_factory=Counter)  # how often a size was guessed
    ended: dict[Place, int] = field(default_factory=dict)  # loops that were ended, and after how many rounds
    last: Place | None = None
    differentiates: bool = False  # it does so in this run

    def after_failure(self) -> Answers | None:
        """Other answers to try after forward failed; None if there are none."""
        if self.differentiates and not self.gradients:
            return Answers(self.max_iterations, True, self.flipped)
        if self.last is None or self.last in self.flipped or len(self.flipped) >= RETRIES:
            return None
        return Answers(self.max_iterations, self.gradients, self.flipped | {self.last})

    def answer(self, expected: Any, place: Place, compared: Callable[[], list[int]] = list) -> Any:
        """The answer to a question, given what is expected.

        Args:
            compared: gives the integers with which the network compares something, which may end a loop.

        Raises:
            ForwardError: a loop goes on whatever the answer is.
        """
        self.asked[place] += 1
        self.last = place
        times = self.asked[place]
        if times > ENDLESS * self.max_iterations * (5 if place in self.flipped else 1):
            line = f"{place[0].file}:{place[0].line}" if place[0] else f"module {place[1]!r}"
            raise ForwardError(
                f"forward does not end: {line} reads a value that is unknown, {times:,} times so far; "
                "give the inputs values, or set a lower max_iterations (--max-iterations)"
            )
        if place in self.flipped:
            return alternatives(expected)[1]
        rounds, turn = divmod(times, self.max_iterations + 1)
        within = times > 10 * self.max_iterations  # a loop within a loop
        if not within and (turn or not rounds):
            return expected
        options = alternatives(expected, compared() if type(expected) is int else [])
        if within:
            return options[times % len(options)]
        self.ended[place] = times - 1
        return options[1 + (rounds - 1) % (len(options) - 1)]

    def ends(self, place: Place, waits: Callable[[], bool]) -> bool:
        """Whether a guessed size is to be zero, once, after it was asked for many times in a row.

        Args:
            waits: whether the place is in a loop that may wait for it; others get a longer time to end by themselves.
        """
        self.sized[place] += 1
        times = self.sized[place]
        if times % (self.max_iterations + 1) or not (times % (20 * (self.max_iterations + 1)) == 0 or waits()):
            return False
        self.ended[place] = times - 1
        return True


def alternatives(expected: Any, compared: Iterable[int] = ()) -> list[Any]:
    """The expected answer and others, of the same type; of integers, those that are compared with first."""
    if isinstance(expected, bool):
        return [expected, not expected]
    others = [0.0, 1e30, -1e30] if isinstance(expected, float) else [*compared, 0, 1 << 20, -1]
    return [expected, *(type(expected)(other) for other in others if other != expected)]
