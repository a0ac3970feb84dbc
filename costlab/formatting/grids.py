"""An empty table as every text report draws it."""

from __future__ import annotations

from rich.box import SIMPLE, Box
from rich.table import Table as Grid

GAP = 2  # cells between columns
ASCII_BOX = Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)


def blank(ascii_only: bool, footer: bool = False) -> Grid:
    """A table without columns; the last row of one with a footer is the footer of its columns."""
    return Grid(
        box=ASCII_BOX if ascii_only else SIMPLE,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        show_footer=footer,
        header_style="dim",
        footer_style="bold",
        border_style="dim",
    )
