"""Reading plain data from the text of a command line or a file, without evaluating it."""

import ast
import json
from typing import Any

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
