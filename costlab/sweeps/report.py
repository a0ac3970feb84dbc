"""The rows of a sweep as a table, for terminals and notebooks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costlab.core.metrics import METRICS, PREDICTED
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.notebook import page
from costlab.formatting.table import Column, Table
from costlab.measurement.verified import mark

if TYPE_CHECKING:
    from rich.table import Table as Grid

COSTS = ("params", "mult_adds", "memory_access")
DROPPED = {"memory_access": 1, "broken": 2, "params": 3}  # in this order, before the arguments


def text(
    rows: Sequence[Mapping[str, Any]], axes: Sequence[str], judged: Sequence[str], width: int, ascii_only: bool = False
) -> Grid:
    """One line a network, for terminals and pipes; the arguments are as in `table`."""
    return tables.text(table(rows, axes, judged), width, ascii_only)


def html(
    factory: str, rows: Sequence[Mapping[str, Any]], others: int, axes: Sequence[str], judged: Sequence[str]
) -> str:
    """The same rows for notebooks, below the factory, and how many others there are."""
    networks = len(rows) + others
    heading = f"{factory.rpartition('/')[2]}, {units.exact(networks)} network{'s' * (networks != 1)}"
    return page(heading, tables.html(table(rows, axes, judged, others)))


def table(rows: Sequence[Mapping[str, Any]], axes: Sequence[str], judged: Sequence[str], others: int = 0) -> Table:
    """The arguments (`axes`) of each network, its costs, the guidelines that it breaks (of `judged`), and what failed.

    One more row counts the `others`.
    """
    timed = [key for key in (rows[0] if rows else ()) if key.startswith(PREDICTED)]
    columns = [
        Column(axis, [word(row[axis]) for row in rows], left=True, drop=len(DROPPED) + len(axes) - position)
        for position, axis in enumerate(axes)
    ]
    steps = any(row.get("peak_bytes") is not None for row in rows)
    for key in (*COSTS, "peak_bytes") if steps else COSTS:
        metric = METRICS[key]
        cells = [metric.format(row[key]) for row in rows]
        columns.append(Column(metric.label.replace(" ", "\n"), cells, drop=DROPPED.get(key, 0)))
    columns += [Column(title(key), [units.seconds(row[key]) for row in rows]) for key in timed]
    broken = [" ".join(code for code in judged if row[code] == "broken") for row in rows]
    columns.append(Column("broken", broken, left=True, drop=DROPPED["broken"]))
    if any(row["error"] for row in rows):
        errors = [row["error"] or "" for row in rows]
        columns.append(Column("error", errors, left=True, fit="start", least=12))
    if others:
        cells = [f"{units.exact(others)} others", *[""] * (len(columns) - 1)]
        columns = [replace(column, cells=[*column.cells, cell]) for column, cell in zip(columns, cells, strict=True)]
    return Table(columns, rest=int(bool(others)))


def title(key: str) -> str:
    """The title of a column of predicted seconds, with its device."""
    device = key.removeprefix(PREDICTED).removeprefix("_")
    return f"predicted\n{device}{mark(device)}" if device else "predicted"


def word(value: Any) -> str:
    """An argument as the user gave it."""
    return value if isinstance(value, str) else json.dumps(value)
