"""Rows of a table of networks, out of a csv, json or jsonl file or out of profiles: a name, and numbers by column."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from costlab.core.files import os_error_reason, read_text
from costlab.core.metrics import PREDICTED, SORTABLE
from costlab.core.profile import Profile
from costlab.core.validation import finite_float
from costlab.errors import CostlabError
from costlab.latency._predict import predict
from costlab.latency.devices import Device

NAME = "name"
TABLES = (".csv", ".json", ".jsonl", ".parquet")
LARGEST = 50_000_000  # bytes of a table
MOST = 20_000_000  # numbers and words of one

Row = Mapping[str, Any]


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a table: csv with the names of columns in its first line, a json list of objects, one in a line, or
    parquet.

    Raises:
        CostlabError: there is no such table.
    """
    path = Path(path)
    readers = {".csv": from_csv, ".json": json_of, ".jsonl": from_lines}
    read = readers.get(path.suffix.lower())
    if path.suffix.lower() == ".parquet":
        return from_parquet(path)
    if read is None:
        raise CostlabError(f"{path} is no table that costlab reads: a name ends in {', '.join(TABLES)}")
    try:
        rows = read(read_text(path, LARGEST, encoding="utf-8-sig"))
    except (ValueError, RecursionError, csv.Error) as error:
        raise CostlabError(f"{path} is no table of the kind its name says: {error}") from None
    if type(rows) is not list or not all(type(row) is dict for row in rows):
        raise CostlabError(f"{path} is no table: it should hold a list of objects")
    if not rows:
        raise CostlabError(f"{path} has no rows")
    return rows


def from_parquet(path: Path) -> list[Row]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise CostlabError("parquet needs pyarrow: pip install 'costlab[parquet]'") from None
    try:
        with ParquetFile(path) as file:
            if file.metadata.num_rows * file.metadata.num_columns > MOST:
                raise CostlabError(f"{path} is larger than any table that can be drawn, {MOST:,} cells")
            rows: list[Row] = file.read().to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        what = os_error_reason(error) if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise CostlabError(f"{path} cannot be read: {what}") from None
    if not rows:
        raise CostlabError(f"{path} has no rows")
    return rows


def from_csv(text: str) -> list[Row]:
    rows: list[Row] = [*csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)]
    if any("" in row for row in rows):
        raise ValueError("a row has more cells than the first line, or a column has no name")
    return rows


def from_lines(text: str) -> list[Row]:
    return [json_of(line) for line in text.splitlines() if line.strip()]


def json_of(text: str) -> Any:
    return json.loads(text, parse_constant=finite_float)


def row_of(profile: Profile, device: str | Path | Device | None = None, **running: Any) -> Row:
    """The totals of a profile, and where there is a device the predicted seconds."""
    given = " ".join(f"{key}={value}" for key, value in profile.arguments.items())
    costs = {key: getattr(profile.total, key) for key in (*SORTABLE, "peak_activation_bytes")}
    if device is not None:
        costs[PREDICTED] = predict(profile, device, **running).seconds
    return {NAME: f"{profile.name} {given}".strip(), **costs}


def name_of(row: Row) -> str:
    """What a row is called: its name, else the first words in it."""
    words = (value for value in row.values() if isinstance(value, str) and value and number(value) is None)
    return str(row.get(NAME) or next(words, ""))


def column(rows: Sequence[Row], key: str) -> list[float | None]:
    """The numbers of a column; None where a row has none.

    Raises:
        CostlabError: no row has a number there.
    """
    values = [number(row.get(key)) for row in rows]
    if all(value is None for value in values):
        known = dict.fromkeys(k for row in rows for k, value in row.items() if number(value) is not None)
        there = f"there are {', '.join(known)}" if known else "nor in any other"
        raise CostlabError(f"no numbers in a column {key!r}; {there}")
    return values


def number(value: Any) -> float | None:
    """A finite number, written as one or as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return finite_float(str(value))
    except ValueError:
        return None
