"""The rows of a sweep as a table, for terminals and notebooks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costlab.core.metrics import METRICS
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.notebook import page
from costlab.formatting.table import Column, Table
from costlab.latency.execution import ExecutionConfig
from costlab.latency.verified import mark
from costlab.sweeps.columns import VERDICTS, time_columns, varied_columns
from costlab.sweeps.space import Space
from costlab.sweeps.tables import SweepRow

if TYPE_CHECKING:
    from rich.table import Table as Grid

COSTS = ("params", "mult_adds", "memory_access")
DROPPED = {"memory_access": 1, "broken": 2, "params": 3}  # in this order, before the arguments


def text(rows: Sequence[SweepRow], space: Space, width: int, ascii_only: bool = False) -> Grid:
    """One line a network, for terminals and pipes."""
    return tables.text(table(rows, space), width, ascii_only)


def html(rows: Sequence[SweepRow], space: Space, others: int) -> str:
    """The same rows for notebooks, below the factory, and how many others there are."""
    networks = len(rows) + others
    heading = f"{space.factory.rpartition('/')[2]}, {units.exact(networks)} network{'s' * (networks != 1)}"
    return page(heading, tables.html(table(rows, space, others)))


def table(rows: Sequence[SweepRow], space: Space, others: int = 0) -> Table:
    """The arguments of each network that vary, its costs, the guidelines that it breaks, and what failed.

    One more row counts the `others`.
    """
    axes = varied_columns(space)
    columns = [
        Column(axis, [word(row[axis]) for row in rows], left=True, drop=len(DROPPED) + len(axes) - position)
        for position, axis in enumerate(axes)
    ]
    steps = any(row.get("peak_bytes") is not None for row in rows)
    for key in (*COSTS, "peak_bytes") if steps else COSTS:
        metric = METRICS[key]
        cells = [metric.format(row[key]) for row in rows]
        columns.append(Column(metric.label.replace(" ", "\n"), cells, drop=DROPPED.get(key, 0)))
    columns += [Column(title(on), [units.seconds(row[key]) for row in rows]) for key, on in time_columns(space).items()]
    broken = [" ".join(code for code in VERDICTS if row[code] == "broken") for row in rows]
    columns.append(Column("broken", broken, left=True, drop=DROPPED["broken"]))
    if any(row["error"] for row in rows):
        errors = [row["error"] or "" for row in rows]
        columns.append(Column("error", errors, left=True, fit="start", least=12))
    if others:
        cells = [f"{units.exact(others)} others", *[""] * (len(columns) - 1)]
        columns = [replace(column, cells=[*column.cells, cell]) for column, cell in zip(columns, cells, strict=True)]
    return Table(columns, rest=int(bool(others)))


def title(config: ExecutionConfig) -> str:
    """The title of a column of predicted seconds, with its device."""
    return f"predicted\n{config.device.name}{mark(config.device.verified)}"


def word(value: Any) -> str:
    """An argument as the user gave it."""
    return value if isinstance(value, str) else json.dumps(value)
