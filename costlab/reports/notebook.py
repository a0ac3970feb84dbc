"""Predictions and lint results for notebooks."""

from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.facts import Fact
from costlab.formatting.notebook import page, render
from costlab.formatting.table import Column, Table
from costlab.guidelines.model import LintResult
from costlab.guidelines.what_ifs import WhatIfs
from costlab.latency.prediction import Prediction
from costlab.reports import findings
from costlab.reports.header import latency, what_first

ROWS = 20  # operators
FINDINGS = 8  # which take several lines each


@render.register
def prediction_html(prediction: Prediction) -> str:
    """The predicted latency, and the most expensive operators with what bounds them."""
    whole = prediction.seconds or 1.0
    ranked = sorted(prediction.by_op.items(), key=lambda item: -item[1])
    names = [op for op, _ in ranked[:ROWS]]
    seconds = [second for _, second in ranked[:ROWS]]
    bounds = [prediction.bound[op] for op in names]
    if rest := [second for _, second in ranked[ROWS:]]:
        names, seconds, bounds = [*names, f"{len(rest)} others"], [*seconds, sum(rest)], [*bounds, ""]
    facts = latency(prediction)
    if prediction.unknown:
        facts.append(Fact("unknown", f"{len(prediction.unknown)} operators without a cost rule: not in the sum"))
    columns = [
        Column("op", names, left=True),
        Column("predicted", [*map(units.seconds, seconds)]),
        Column("share", [units.percent(second / whole) for second in seconds]),
        Column("bound", bounds, left=True),
    ]
    return page(prediction.setup, header.html(facts), tables.html(Table(columns, rest=bool(rest))))


@render.register
def what_ifs_html(what_ifs: WhatIfs) -> str:
    """What to do first."""
    return page(what_ifs.setup, header.html(what_first(what_ifs)))


@render.register
def lint_html(result: LintResult) -> str:
    """A verdict for each rule, and the most expensive findings."""
    shown = findings.findings_table(result, FINDINGS)
    return page(
        f"{result.model}, {findings.heading(result)}",
        header.html(what_first(result.what_ifs)) if result.what_ifs else "",
        tables.html(findings.verdict_table(result)),
        tables.html(shown) if shown else "",
    )
