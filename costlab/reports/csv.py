"""A report for spreadsheets and data frames: raw numbers, one line a row, no total."""

from __future__ import annotations

import csv
import io

from costlab.formatting import units
from costlab.formatting.escaping import spreadsheet
from costlab.reports.columns import unknown
from costlab.reports.tables import SECONDS, SORTABLE, Line, Table

WORDS = {"module": ("module", "type"), "kind": ("kind",), "op": ("op", "kind")}


def report(table: Table) -> str:
    """The rows of a table; a cost that is not known is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    timed = [SECONDS] if table.predicted_seconds is not None else []
    named = [*WORDS[table.by], "output_shape", "ops", *SORTABLE, "unused_params", "uncounted", "estimated"]
    writer.writerow([*named, *timed])
    writer.writerows(cells(table, line) for line in (*table.lines, *table.rest))
    return text.getvalue()


def cells(table: Table, line: Line) -> list[str | int | float]:
    words = [line.name, line.type][: len(WORDS[table.by])]
    shape = "" if line.output_shape is None else units.shape(line.output_shape)
    costs = ["" if unknown(line, key) else getattr(line, key) for key in SORTABLE]
    seconds = [line.predicted_seconds or 0.0] if table.predicted_seconds is not None else []
    counts = line.unused_params, line.uncounted, line.estimated
    return [*map(spreadsheet, words), shape, line.ops, *costs, *counts, *seconds]
