"""A report for issues, pull requests and wikis: a table as GitHub writes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from costlab.core.profile import Profile
from costlab.formatting.escaping import markdown_code, markdown_text
from costlab.reports.columns import Column, columns_of, notes
from costlab.reports.header import facts, title
from costlab.reports.tables import Table

if TYPE_CHECKING:
    from costlab.latency.prediction import Prediction


def report(profile: Profile, table: Table, prediction: Prediction | None = None) -> str:
    """A heading, the header as a list, and the table."""
    columns = [column for column in columns_of(table) if column.key != "bar"]
    return "\n".join(
        [
            f"### {markdown_code(title(profile))}",
            "",
            *(f"- {fact.label}: {markdown_text(fact.value)}" for fact in facts(profile, prediction)),
            "",
            row(column.title.replace("\n", " ") for column in columns),
            row("---" if column.left else "---:" for column in columns),
            *map(row, zip(*map(cells, columns), strict=True)),
            row(f"**{column.total}**" if column.total else "" for column in columns),
            *(f"\n{markdown_text(note)}" for note in notes(table)),
            "",
        ]
    )


def cells(column: Column) -> Iterable[str]:
    """Names from the model as code; words of the report as they are."""
    if column.key not in ("name", "type"):
        return column.cells
    shown = zip(column.cells, column.tones, strict=True)
    return [cell if column.key == "name" and tone == "quiet" else markdown_code(cell) for cell, tone in shown]


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
