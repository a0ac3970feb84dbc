"""A report for terminals, pipes and plain files: a header and a table that fits the width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group, JustifyMethod
from rich.table import Table as Grid
from rich.text import Text

from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.grids import GAP, blank
from costlab.reports.columns import Column, bars, columns_of, notes
from costlab.reports.header import facts, title
from costlab.reports.tables import Table

if TYPE_CHECKING:
    from costlab.latency.prediction import Prediction

LEAST = {"name": 20, "type": 10, "bar": 6}  # cells; other columns are never cut
NAME_AT_ALL = 8
BAR = 16  # the widest
# What gives way, one after the other, where the width does not do for all.
SACRIFICES = ("bar", "output", "type", "params", "memory_access")
STYLES = {"": "", "quiet": "dim", "zero": "dim", "alarm": "bold red", "estimate": "yellow", "uncounted": "bold red"}


def report(
    profile: Profile, table: Table, width: int, ascii_only: bool = False, prediction: Prediction | None = None
) -> Group:
    """The whole report, `width` cells wide where that is 40 or more."""
    return Group(
        Text(title(profile), style="bold"), header(profile, prediction), Text(), body(table, width, ascii_only)
    )


def header(profile: Profile, prediction: Prediction | None = None) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    above = ""
    for fact in facts(profile, prediction):
        style = STYLES[fact.alarm]
        label = "" if fact.label == above else fact.label
        grid.add_row(Text(label, style=style or "dim"), Text(fact.value, style=style))
        above = fact.label
    return grid


def body(table: Table, width: int, ascii_only: bool = False) -> Group:
    """The table, and notes on what its rows leave out."""
    grid = blank(ascii_only, footer=True)
    drawn = []
    for column, cells_wide in fitted(columns_of(table), width, table.key):
        justify: JustifyMethod = "left" if column.left else "right"
        grid.add_column(Text(column.title), Text(column.total), justify=justify, no_wrap=True, width=cells_wide)
        if column.key == "bar":
            drawn.append([Text(units.bar(part, cells_wide, ascii_only), style="cyan") for part in bars(table)])
        else:
            shown = (shortened(cell, cells_wide, column.key == "name", ascii_only) for cell in column.cells)
            drawn.append([Text(cell, style=STYLES[tone]) for cell, tone in zip(shown, column.tones, strict=True)])
    for row in zip(*drawn, strict=True):
        grid.add_row(*row)
    return Group(grid, *(Text(note, style="dim") for note in notes(table)))


def natural(column: Column) -> int:
    """The width at which nothing of a column is cut."""
    if column.key == "bar":
        return BAR
    return max(cell_len(text) for text in (*column.cells, *column.title.split("\n"), column.total))


def least(column: Column) -> int:
    """The width below which a column is of no use."""
    return min(natural(column), LEAST.get(column.key, natural(column)))


def fitted(columns: list[Column], width: int, key: str) -> list[tuple[Column, int]]:
    """The columns that find room, each with its width; the cost that the rows are sorted by always does."""
    for given_up in range(len(SACRIFICES) + 1):
        kept = [c for c in columns if c.key == key or c.key not in SACRIFICES[:given_up]]
        spare = width - sum(map(least, kept)) - GAP * (len(kept) - 1)
        if spare >= 0:
            break
    result = []
    for column in kept:  # names are completed first, and cut further where all else is gone; bars grow last
        wide = max(min(least(column) + spare, natural(column)), min(least(column), NAME_AT_ALL))
        spare -= wide - least(column)
        result.append((column, wide))
    return result


def shortened(text: str, width: int, keep_end: bool, ascii_only: bool) -> str:
    """`text` in `width` cells; of a module path the end says more than the beginning."""
    mark = "~" if ascii_only else "…"
    if cell_len(text) <= width:
        return text
    while cell_len(text) > width - 1:
        text = text[1:].lstrip(".") if keep_end else text[:-1]
    return mark + text if keep_end else text + mark
