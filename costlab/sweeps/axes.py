"""An axis of a design space: the values of one argument, given as text, as a list or as one value."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from costlab.core.parsing import parse_value, require_json
from costlab.errors import CostlabError

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?"
RANGE = re.compile(rf"\s*({NUMBER})\s*:\s*({NUMBER})\s*(?::\s*({NUMBER})\s*)?")
INTEGER = re.compile(r"\s*[+-]?\d+\s*")
LONGEST = 10**9  # values of one axis
COMPARED = 100_000  # axes up to this length are checked for repeated values
OPENING, CLOSING, QUOTES = "([{", ")]}", "\"'"


@dataclass(frozen=True)
class NumberRange:
    """Evenly spaced numbers, exact in decimals: 0.25:1.0:0.05 ends with 1.0."""

    start: Fraction
    step: Fraction
    count: int
    whole: bool  # integers, else floating point

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int | float:
        value = self.start + index * self.step
        return int(value) if self.whole else float(value)


@dataclass(frozen=True)
class Axis:
    """The values of an argument in order: ranges and lists of values."""

    pieces: tuple[NumberRange | tuple[Any, ...], ...]

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __getitem__(self, index: int) -> Any:
        for piece in self.pieces:
            if index < len(piece):
                return piece[index]
            index -= len(piece)
        raise IndexError(index)

    def __iter__(self) -> Iterator[Any]:
        return (piece[index] for piece in self.pieces for index in range(len(piece)))

    def types(self) -> set[type]:
        """The types of the values."""
        found: set[type] = set()
        for piece in self.pieces:
            whole = isinstance(piece, NumberRange) and piece.whole
            found |= {int if whole else float} if isinstance(piece, NumberRange) else set(map(type, piece))
        return found


def parse_axis(name: str, values: Any) -> Axis:
    """The axis of an argument: from text of the command line, a list of values, or one value.

    Raises CostlabError if the text is not an axis, or has a value twice.
    """
    if isinstance(values, str):
        pieces = tuple(parse_piece(name, part) for part in split_at_commas(values))
    else:
        try:
            data = require_json(list(values) if isinstance(values, range) else values)
        except ValueError as error:
            raise CostlabError(f"{name} is not plain data: {error}") from None
        pieces = (tuple(data if isinstance(data, list) else [data]),)
    axis = Axis(pieces)
    if not 0 < len(axis) <= LONGEST:
        raise CostlabError(f"{name} has {f'more than {LONGEST:,}' if len(axis) else 'no'} values")
    if len(axis) <= COMPARED:
        texts = set()
        for value in axis:
            text = json.dumps(value, sort_keys=True)
            if text in texts:
                raise CostlabError(f"{name} has {text} twice")
            texts.add(text)
    return axis


def parse_piece(name: str, text: str) -> NumberRange | tuple[Any, ...]:
    """A range `0.25:1.0:0.05`, or one value."""
    match = RANGE.fullmatch(text)
    if not match:
        return (parse_value(text),)
    numbers = [number for number in match.groups() if number is not None]
    start, stop, step = map(Fraction, (*numbers, "1")[:3])
    if not step:
        raise CostlabError(f"{name}={text} has a step of 0; write FROM:TO:STEP")
    count = (stop - start) // step + 1
    if not 0 < count <= LONGEST:
        what = "is empty: its steps lead away from its end" if count < 1 else f"has more than {LONGEST:,} values"
        raise CostlabError(f"{name}={text} {what}")
    return NumberRange(start, step, count, all(INTEGER.fullmatch(number) for number in numbers))


def split_at_commas(text: str) -> Sequence[str]:
    """Split at the commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        elif character in OPENING + CLOSING:
            depth += 1 if character in OPENING else -1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return parts
