"""One table for every report: columns of plain words, drawn for terminals, as Markdown and as HTML.

A row is the same position in every column. Cells need no escaping: each format makes them safe itself.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from costlab.formatting.escaping import html_text, markdown_code, markdown_text, spreadsheet, visible
from costlab.formatting.units import bar

if TYPE_CHECKING:
    from rich.table import Table as Grid

GAP = 2  # cells between columns
BAR, SHORTEST_BAR = 16, 6  # cells of a bar
NARROWEST = 8  # cells of a shortened column once no more columns can be dropped
STYLES = {  # of a tone, in a terminal; HTML has a class of the same name
    "": "",
    "quiet": "dim",
    "zero": "dim",
    "estimate": "yellow",
    "alarm": "bold red",
    "uncounted": "bold red",
}


@dataclass(frozen=True)
class Column:
    """One column: a title, a cell for every row, and the cell of the total."""

    title: str  # may have two lines
    cells: Sequence[str]
    tones: Sequence[str] = ()  # of every cell, a key of STYLES; empty: all plain
    total: str = ""
    left: bool = False  # words are aligned on the left, numbers on the right
    drop: int = 0  # a narrow terminal drops columns in this order, 1 first; 0: never
    fit: Literal["whole", "start", "end", "wrap"] = "whole"  # what to keep of a cell that is too long
    least: int = 0  # cells below which a column that is shortened makes others be dropped instead
    code: bool = False  # names from a model, which Markdown shows as code
    bars: Sequence[float] = ()  # drawn in place of the cells; 1 is the longest

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class Table:
    """Columns of equal length."""

    columns: Sequence[Column]
    rest: int = 0  # the last rows sum up others and have no name from the model
    sections: Sequence[int] = ()  # the rows that begin a section, which the first column names

    def tones(self, column: Column) -> Sequence[str]:
        """The tone of every cell of a column."""
        if column.tones:
            return column.tones
        rest = "quiet" if column is self.columns[0] else ""
        return [""] * (len(column) - self.rest) + [rest] * self.rest


def text(table: Table, width: int, ascii_only: bool = False) -> Grid:
    """The table for a terminal or a pipe, `width` cells wide: columns are shortened, then dropped."""
    from rich.box import SIMPLE, Box
    from rich.table import Table as Grid
    from rich.text import Text

    ascii_box = Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)
    grid = Grid(
        box=ascii_box if ascii_only else SIMPLE,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        show_header=any(column.title for column in table.columns),
        show_footer=any(column.total for column in table.columns),
        header_style="dim",
        footer_style="bold",
        border_style="dim",
    )
    drawn: list[Iterable[Text]] = []
    for column, room in fitted(table.columns, width):
        justify: Literal["left", "right"] = "left" if column.left else "right"
        wrapped = column.fit == "wrap"
        overflow: Literal["fold", "ellipsis"] = "fold" if wrapped else "ellipsis"
        title, total = Text(visible_lines(column.title)), Text(column.total)
        grid.add_column(title, total, justify=justify, width=room, no_wrap=not wrapped, overflow=overflow)
        if column.bars:
            drawn.append([Text(bar(part, room, ascii_only), style="cyan") for part in column.bars])
        else:
            cells = map(visible, column.cells)
            cut = cells if wrapped else [shortened(cell, room, column.fit, ascii_only) for cell in cells]
            if table.sections and column is table.columns[0]:
                cut = [cell if position in table.sections else "" for position, cell in enumerate(cut)]
            pairs = zip(cut, table.tones(column), strict=True)
            drawn.append([Text(cell, style=STYLES[tone]) for cell, tone in pairs])
    for position, row in enumerate(zip(*drawn, strict=True)):
        if position and position in table.sections:
            grid.add_section()
        grid.add_row(*row)
    return grid


def fitted(columns: Sequence[Column], width: int) -> Iterator[tuple[Column, int]]:
    """The columns that fit, each with its width. Those that can be shortened share what is left, from left to right."""
    sized = [(column, natural) for column in columns if (natural := widest(column))]
    for dropped in sorted({0, *(column.drop for column in columns)}):
        kept = [(c, natural, narrowest(c, natural)) for c, natural in sized if not 0 < c.drop <= dropped]
        spare = width - sum(least for _, _, least in kept) - GAP * (len(kept) - 1)
        if spare >= 0:
            break
    for column, natural, least in kept:
        room = natural
        if column.fit != "whole" or column.bars:
            room = max(min(least + spare, natural), min(least, NARROWEST))
        spare -= room - least
        yield column, room


def fits(table: Table, width: int) -> bool:
    """Whether nothing of a table is cut in a terminal of `width` cells."""
    return sum(map(widest, table.columns)) + GAP * (len(table.columns) - 1) <= width


def wrapped(table: Table, width: int) -> list[Table]:
    """A table whose columns must all be seen, as several if `width` is too small; each begins with the first column."""
    if fits(table, width):
        return [table]
    first, *others = (column for column in table.columns if not column.bars)
    room = width - narrowest(first, widest(first))
    parts: list[list[Column]] = [[]]
    for column in others:
        if parts[-1] and sum(map(widest, [*parts[-1], column])) + GAP * (len(parts[-1]) + 1) > room:
            parts.append([])
        parts[-1].append(replace(column, drop=0))
    return [replace(table, columns=(first, *part)) for part in parts]


def widest(column: Column) -> int:
    """The width at which nothing of a column is cut."""
    from rich.cells import cell_len

    words = (*map(visible, column.cells), *visible_lines(column.title).split("\n"), column.total)
    return BAR if column.bars else max(map(cell_len, words))


def narrowest(column: Column, natural: int) -> int:
    """The width below which a column is of no use."""
    least = SHORTEST_BAR if column.bars else natural if column.fit == "whole" else column.least
    return min(natural, least)


def visible_lines(title: str) -> str:
    """A title with its control characters escaped, line by line."""
    return "\n".join(map(visible, title.split("\n")))


def shortened(words: str, width: int, keep: str, ascii_only: bool = False) -> str:
    """Words in `width` cells: `features…` keeps the start, `…3.conv` the end."""
    from rich.cells import cell_len

    if cell_len(words) <= width:
        return words
    while cell_len(words) > width - 1:
        words = words[1:].lstrip(".") if keep == "end" else words[:-1]
    mark = "~" if ascii_only else "…"
    return mark + words if keep == "end" else words + mark


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, all columns but bars; totals are bold."""
    columns = [column for column in table.columns if not column.bars]
    lines = [
        markdown_row(" ".join(column.title.split()) for column in columns),
        markdown_row("---" if column.left else "---:" for column in columns),
        *map(markdown_row, zip(*(markdown_cells(table, column) for column in columns), strict=True)),
    ]
    if any(column.total for column in columns):
        lines.append(markdown_row(f"**{column.total}**" if column.total else "" for column in columns))
    return "\n".join(lines)


