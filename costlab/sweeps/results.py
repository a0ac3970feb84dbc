"""The result of a sweep: rows in the order of its space, read from the journal on demand."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costlab.core.conditions import parse_condition
from costlab.core.pareto import pareto_front
from costlab.core.validation import as_number
from costlab.errors import CostlabError
from costlab.sweeps.columns import parquet_type
from costlab.sweeps.journal import Journal
from costlab.sweeps.space import Space
from costlab.sweeps.tables import SweepRow, write_table

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # rows in a notebook


@dataclass
class SweepState:
    """The progress of a sweep."""

    rows: int
    known: int = 0  # rows from the journal
    computed: int = 0
    failed: int = 0
    seconds: float = 0.0  # of all workers, for the computed rows

    @property
    def left(self) -> int:
        """Rows still to compute."""
        return self.rows - self.known - self.computed


@dataclass(frozen=True)
class Sweep:
    """The selected rows of a sweep: an iterable of dictionaries with the keys `columns`."""

    space: Space
    columns: tuple[str, ...]
    journal: Journal
    offsets: array[int]  # of the selected rows in the journal
    state: SweepState  # of the whole sweep
    first_error: str | None = None  # of the first row of all

    def __repr__(self) -> str:
        return f"Sweep of {self.space.factory}: {len(self):,} networks, {len(self.columns)} columns"

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[SweepRow]:
        return map(self.journal.row, self.offsets)

    def __getitem__(self, position: int) -> SweepRow:
        return self.journal.row(self.offsets[position])

    def where(self, condition: str) -> Sweep:
        """The rows that meet a condition such as "mult_adds<=150M and params<4M". Raises CostlabError."""
        return self.filtered(parse_condition(condition, self.columns))

    def filtered(self, test: Callable[[Mapping[str, Any]], bool | None]) -> Sweep:
        """The rows for which `test` is True."""
        return replace(self, offsets=array("q", (o for o in self.offsets if test(self.journal.row(o)) is True)))

    def top(self, count: int, by: str, largest: bool = False) -> list[SweepRow]:
        """The `count` rows with the smallest, or largest, values of a column; rows without a number come last.

        Raises:
            CostlabError: unknown column.
        """
        self.check(by)

        def rank(row: SweepRow) -> float:
            value = as_number(row[by])
            return inf if value is None else -value if largest else value

        return heapq.nsmallest(count, self, key=rank)

    def frontier(self, x: str, y: str, larger: Collection[str] = ()) -> list[SweepRow]:
        """The Pareto front: the rows that no other one beats in both columns, the best in `x` first.

        More is better in the columns `larger`. Raises CostlabError if a column is unknown.
        """
        for column in (x, y, *larger):
            self.check(column)
        numbers = [(as_number(row[x]), as_number(row[y])) for row in self]
        points = {i: (across, up) for i, (across, up) in enumerate(numbers) if across is not None and up is not None}
        positions = list(points)
        return [self[positions[i]] for i in pareto_front(list(points.values()), x in larger, y in larger)]

    def check(self, column: str) -> None:
        """Raise CostlabError for an unknown column."""
        if column not in self.columns:
            raise CostlabError(f"no column {column!r}; choose one of {', '.join(self.columns)}")

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with one row per network. Raises CostlabError if pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            raise CostlabError("to_pandas needs pandas: pip install pandas") from None
        return pd.DataFrame(list(self), columns=list(self.columns))

    def _repr_html_(self) -> str:
        from costlab.sweeps.report import html

        shown = list(islice(self, SHOWN))
        return html(shown, self.space, len(self) - len(shown))

    def save(self, path: str | Path) -> None:
        """Write the rows as .csv, .jsonl or .parquet, atomically.

        Raises:
            CostlabError: the file cannot be written, or its format is unknown.
        """
        write_table(Path(path), self, {column: parquet_type(self.space, column) for column in self.columns})
