"""A comparison as text, Markdown, notebook HTML and JSON: totals, the modules that differ, and the conditions given."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.comparison import Comparison, ModulePair
from costlab.core.conditions import Criterion
from costlab.core.cost import COST_KEYS
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import markdown_code, visible
from costlab.formatting.facts import title
from costlab.formatting.module_paths import ROOT
from costlab.formatting.notebook import page, render
from costlab.formatting.table import Column, Table

if TYPE_CHECKING:
    from rich.console import Group

TOTALS = (
    "mult_adds",
    "params",
    "memory_access",
    "bytes_accessed",
    "element_wise_ops",
    "activations",
    "peak_activation_bytes",
    PREDICTED,
)
COMPARED = ("mult_adds", "params", "memory_access")  # of every module, the most important first
ROWS = 30  # modules shown by default
NOTEBOOK_ROWS = 20


class ConditionResult(NamedTuple):
    """A condition, and whether it broke."""

    condition: Criterion
    forbidden: bool  # it must not be true
    broken: bool
    grown: tuple[ModulePair, ...]  # the modules that grew most


def text(
    comparison: Comparison, results: Sequence[ConditionResult], top: int | None, width: int, ascii_only: bool = False
) -> Group:
    """For terminals and pipes, `width` cells wide."""
    from rich.console import Group, RenderableType
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{label:<4}  {value}") for label, value in networks(comparison)]
    parts += [Text(), tables.text(totals_table(comparison, ("", "base", "head")), width, ascii_only), Text()]
    modules = modules_table(comparison, top)
    if modules.columns[0].cells:
        parts += [tables.text(modules, width, ascii_only), Text()]
    tally = Counter(pair.status for pair in comparison.pairs)
    parts.append(Text(f"modules: {', '.join(f'{n} {status}' for status, n in tally.items())}", style="dim"))
    parts += [Text(sentence(result), style="bold red" if result.broken else "") for result in results]
    return Group(*parts)


def markdown(comparison: Comparison, results: Sequence[ConditionResult], top: int | None) -> str:
    """For pull requests."""
    base, head, *on = (markdown_code(value) for _, value in networks(comparison))
    lines = [f"### {base} → {head}", "", *(f"Predicted for {setup}\n" for setup in on)]
    lines.append(tables.markdown(totals_table(comparison, ("total", "base", "head"))))
    modules = modules_table(comparison, top)
    if modules.columns[0].cells:
        lines += ["", tables.markdown(modules)]
    if results:
        lines += ["", *(f"- {markdown_code(sentence(result))}" for result in results)]
    return "\n".join([*lines, ""])


@render.register
def html(comparison: Comparison) -> str:
    """For notebooks."""
    base, head, *on = (value for _, value in networks(comparison))
    modules = modules_table(comparison, NOTEBOOK_ROWS)
    return page(
        f"{base} → {head}{''.join(f', {setup}' for setup in on)}",
        tables.html(totals_table(comparison, ("total", "base", "head"))),
        tables.html(modules) if modules.columns[0].cells else "",
    )


def totals_table(comparison: Comparison, heads: tuple[str, str, str]) -> Table:
    """Base, head and change of every total that both networks have."""
    rows = []
    for key in TOTALS:
        before, after = comparison.totals(key)
        if before is not None and after is not None:
            metric = METRICS[key]
            change, ratio = metric.change(after - before), units.ratio(before, after)
            rows.append((metric.label, metric.format(before), metric.format(after), change, ratio))
    labels, *ends, changes, ratios = zip(*rows, strict=True)
    sides = [Column(head, cells) for head, cells in zip(heads[1:], ends, strict=True)]
    growth = Column("change", changes, drop=2), Column("", ratios, drop=1)
    return Table([Column(heads[0], labels, left=True), *sides, *growth])


def modules_table(comparison: Comparison, top: int | None) -> Table:
    """The modules whose costs differ, the largest change first, and those cut off by `top` as one row."""
    keys = (PREDICTED, *COMPARED) if comparison.head_latency else COMPARED
    pairs = [p for p in comparison.pairs if any(p.change(key) for key in keys)]
    pairs.sort(key=lambda p: [-abs(p.change(key)) for key in keys])
    rest = pairs[top:] if top is not None else []
    pairs = pairs[:top]
    rows = [*([pair] for pair in pairs), *([rest] if rest else [])]
    names = [*map(module_name, pairs), *([f"{len(rest)} others"] if rest else [])]
    status = [*(pair.status for pair in pairs), *([""] if rest else [])]
    costs = [
        Column(METRICS[key].label, [change_of(row, key) for row in rows], drop=len(keys) - i if i else 0)
        for i, key in enumerate(keys)
    ]
    name = Column("module", names, left=True, fit="end", least=20, code=True)
    return Table([name, *costs, Column("", status, ["quiet"] * len(rows), left=True)], rest=len(rows) - len(pairs))


def change_of(pairs: Sequence[ModulePair], key: str) -> str:
    """The change of a metric over some modules together."""
    return METRICS[key].change(sum(pair.change(key) for pair in pairs))


def networks(comparison: Comparison) -> list[tuple[str, str]]:
    """What is compared, and on what."""
    base, head = comparison.base_latency, comparison.head_latency
    on = [("on", (head if base.batch == head.batch else replace(head, batch=None)).setup)] if base and head else []
    return [("base", title(comparison.base)), ("head", title(comparison.head)), *on]


def module_name(pair: ModulePair) -> str:
    """The path of a module; both paths if it moved."""
    name = pair.name or ROOT
    return f"{name} (was {pair.base.name or ROOT})" if pair.status == "moved" and pair.base else name


def sentence(result: ConditionResult) -> str:
    """A condition and its outcome."""
    condition = visible(result.condition.text)
    if not result.broken:
        return f"ok: {'not ' if result.forbidden else ''}{condition}"
    metric = result.condition.key
    growth = ", ".join(f"{visible(p.name) or ROOT} {change_of([p], metric)}" for p in result.grown)
    return f"BROKEN: {condition}" + (f"; grew most: {growth}" if growth else "")


def comment(
    revision: str, pages: Sequence[str], compared: Sequence[tuple[Comparison, Sequence[ConditionResult]]]
) -> str:
    """The comparisons with a revision as the comment of a pull request, which begins with the verdict.

    The hidden first line lets a workflow find the comment and update it.
    """
    broken = [each.head.name for each, results in compared if any(result.broken for result in results)]
    names = ", ".join(map(markdown_code, broken))
    counted = f"{len(broken)} of {len(compared)} model{'s' * (len(compared) != 1)} over budget: {names}"
    verdict = counted if broken else "All budgets hold." if compared else "No model to compare."
    head = ["<!-- costlab -->", f"## Costs compared with {markdown_code(revision)}", "", verdict, ""]
    return "\n".join([*head, *pages])


def documents_against(revision: str, documents: Sequence[str]) -> str:
    """Several comparisons with a revision as JSON."""
    models = [json.loads(each) for each in documents]
    return json.dumps({"schema_version": 1, "against": revision, "models": models}, indent=1, allow_nan=False) + "\n"


def document(comparison: Comparison, results: Sequence[ConditionResult]) -> str:
    """The comparison as JSON: every module of both, unknown values null."""
    keys = (*COST_KEYS, "bytes_accessed")

    def network(profile: Profile) -> dict[str, Any]:
        return {"name": profile.name, "provider": profile.provider, "arguments": dict(profile.arguments)}

    def beside(pair: ModulePair, key: str) -> dict[str, Any]:
        return {side: getattr(row, key) if row else None for side, row in (("base", pair.base), ("head", pair.head))}

    latencies = {"base": comparison.base_latency, "head": comparison.head_latency}
    summaries = {side: latency.summary for side, latency in latencies.items() if latency}
    return (
        json.dumps(
            {
                "schema_version": 1,
                "base": network(comparison.base),
                "head": network(comparison.head),
                "total": {
                    key: dict(zip(("base", "head"), comparison.totals(key), strict=True))
                    for key in (*keys, "unused_params", "peak_activation_bytes", PREDICTED)
                },
                "latency": summaries or None,
                "modules": [
                    {
                        "base": pair.base.name if pair.base else None,
                        "head": pair.head.name if pair.head else None,
                        "type": (pair.head or pair.base).type,  # type: ignore[union-attr]
                        "status": pair.status,
                        **{key: beside(pair, key) for key in keys},
                        PREDICTED: {"base": pair.base_seconds, "head": pair.head_seconds},
                    }
                    for pair in comparison.pairs
                ],
                "conditions": [{"condition": r.condition.text, "broken": r.broken} for r in results],
            },
            indent=1,
            allow_nan=False,
            default=str,
        )
        + "\n"
    )
