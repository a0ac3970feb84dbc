"""A report for spreadsheets and data frames: raw numbers, one line a row, no total."""

from costlab.core.metrics import PREDICTED, SORTABLE
from costlab.formatting import units
from costlab.formatting.table import csv_text
from costlab.reports.profile_table import CostTable, ReportRow

WORDS = {"module": ("module", "type"), "kind": ("kind",), "op": ("op", "kind")}


def report(table: CostTable) -> str:
    """The rows of a table; an unknown cost is an empty cell."""
    timed = [PREDICTED] if table.predicted_seconds is not None else []
    head = [*WORDS[table.by], "output_shape", "ops", *SORTABLE, "unused_params", "uncounted", "estimated"]
    return csv_text([[*head, *timed], *(cells(table, row) for row in (*table.lines, *table.rest))])


def cells(table: CostTable, row: ReportRow) -> list[str | int | float]:
    """One line, in the order of the head."""
    words = [row.name, row.type][: len(WORDS[table.by])]
    shape = "" if row.output_shape is None else units.shape(row.output_shape)
    costs = ["" if (cost := row.cost(key)) is None else cost for key in SORTABLE]
    seconds = [row.predicted_seconds or 0.0] if table.predicted_seconds is not None else []
    counts = row.unused_params, row.uncounted, row.estimated
    return [*words, shape, row.ops, *costs, *counts, *seconds]
