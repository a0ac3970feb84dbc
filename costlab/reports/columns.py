"""A table as words, column by column, before any format has drawn it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.reports.tables import SECONDS, Line, Table

ROOT = "(root)"  # the row of operators that belong to no child module
COSTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "params": ("params", units.short),
    "mult_adds": ("mult-adds", units.short),
    "element_wise_ops": ("element-wise\nops", units.short),
    "activations": ("activations", units.short),
    "memory_access": ("memory\naccess", units.short),
    "read_bytes": ("read\nbytes", units.size),
    "write_bytes": ("write\nbytes", units.size),
    "bytes_accessed": ("bytes\naccessed", units.size),
    "activation_bytes": ("activation\nbytes", units.size),
    "param_bytes": ("param\nbytes", units.size),
}


@dataclass(frozen=True)
class Column:
    """One column: a title, a cell for every row, and the cell of the total."""

    key: str  # "name", "type", "output", "ops", a cost, "share", or "bar", which formats draw from `bars`
    title: str  # may have two lines
    cells: tuple[str, ...]
    tones: tuple[str, ...]  # of each cell: "", "quiet", "zero" or "alarm"
    total: str = ""
    left: bool = False  # words begin on the left, numbers end on the right


def columns_of(table: Table) -> list[Column]:
    """Every column, in order; the cost that the rows are sorted by is always among them, its share beside it."""
    rows = [*table.lines, *table.rest]
    quiet = ("quiet",) * len(rows)
    tones = ["alarm" if line.uncounted else "" for line in table.lines] + ["quiet"] * len(table.rest)
    columns = [Column("name", table.by, tuple(map(name_of, rows)), tuple(tones), "total", left=True)]
    if table.by == "module":
        columns.append(Column("type", "type", tuple(visible(line.type) for line in rows), quiet, left=True))
    if table.by == "kind":
        columns.append(Column("ops", "ops", tuple(units.short(line.ops) for line in rows), quiet))
    else:
        shapes = ("" if line.output_shape is None else units.shape(line.output_shape) for line in rows)
        columns.append(Column("output", "output", tuple(shapes), quiet, left=True))
    costs = ["params", "mult_adds", "memory_access"]
    if table.predicted_seconds is not None:
        costs.append(SECONDS)
    for key in costs if table.key in costs else [*costs, table.key]:
        title, write = ("predicted", units.seconds) if key == SECONDS else COSTS[key]
        values = [None if unknown(line, key) else getattr(line, key) for line in rows]
        cells = ("?" if value is None and key != SECONDS else write(value) for value in values)
        whole_cost = table.predicted_seconds if key == SECONDS else getattr(table.total, key)
        columns.append(Column(key, title, tuple(cells), tones_of(values), write(whole_cost)))
        if key == table.key:
            shares = [None if value is None else table.share(line) for line, value in zip(rows, values, strict=True)]
            whole = units.percent(table.share(table.total))
            columns.append(Column("share", "share", tuple(map(units.percent, shares)), tones_of(shares), whole))
            columns.append(Column("bar", "", ("",) * len(rows), quiet, left=True))
    return columns


def bars(table: Table) -> list[float]:
    """The length of each row's bar: 1 for the largest share; what is left over has none."""
    shares = [table.share(line) or 0.0 for line in table.lines]
    largest = max(shares, default=0.0) or 1.0
    return [share / largest for share in shares] + [0.0] * len(table.rest)


def name_of(line: Line) -> str:
    """The name of a row; an exclamation mark says that operators in it are not counted."""
    return (visible(line.name) or ROOT) + (" !" if line.uncounted else "")


def unknown(line: Line, key: str) -> bool:
    """Whether a cost of a row is not known; parameters always are."""
    return line.unknown and key not in ("params", "param_bytes")


def tones_of(values: Sequence[float | None]) -> tuple[str, ...]:
    """Zeros step back, so that the eye finds the rest; what is not known stands out."""
    return tuple("alarm" if value is None else "" if value else "zero" for value in values)


def notes(table: Table) -> list[str]:
    """What a reader has to know of the rows."""
    said = []
    if any(line.uncounted for line in (*table.lines, *table.rest)):
        said.append("! holds operators without a cost rule; its numbers leave them out")
    if table.folded:
        what = {"module": "modules without a cost of their own", "kind": "kinds without cost", "op": "free operators"}
        said.append(f"not shown: {what[table.by]} ({table.folded})")
    return said