def markdown_cells(table: Table, column: Column) -> list[str]:
    """Names from the model as code, everything else as text."""
    names = len(column) - table.rest if column.code else 0
    return [*map(markdown_code, column.cells[:names]), *map(markdown_text, column.cells[names:])]


def markdown_row(cells: Iterable[str]) -> str:
    """One row of a table, of cells that are Markdown."""
    return f"| {' | '.join(cells)} |"


def html(table: Table) -> str:
    """The table in HTML, for a page with the style of `costlab.formatting.notebook`."""
    columns = table.columns
    body = "".join(
        f"<tr>{''.join(row)}</tr>" for row in zip(*(html_cells(table, column) for column in columns), strict=True)
    )
    parts = [f"<tbody>{body}</tbody>"]
    if any(column.title for column in columns):
        titles = ((" ".join(column.title.split()), column) for column in columns)
        heads = (html_cell("th" if title else "td", title, column) for title, column in titles)
        parts.insert(0, f"<thead><tr>{''.join(heads)}</tr></thead>")
    if any(column.total for column in columns):
        parts.append(f"<tfoot><tr>{''.join(html_cell('td', column.total, column) for column in columns)}</tr></tfoot>")
    return f"<table>{''.join(parts)}</table>"


def html_cells(table: Table, column: Column) -> list[str]:
    """The cells of a column, the bar or the words of each."""
    if column.bars:
        return [f'<td class="bar"><i style="width:{100 * part:.1f}%"></i></td>' for part in column.bars]
    pairs = zip(column.cells, table.tones(column), strict=True)
    return [html_cell("td", words, column, tone) for words, tone in pairs]


def html_cell(tag: str, words: str, column: Column, tone: str = "") -> str:
    """One cell, its side and its tone as classes."""
    side = "left" if column.left else "right"
    return f'<{tag} class="{f"{side} {tone}".strip()}">{html_text(words)}</{tag}>'


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows for spreadsheets and data frames, the head first; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([spreadsheet(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()
