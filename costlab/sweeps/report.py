"""The rows of a sweep as a table, for terminals and notebooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.table import Table as Grid
from rich.text import Text

from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.grids import GAP, blank
from costlab.reports.columns import COSTS as COLUMNS
from costlab.reports.tables import SECONDS

COSTS = ("params", "mult_adds", "memory_access")
LEAST = 12  # cells of an error
ERROR, BROKEN = "error", "broken"
SACRIFICES = ("memory_access", BROKEN, "params")  # what gives way on a narrow screen, in order


def table(
    rows: Sequence[Mapping[str, Any]],
    axes: Sequence[str],
    judged: Sequence[str],
    width: int,
    ascii_only: bool = False,
) -> Grid:
    """One line a network: its arguments, what it costs, the guidelines that it breaks, and what went wrong.

    Args:
        axes: columns of arguments to show.
        judged: columns that hold verdicts.
    """
    columns = columns_of(rows, axes, judged)
    wide = {
        key: LEAST if key == ERROR else max(cell_len(line) for cell in cells for line in cell.split("\n"))
        for key, cells in columns.items()
    }
    for key in (*SACRIFICES, *reversed(axes)):
        if sum(wide.values()) + GAP * (len(wide) - 1) > width:
            wide.pop(key, None)
    if ERROR in wide:
        wide[ERROR] = max(LEAST, width - sum(wide.values()) + wide[ERROR] - GAP * (len(wide) - 1))
    shown = blank(ascii_only)
    for key in wide:
        left = key in (*axes, BROKEN, ERROR)
        style: Any = {"justify": "left" if left else "right", "no_wrap": True, "max_width": wide[key]}
        shown.add_column(Text(columns[key][0]), **style)
    for cells in zip(*(columns[key][1:] for key in wide), strict=True):
        shown.add_row(*map(Text, cells))
    return shown


def columns_of(rows: Sequence[Mapping[str, Any]], axes: Sequence[str], judged: Sequence[str]) -> dict[str, list[str]]:
    """What a column says of each row, below its title."""
    timed = [key for key in (rows[0] if rows else ()) if key.startswith(SECONDS)]
    writers: dict[str, Callable[[Any], str]] = {
        **dict.fromkeys(axes, word),
        **dict.fromkeys(COSTS, units.short),
        **dict.fromkeys(timed, units.seconds),
    }
    columns = {key: [title(key), *(write(row[key]) for row in rows)] for key, write in writers.items()}
    columns[BROKEN] = [BROKEN, *(" ".join(code for code in judged if row[code] == "broken") for row in rows)]
    if any(row[ERROR] for row in rows):
        columns[ERROR] = [ERROR, *(visible(row[ERROR] or "") for row in rows)]
    return columns


def html(
    factory: str, rows: Sequence[Mapping[str, Any]], others: int, axes: Sequence[str], judged: Sequence[str]
) -> str:
    """The same rows for notebooks, below the factory, and how many others there are."""
    from costlab.reports.notebook import grid, page

    columns = columns_of(rows, axes, judged)
    titles, *lines = zip(*columns.values(), strict=True)
    if others:
        lines.append((f"{units.exact(others)} others", *[""] * (len(titles) - 1)))
    left = [place for place, key in enumerate(columns) if key in (*axes, BROKEN, ERROR)]
    networks = len(rows) + others
    return page(
        f"{factory.rpartition('/')[2]}, {units.exact(networks)} network{'s' * (networks != 1)}",
        grid([" ".join(words.split()) for words in titles], lines, left),
    )


def title(key: str) -> str:
    """The name of a column, on two lines perhaps."""
    if key.startswith(SECONDS):
        device = key.removeprefix(SECONDS).removeprefix("_")
        return f"predicted\n{visible(device)}" if device else "predicted"
    return COLUMNS[key][0] if key in COLUMNS else visible(key)


def word(value: Any) -> str:
    """An argument as it was given."""
    return visible(value if isinstance(value, str) else json.dumps(value))
