"""Plain data out of text, as a command line or a file has it: read, never run."""

from __future__ import annotations

import ast
import json
from typing import Any

WORDS = {"true": True, "false": False, "none": None, "null": None}


def literal(text: str) -> Any:
    """A number, a truth value, none, a list or an object as Python or JSON write them; everything else is a string."""
    if text.strip().lower() in WORDS:
        return WORDS[text.strip().lower()]
    for read in (json.loads, ast.literal_eval):
        try:
            return plain(read(text))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def plain(value: Any) -> Any:
    """Plain data with tuples as lists; ValueError for anything that JSON does not hold."""
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(member) for key, member in value.items()}
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and value - value == 0.0):
        return value
    raise ValueError(value)
