"""Rows of a table of networks, from a file or from profiles: a name, and numbers by column."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from costlab.core.files import os_error_reason, read_text
from costlab.core.metrics import PREDICTED, SORTABLE
from costlab.core.profile import Profile
from costlab.core.validation import as_number, finite_float
from costlab.errors import CostlabError
from costlab.formatting.escaping import visible
from costlab.latency._predict import predict
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.latency.verified import mark

if TYPE_CHECKING:
    import pandas as pd

NAME = "name"
LARGEST = 50_000_000  # bytes of a table
MOST = 20_000_000  # cells of a parquet table

NetworkRow = Mapping[str, Any]
Networks: TypeAlias = "Iterable[Profile | NetworkRow] | Profile | pd.DataFrame"


def read_rows(path: str | Path) -> list[NetworkRow]:
    """The rows of a table: csv with column names in its first line, a json list of objects, jsonl, or parquet.

    Raises CostlabError if the file cannot be read or is not such a table.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*PARSERS, ".parquet"):
        raise CostlabError(f"{path}: unknown table format; use {', '.join(PARSERS)} or .parquet")
    rows = read_parquet(path) if suffix == ".parquet" else read_text_table(path)
    if type(rows) is not list or not all(type(row) is dict for row in rows):
        raise CostlabError(f"{path} is not a table: expected a list of objects")
    if not rows:
        raise CostlabError(f"{path} has no rows")
    return rows


def read_text_table(path: Path) -> Any:
    """The content of a csv, json or jsonl file. Raises CostlabError."""
    text = read_text(path, LARGEST, encoding="utf-8-sig")
    try:
        return PARSERS[path.suffix.lower()](text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise CostlabError(f"{path} is not valid {path.suffix.lower()[1:]}: {error}") from None


def read_parquet(path: Path) -> list[NetworkRow]:
    """The rows of a parquet file. Raises CostlabError."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise CostlabError("parquet needs pyarrow: pip install 'costlab[parquet]'") from None
    try:
        with ParquetFile(path) as file:
            if file.metadata.num_rows * file.metadata.num_columns > MOST:
                raise CostlabError(f"{path} is too large to draw: more than {MOST:,} cells")
            return list(file.read().to_pylist())
    except (OSError, pyarrow.ArrowException) as error:
        what = os_error_reason(error) if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise CostlabError(f"{path} cannot be read: {what}") from None


def parse_csv(text: str) -> list[NetworkRow]:
    """The rows of a csv table."""
    rows: list[NetworkRow] = [*csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)]
    if any("" in row for row in rows):
        raise ValueError("a row has more cells than the first line, or a column has no name")
    return rows


def parse_json(text: str) -> Any:
    """JSON without NaN or infinity."""
    return json.loads(text, parse_constant=finite_float)


PARSERS = {
    ".csv": parse_csv,
    ".json": parse_json,
    ".jsonl": lambda text: [parse_json(line) for line in text.splitlines() if line.strip()],
}


def rows_of(networks: Networks, device: str | Path | Device | None, **execution: Any) -> list[NetworkRow]:
    """The rows of networks, with predicted seconds of profiles if there is a device.

    Profiles of the same name are told apart by their position: `Net [0]`, `Net [1]`.

    Args:
        networks: profiles and rows, one profile, or a data frame.
        execution: as for `costlab.predict`.
    """
    if hasattr(networks, "to_dict") and hasattr(networks, "columns"):
        networks = networks.to_dict("records")
    networks = [networks] if isinstance(networks, Profile) else list(networks)
    rows = [profile_row(n, device, **execution) if isinstance(n, Profile) else n for n in networks]
    times = Counter(row[NAME] for n, row in zip(networks, rows, strict=True) if isinstance(n, Profile))
    return [
        {**row, NAME: f"{row[NAME]} [{i}]"} if isinstance(n, Profile) and times[row[NAME]] > 1 else row
        for i, (n, row) in enumerate(zip(networks, rows, strict=True))
    ]


def predicted_on(device: str | Path | Device | None, *keys: str) -> str:
    """Where the seconds of profiles are predicted for, if a column has them: `; predicted on rtx3090`."""
    if device is None or PREDICTED not in keys:
        return ""
    known = device if isinstance(device, Device) else find_device(device)
    return f"; predicted on {visible(known.name)}{mark(known.verified)}"


def profile_row(profile: Profile, device: str | Path | Device | None = None, **execution: Any) -> NetworkRow:
    """The totals of a profile, and with a device the predicted seconds."""
    arguments = " ".join(f"{key}={value}" for key, value in profile.arguments.items())
    costs = {key: getattr(profile.total, key) for key in (*SORTABLE, "peak_activation_bytes")}
    if device is not None:
        costs[PREDICTED] = predict(profile, device, **execution).seconds
    return {NAME: f"{profile.name} {arguments}".strip(), **costs}


def name_of(row: NetworkRow) -> str:
    """The name of a row, else its first text."""
    texts = (value for value in row.values() if isinstance(value, str) and value and as_number(value) is None)
    return str(row.get(NAME) or next(texts, ""))


def column(rows: Sequence[NetworkRow], key: str) -> list[float | None]:
    """The numbers of a column; None for a row without one. Raises CostlabError if no row has a number there."""
    values = [as_number(row.get(key)) for row in rows]
    if all(value is None for value in values):
        known = dict.fromkeys(k for row in rows for k, value in row.items() if as_number(value) is not None)
        hint = f"choose one of {', '.join(known)}" if known else "no column has numbers"
        raise CostlabError(f"no numbers in column {key!r}; {hint}")
    return values


def counted(drawn: int, rows: int, missing: str) -> tuple[str, str]:
    """How many networks are drawn: `3 networks`, and how many are not: `; 2 without these numbers left out`."""
    left_out = f"; {rows - drawn} without {missing} left out" if drawn < rows else ""
    return f"{drawn} network{'s' if drawn > 1 else ''}", left_out
