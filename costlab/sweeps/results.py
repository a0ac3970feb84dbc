"""What a sweep comes to: rows in the order of its space, read from the journal as they are wanted."""

from __future__ import annotations

import csv
import heapq
import io
import json
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from costlab.core.conditions import parse_condition
from costlab.core.files import atomic_write
from costlab.errors import CostlabError
from costlab.formatting.escaping import spreadsheet
from costlab.plots._pareto import pareto_front
from costlab.plots.network_rows import number
from costlab.sweeps.axes import Axis, Steps
from costlab.sweeps.journal import Journal
from costlab.sweeps.rows import COSTS, COUNTS, JUDGED, SECONDS, columns_of_axes
from costlab.sweeps.space import Space

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".jsonl", ".parquet")
SHOWN = 10  # rows in a notebook
BATCH = 10_000  # rows of a parquet file that are in memory at once
Row = dict[str, Any]


@dataclass
class State:
    """How far a sweep has come."""

    rows: int
    known: int = 0  # rows that the journal had
    computed: int = 0
    failed: int = 0
    seconds: float = 0.0  # of all workers, for the rows computed

    @property
    def left(self) -> int:
        return self.rows - self.known - self.computed


@dataclass(frozen=True)
class Sweep:
    """The rows of a sweep that were asked for: an iterable of dictionaries, whose keys are `columns`."""

    space: Space
    columns: tuple[str, ...]
    journal: Journal
    offsets: array[int]  # in the journal: of the rows that are kept
    state: State  # of the whole sweep
    first_error: str | None = None  # of the first row of all

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[Row]:
        return map(self.journal.row, self.offsets)

    def __getitem__(self, position: int) -> Row:
        return self.journal.row(self.offsets[position])

    def where(self, condition: str) -> Sweep:
        """The rows that keep a condition such as "mult_adds<=150M and params<4M". Raises CostlabError."""
        return self.filtered(parse_condition(condition, self.columns))

    def filtered(self, test: Callable[[Mapping[str, Any]], bool | None]) -> Sweep:
        return replace(self, offsets=array("q", (o for o in self.offsets if test(self.journal.row(o)) is True)))

    def top(self, count: int, by: str, largest: bool = False) -> list[Row]:
        """So many rows with the least of a column, or the most; rows without a number there come last.

        Raises:
            CostlabError: there is no such column.
        """
        self.check(by)

        def rank(row: Row) -> float:
            value = number(row[by])
            return inf if value is None else -value if largest else value

        return heapq.nsmallest(count, self, key=rank)

    def frontier(self, x: str, y: str, larger: Collection[str] = ()) -> list[Row]:
        """The rows that no other one beats in both columns, the best in `x` first.

        Args:
            larger: those of the two of which more is better.

        Raises:
            CostlabError: there is no such column.
        """
        for column in (x, y, *larger):
            self.check(column)
        numbers = [(number(row[x]), number(row[y])) for row in self]
        points = {i: (across, up) for i, (across, up) in enumerate(numbers) if across is not None and up is not None}
        positions = list(points)
        return [self[positions[i]] for i in pareto_front(list(points.values()), x in larger, y in larger)]

    def check(self, column: str) -> None:
        if column not in self.columns:
            raise CostlabError(f"no column {column!r}; there are {', '.join(self.columns)}")

    def to_pandas(self) -> pd.DataFrame:
        """One row a network."""
        try:
            import pandas as pd
        except ImportError:
            raise CostlabError("to_pandas needs pandas: pip install pandas") from None
        return pd.DataFrame(list(self), columns=list(self.columns))

    def _repr_html_(self) -> str:
        from costlab.sweeps.report import html

        axes = [column for name, column in columns_of_axes(self.space).items() if len(self.space.axes[name]) > 1]
        shown = list(islice(self, SHOWN))
        return html(self.space.factory, shown, len(self) - len(shown), axes, JUDGED)

    def save(self, path: str | Path) -> None:
        """Write the rows as .csv, .jsonl or .parquet, whole or not at all.

        Raises:
            CostlabError: the file cannot be written, or its name ends in none of these.
        """
        path = Path(path)
        write = {".csv": self.write_csv, ".jsonl": self.write_lines, ".parquet": self.write_parquet}
        check_format(path)
        with atomic_write(path) as file:
            write[path.suffix.lower()](file)

    def write_csv(self, file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(map(cell, row.values()) for row in self)
        text.flush()
        text.detach()

    def write_lines(self, file: IO[bytes]) -> None:
        file.writelines(f"{json.dumps(row)}\n".encode() for row in self)

    def write_parquet(self, file: IO[bytes]) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        axes = {column: self.space.axes[name] for name, column in columns_of_axes(self.space).items()}
        types = {column: type_of(column, axes.get(column)) for column in self.columns}
        schema = pa.schema([(column, getattr(pa, kind)()) for column, kind in types.items()])
        with ParquetWriter(file, schema) as writer:
            for rows in batches(self, BATCH):
                fitting = [{key: fitted(value, types[key]) for key, value in row.items()} for row in rows]
                writer.write_table(pa.Table.from_pylist(fitting, schema))


def check_format(path: Path) -> None:
    """Raises CostlabError where rows cannot be written to a file of that name."""
    if path.suffix.lower() not in FORMATS:
        raise CostlabError(f"{path} is not a table that a sweep writes: use a name that ends in {', '.join(FORMATS)}")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise CostlabError("parquet needs pyarrow: pip install 'costlab[parquet]'") from None


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def cell(value: Any) -> str | int | float:
    """A value for a spreadsheet: nothing for None, lists and truth values as JSON has them."""
    if isinstance(value, str):
        return spreadsheet(value)
    if value is None:
        return ""
    return value if type(value) in (int, float) else json.dumps(value)


def type_of(column: str, axis: Axis | None) -> str:
    """The type of a column as pyarrow calls it."""
    if axis is None:
        if column.startswith(SECONDS) or column.endswith("_share") or column == "arithmetic_intensity":
            return "float64"
        return "int64" if column in (*COSTS, *COUNTS) else "string"
    found: set[type] = set()
    for piece in axis.pieces:
        found |= {int if piece.whole else float} if isinstance(piece, Steps) else set(map(type, piece))
    found -= {type(None)}
    if found == {bool}:
        return "bool_"
    return "int64" if found == {int} else "float64" if found and found <= {int, float} else "string"


def fitted(value: Any, kind: str) -> Any:
    """A value for a column of that type."""
    return json.dumps(value) if kind == "string" and value is not None and not isinstance(value, str) else value
