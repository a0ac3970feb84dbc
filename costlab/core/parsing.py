"""Reading plain data from the text of a command line or a file, without evaluating it."""

import ast
import json
from typing import Any

MOST_NUMBERS = 1000
WORDS = {"true": True, "false": False, "none": None, "null": None}


def parse_value(text: str) -> Any:
    """A number, truth value, none, list or object as Python or JSON write them; anything else stays a string."""
    if text.strip().lower() in WORDS:
        return WORDS[text.strip().lower()]
    for read in (json.loads, ast.literal_eval):
        try:
            return require_json(read(text))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def require_json(value: Any) -> Any:
    """The value with tuples as lists. Raises ValueError if JSON cannot hold it."""
    if isinstance(value, (list, tuple)):
        return [require_json(member) for member in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: require_json(member) for key, member in value.items()}
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and value - value == 0.0):
        return value
    raise ValueError(value)


def whole_numbers(text: str) -> list[int] | None:
    """Positive numbers such as `1,2,4`; None for any other text.

    `...` before the last number stands for those between: by the factor of the last three numbers before it
    (`1,2,4,...,256`), else in the steps of the last two (`32,64,...,512`).
    """
    head, dots, last = text.partition(",...,")
    words = [*head.split(","), *([last] if dots else [])]
    if not all(word.isdecimal() and len(word) < 10 and int(word) for word in words):
        return None
    numbers = [int(word) for word in words]
    if not dots:
        return numbers
    *known, end = numbers
    if len(known) < 2 or known[-1] <= known[-2]:
        return None
    before, after = known[-2:]
    multiplied = len(known) > 2 and after * known[-3] == before * before
    while known[-1] < end and len(known) <= MOST_NUMBERS:
        known.append(known[-1] * after // before if multiplied else known[-1] + after - before)
    return known if known[-1] == end else None
