"""The report of a profile as text, Markdown and notebook HTML: a header, the table of costs, and notes on its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import html_text, markdown_code, markdown_text
from costlab.formatting.module_paths import ROOT
from costlab.formatting.notebook import page, render
from costlab.formatting.table import Column, Table
from costlab.reports.header import facts
from costlab.reports.profile_table import WORDS, CostTable, ReportRow, default_depth
from costlab.reports.profile_table import table as table_of

if TYPE_CHECKING:
    from costlab.guidelines.what_ifs import WhatIfs
    from costlab.latency.prediction import Prediction

DROPPED = {"output": 2, "type": 3, "params": 4, "memory_access": 5}  # in this order, after the bars
FOLDED = {"module": "modules without a cost of their own", "kind": "kinds without cost", "op": "free operators"}


def text(
    profile: Profile,
    table: CostTable,
    width: int,
    ascii_only: bool = False,
    prediction: Prediction | None = None,
    what_ifs: WhatIfs | None = None,
    tree: Table | None = None,
) -> Group:
    """For terminals and pipes, `width` cells wide if that is 40 or more."""
    return Group(
        Text(header.title(profile), style="bold"),
        header.text(facts(profile, prediction, what_ifs)),
        *(
            Padding(tables.text(part, width, ascii_only), (1, 0, 0, 0))
            for part in parts(tree or layout(table), table, width)
        ),
        *(Text(note, style="dim") for note in (() if tree else notes(table))),
    )


def markdown(
    profile: Profile,
    table: CostTable,
    prediction: Prediction | None = None,
    what_ifs: WhatIfs | None = None,
    tree: Table | None = None,
) -> str:
    """For issues, pull requests and wikis."""
    about = header.markdown(facts(profile, prediction, what_ifs))
    lines = [f"### {markdown_code(header.title(profile))}", "", *about, ""]
    below = () if tree else notes(table)
    lines += [tables.markdown(tree or layout(table)), *(f"\n{markdown_text(note)}" for note in below), ""]
    return "\n".join(lines)


@render.register
def html(profile: Profile) -> str:
    """For notebooks: the modules of a profile, to a depth that fits a screen."""
    table = table_of(profile, depth=default_depth(profile))
    below = "".join(f'<div class="quiet">{html_text(note)}</div>' for note in notes(table))
    return page(header.title(profile), header.html(facts(profile)), tables.html(layout(table)) + below)


def layout(table: CostTable) -> Table:
    """Every column, in order; the metric that the rows are sorted by is always among them, its share beside it."""
    rows = [*table.lines, *table.rest]
    tones = ["alarm" if row.uncounted else "" for row in table.lines] + ["quiet"] * len(table.rest)
    columns = [Column(table.by, [*map(name_of, rows)], tones, "total", True, fit="end", least=20, code=True)]
    for key in table.columns or default_columns(table):
        columns.append(word_column(rows, key) if key in WORDS else cost_column(table, rows, key))
        if key == table.key:
            columns += share_columns(table, rows)
    return Table(columns, rest=len(table.rest))


def parts(shown: Table, table: CostTable, width: int) -> list[Table]:
    """The table as it is drawn: several if columns that were asked for do not fit beside each other."""
    return tables.wrapped(shown, width) if table.columns else [shown]


def output_of(row: ReportRow) -> str:
    """The shape of its first output, if it has one."""
    if row.never_ran:
        return "never ran"
    return "" if row.output_shape is None else units.shape(row.output_shape)


def default_columns(table: CostTable) -> list[str]:
    """What is shown if nothing else is asked for."""
    words = {"module": ["type", "output"], "kind": ["ops"], "op": ["output"]}[table.by]
    timed = [PREDICTED] if table.predicted_seconds is not None else []
    costs = ["params", "mult_adds", "memory_access", *timed]
    return [*words, *dict.fromkeys([*costs, table.key])]


def word_column(rows: Sequence[ReportRow], key: str) -> Column:
    """A column of names, shapes or counts rather than costs."""
    quiet = ("quiet",) * len(rows)
    if key in ("ops", "calls", "unused_params"):
        values = [getattr(row, key) for row in rows]
        cells = ["" if value is None else units.short(value) for value in values]
        return Column(key.replace("_", " "), cells, quiet)
    if key == "type":
        types = [row.type for row in rows]
        return Column("type", types, quiet, "", True, DROPPED["type"], fit="start", least=10, code=True)
    if key == "output":
        cells = [output_of(row) for row in rows]
    else:
        cells = [row.name if key == "name" else getattr(row.words, key) for row in rows]
    return Column(key, cells, quiet, left=True, drop=DROPPED["output"])


def cost_column(table: CostTable, rows: Sequence[ReportRow], key: str) -> Column:
    """A metric of every row: `?` if it is unknown."""
    metric = METRICS[key]
    values = [row.cost(key) for row in rows]
    cells = ["?" if value is None and key != PREDICTED else metric.format(value) for value in values]
    total = table.predicted_seconds if key == PREDICTED else getattr(table.total, key)
    drop = 0 if key == table.key else DROPPED.get(key, 0)
    return Column(metric.label.replace(" ", "\n"), cells, tones_of(values), metric.format(total), drop=drop)


def share_columns(table: CostTable, rows: Sequence[ReportRow]) -> list[Column]:
    """The share of each row in the metric that the rows are sorted by, as a number and as a bar."""
    values = [row.cost(table.key) for row in rows]
    shares = [None if value is None else table.share(row) for row, value in zip(rows, values, strict=True)]
    whole = units.percent(table.share(table.total))
    lengths = [table.share(row) or 0.0 for row in table.lines]
    largest = max(lengths, default=0.0) or 1.0
    bars = [length / largest for length in lengths] + [0.0] * len(table.rest)
    return [
        Column("share", [*map(units.percent, shares)], tones_of(values), whole),
        Column("", ("",) * len(rows), left=True, drop=1, bars=bars),
    ]


def name_of(row: ReportRow) -> str:
    """The name of a row; an exclamation mark marks operators without a cost rule in it."""
    return (row.name or ROOT) + (" !" if row.uncounted else "")


def tones_of(values: Sequence[float | None]) -> tuple[str, ...]:
    """Zeros are dimmed; unknown values are highlighted."""
    return tuple("alarm" if value is None else "" if value else "zero" for value in values)


def notes(table: CostTable) -> list[str]:
    """What a reader has to know about the rows."""
    lines = []
    if any(row.uncounted for row in (*table.lines, *table.rest)):
        lines.append("! contains operators without a cost rule, which its numbers leave out")
    if table.folded:
        lines.append(f"not shown: {FOLDED[table.by]} ({table.folded})")
    return lines
