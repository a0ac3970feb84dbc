"""Tables of rows in files: .csv, .jsonl or .parquet."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

from costlab.core.files import atomic_write
from costlab.errors import CostlabError
from costlab.formatting.escaping import spreadsheet

BATCH = 10_000  # rows of a parquet file in memory at once

SweepRow = dict[str, Any]


def check_format(path: Path) -> None:
    """Raise CostlabError if rows cannot be written to a file of that name."""
    if path.suffix.lower() not in WRITERS:
        raise CostlabError(f"{path}: unknown table format; use {', '.join(WRITERS)}")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise CostlabError("parquet needs pyarrow: pip install 'costlab[parquet]'") from None


def write_table(path: Path, rows: Iterable[SweepRow], types: Mapping[str, str]) -> None:
    """Write rows to a file, atomically; `types` of the columns are as pyarrow names them.

    Raises CostlabError if the file cannot be written, or its format is unknown.
    """
    check_format(path)
    with atomic_write(path) as file:
        WRITERS[path.suffix.lower()](file, rows, types)


def write_csv(file: IO[bytes], rows: Iterable[SweepRow], types: Mapping[str, str]) -> None:
    """One line per row below the names of the columns."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(types)
    writer.writerows(map(csv_cell, row.values()) for row in rows)
    text.flush()
    text.detach()


def write_jsonl(file: IO[bytes], rows: Iterable[SweepRow], types: Mapping[str, str]) -> None:
    """One JSON object per line."""
    file.writelines(f"{json.dumps(row)}\n".encode() for row in rows)


def write_parquet(file: IO[bytes], rows: Iterable[SweepRow], types: Mapping[str, str]) -> None:
    """Parquet; lists and mixed values become JSON text."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(column, getattr(pa, kind)()) for column, kind in types.items()])
    remaining = iter(rows)
    with ParquetWriter(file, schema) as writer:
        while batch := list(islice(remaining, BATCH)):
            cells = [{key: parquet_cell(value, types[key]) for key, value in row.items()} for row in batch]
            writer.write_table(pa.Table.from_pylist(cells, schema))


WRITERS = {".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet}


def csv_cell(value: Any) -> str | int | float:
    """A cell for a spreadsheet: nothing for None, JSON for lists and booleans."""
    if isinstance(value, str):
        return spreadsheet(value)
    if value is None:
        return ""
    return value if type(value) in (int, float) else json.dumps(value)


def parquet_cell(value: Any, kind: str) -> Any:
    """A cell of a column of that type."""
    return json.dumps(value) if kind == "string" and value is not None and not isinstance(value, str) else value
