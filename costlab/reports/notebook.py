"""A report for notebooks: one HTML table that brings its own style and no script."""

from __future__ import annotations

from html import escape

from costlab.profiles import Profile
from costlab.reports.columns import Column, bars, columns_of, notes
from costlab.reports.escaping import visible
from costlab.reports.header import facts, title
from costlab.reports.tables import Table, default_depth
from costlab.reports.tables import table as table_of

# Colours are of the page, so that the table suits a dark one as well.
STYLE = """
.costlab {overflow-x: auto}
.costlab table {border-collapse: collapse; font-variant-numeric: tabular-nums}
.costlab th, .costlab td {padding: 1px 10px 1px 0; text-align: right; white-space: nowrap; background: none}
.costlab .left {text-align: left}
.costlab .quiet, .costlab .zero, .costlab th {opacity: 0.65; font-weight: normal}
.costlab .alarm, .costlab .uncounted {color: #d33; font-weight: bold}
.costlab .estimate {color: #b80}
.costlab thead, .costlab tfoot {border: solid currentColor; border-width: 0 0 1px}
.costlab tfoot {border-width: 1px 0 0; font-weight: bold}
.costlab .bar {min-width: 8em}
.costlab .bar i {display: block; height: 0.7em; background: #4a90d9}
"""


def profile_html(profile: Profile) -> str:
    """The header and the modules of a profile, to a depth that fits a screen."""
    table = table_of(profile, depth=default_depth(profile))
    columns = columns_of(table)
    head = "".join(
        f'<tr class="{f.alarm}"><td class="left quiet">{f.label}</td><td class="left">{text(f.value)}</td></tr>'
        for f in facts(profile)
    )
    titles = "".join(f'<th class="{side(c)}">{text(c.title)}</th>' for c in columns)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*(cells(table, c) for c in columns), strict=True))
    totals = "".join(f'<td class="{side(c)}">{text(c.total)}</td>' for c in columns)
    below = "".join(f'<div class="quiet">{text(note)}</div>' for note in notes(table))
    return (
        f'<div class="costlab"><style>{STYLE}</style><strong>{text(title(profile))}</strong><table>{head}</table><br>'
        f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody><tfoot><tr>{totals}</tr></tfoot></table>{below}</div>"
    )


def cells(table: Table, column: Column) -> list[str]:
    if column.key == "bar":
        return [f'<td class="bar"><i style="width:{100 * part:.1f}%"></i></td>' for part in bars(table)]
    shown = zip(column.cells, column.tones, strict=True)
    return [f'<td class="{side(column)} {tone}">{text(cell)}</td>' for cell, tone in shown]


def side(column: Column) -> str:
    return "left" if column.left else "right"


def text(words: str) -> str:
    """Words that stay words in HTML."""
    return escape(visible(words)).replace("\n", "<br>")
