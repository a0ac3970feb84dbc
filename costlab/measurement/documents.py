"""Results as JSON documents: read back, with one clear error for anything else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from costlab.core.files import read_text
from costlab.errors import CostlabError

SCHEMA_VERSION = 1
LARGEST = 50_000_000  # bytes of a file

T = TypeVar("T")


def parse(cls: type[T], text: str, what: str, raw: Callable[[dict[str, Any]], dict[str, Any]]) -> T:
    """The result, in words `what`, in a JSON document of schema version 1. Raises CostlabError for anything else.

    `raw` drops the numbers that follow from others; it raises ValueError for a malformed document.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        document = json.loads(text)
        if type(document) is not dict or document.pop("schema_version", None) not in (SCHEMA_VERSION,):
            raise ValueError(f"it has no schema_version {SCHEMA_VERSION}")
        return TypeAdapter(cls).validate_json(json.dumps(raw(document)), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = f"{'.'.join(map(str, first['loc'])) or 'the document'}: {first['msg']}"
    except json.JSONDecodeError as error:
        message = f"invalid JSON in line {error.lineno}: {error.msg}"
    except ValueError as error:
        message = str(error)[:200]
    except RecursionError:
        message = "lists are nested too deeply"
    raise CostlabError(f"not {what}: {message}")


def read(path: Path, from_json: Callable[[str], T]) -> T:
    """The result in a file. Raises CostlabError, with the name of the file."""
    text = read_text(path, LARGEST)
    try:
        return from_json(text)
    except CostlabError as error:
        raise CostlabError(f"{path}: {error}") from None


def without(entry: Any, *derived: str) -> Any:
    """An object of a document without the members that follow from others; anything else unchanged."""
    return {key: value for key, value in entry.items() if key not in derived} if type(entry) is dict else entry
