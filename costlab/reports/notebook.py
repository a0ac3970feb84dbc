"""Reports for notebooks: HTML tables that bring their own style and no script."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape

from costlab.comparison import Comparison
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.notebook import render
from costlab.guidelines.model import LintResult
from costlab.latency.prediction import Prediction
from costlab.reports import comparison as compared
from costlab.reports import findings
from costlab.reports.columns import Column, bars, columns_of, notes
from costlab.reports.header import facts, latency, running, title
from costlab.reports.tables import Table, default_depth
from costlab.reports.tables import table as table_of

ROWS = 20  # of operators or modules
FINDINGS = 8  # which take several lines each

# Colours are of the page, so that the table suits a dark one as well. Notebooks have rules for td and th, which
# those by class have to outdo.
STYLE = """
.costlab {overflow-x: auto}
.costlab table {border-collapse: collapse; font-variant-numeric: tabular-nums}
.costlab th, .costlab td {padding: 1px 10px 1px 0; text-align: right; vertical-align: top; white-space: nowrap;
  background: none}
.costlab td.left, .costlab th.left {text-align: left}
.costlab td.left:last-child {white-space: normal}
.costlab .quiet, .costlab .zero, .costlab th {opacity: 0.65; font-weight: normal}
.costlab .alarm, .costlab .uncounted {color: #d33; font-weight: bold}
.costlab .estimate {color: #b80}
.costlab thead, .costlab tfoot {border: solid currentColor; border-width: 0 0 1px}
.costlab tfoot {border-width: 1px 0 0; font-weight: bold}
.costlab .bar {min-width: 8em}
.costlab .bar i {display: block; height: 0.7em; background: #4a90d9}
"""


@render.register
def profile_html(profile: Profile) -> str:
    """The header and the modules of a profile, to a depth that fits a screen."""
    table = table_of(profile, depth=default_depth(profile))
    columns = columns_of(table)
    head = "".join(
        f'<tr class="{f.alarm}"><td class="left quiet">{f.label}</td><td class="left">{text(f.value)}</td></tr>'
        for f in facts(profile)
    )
    titles = "".join(cell("th", " ".join(c.title.split()), c.left) for c in columns)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*(cells(table, c) for c in columns), strict=True))
    totals = "".join(f'<td class="{side(c)}">{text(c.total)}</td>' for c in columns)
    below = "".join(f'<div class="quiet">{text(note)}</div>' for note in notes(table))
    return (
        f'<div class="costlab"><style>{STYLE}</style><strong>{text(title(profile))}</strong><table>{head}</table><br>'
        f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody><tfoot><tr>{totals}</tr></tfoot></table>{below}</div>"
    )


@render.register
def prediction_html(prediction: Prediction) -> str:
    """What is predicted, and the dearest operators with what bounds them."""
    whole = prediction.seconds or 1.0
    dearest = sorted(prediction.by_op.items(), key=lambda item: -item[1])
    rows = [(op, units.seconds(s), units.percent(s / whole), prediction.bound[op]) for op, s in dearest[:ROWS]]
    if rest := [seconds for _, seconds in dearest[ROWS:]]:
        rows.append((f"{len(rest)} others", units.seconds(sum(rest)), units.percent(sum(rest) / whole), ""))
    head = [(fact.label, fact.value) for fact in latency(prediction)]
    if prediction.unknown:
        head.append(("unknown", f"{len(prediction.unknown)} operators without a cost rule: not in the sum"))
    return page(running(prediction), grid((), head, (0, 1)), grid(("op", "predicted", "share", "bound"), rows, (0, 3)))


@render.register
def comparison_html(comparison: Comparison) -> str:
    """The totals of both networks, and the modules that differ."""
    base, head, *more = (said for _, said in compared.networks(comparison))
    keys = compared.columns(comparison)
    shown, rest = compared.changed(comparison, ROWS)
    rows = [(compared.renamed(pair), *compared.differences([pair], keys), pair.status) for pair in shown]
    if rest:
        rows.append((f"{len(rest)} others", *compared.differences(rest, keys), ""))
    heads = ("module", *(compared.TOTALS[key][0] for key in keys), "")
    return page(
        f"{base} → {head}{''.join(f', {said}' for said in more)}",
        grid(("total", "base", "head", "change", ""), compared.total_rows(comparison)),
        grid(heads, rows, (0, len(heads) - 1)) if rows else "",
    )


@render.register
def lint_html(result: LintResult) -> str:
    """A verdict for each rule, and the most expensive findings."""
    verdicts = [cells for _, cells in findings.verdict_rows(result)]
    groups, rest = findings.top_groups(result.findings, FINDINGS)
    rows = [(g.first.severity, g.first.rule, g.location, findings.group_sentence(g, result.device)) for g in groups]
    if rest:
        rows.append(("", "", rest, ""))
    return page(
        f"{result.model}, {findings.FUSIONS[result.fusion]}",
        grid(findings.VERDICT_COLUMNS, verdicts, (0, 1, 5)),
        grid(("", "rule", "module", "finding"), rows, range(4)) if rows else "",
    )


def page(heading: str, *parts: str) -> str:
    """A heading, and tables below it."""
    style, tables = f"<style>{STYLE}</style>", "<br>".join(filter(None, parts))
    return f'<div class="costlab">{style}<strong>{text(heading)}</strong>{tables}</div>'


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table of words, the columns `left` on the left, numbers on the right."""
    titles = "".join(cell("th", head, i in left) for i, head in enumerate(heads))
    lines = ("".join(cell("td", words, i in left) for i, words in enumerate(row)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{f'<thead><tr>{titles}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table>"


def cell(tag: str, words: str, left: bool) -> str:
    side = "left" if left else "right"
    return f'<{tag} class="{side}">{text(words)}</{tag}>'


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
