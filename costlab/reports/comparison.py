"""A comparison as text, Markdown, notebook HTML and JSON: totals, the modules that differ, and the conditions given."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from costlab.comparison import Comparison, ModulePair, before_and_after
from costlab.core.conditions import Criterion
from costlab.core.cost import COST_KEYS
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import markdown_code, visible
from costlab.formatting.facts import title
from costlab.formatting.module_paths import ROOT, merge_paths, path_pattern
from costlab.formatting.notebook import page, render
from costlab.formatting.table import Column, Table

STEP = ("saved_bytes", "gradient_bytes", "optimizer_bytes", "peak_bytes")  # known of training steps
TOTALS = (
    "mult_adds",
    "params",
    "memory_access",
    "bytes_accessed",
    "element_wise_ops",
    "activations",
    "peak_activation_bytes",
    *STEP,
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
    comparison: Comparison,
    results: Sequence[ConditionResult],
    top: int | None,
    width: int,
    ascii_only: bool = False,
    revision: str | None = None,
) -> Group:
    """For terminals and pipes, `width` cells wide; `revision`: of the base, if it is the same network."""
    parts: list[RenderableType] = [Text(f"{label:<4}  {value}") for label, value in networks(comparison, revision)]
    parts += [Text(), tables.text(totals_table(comparison, ("", "base", "head")), width, ascii_only), Text()]
    modules = modules_table(comparison, top)
    if modules.columns[0].cells:
        parts += [tables.text(modules, width, ascii_only), Text()]
    tally = Counter(pair.status for pair in comparison.pairs)
    parts.append(Text(f"modules: {', '.join(f'{n} {status}' for status, n in tally.items())}", style="dim"))
    parts += [Text(sentence(result), style="bold red" if result.broken else "") for result in results]
    return Group(*parts)


def markdown(
    comparison: Comparison, results: Sequence[ConditionResult], top: int | None, revision: str | None = None
) -> str:
    """For pull requests; `revision`: of the base, if it is the same network."""
    base, head, *on = (markdown_code(value) for _, value in networks(comparison))
    lines = [f"### {head}" if revision else f"### {base} → {head}", "", *(f"Predicted for {setup}\n" for setup in on)]
    if results:
        lines += [*(f"- {markdown_code(sentence(result))}" for result in results), ""]
    lines.append(tables.markdown(totals_table(comparison, ("total", "base", "head"))))
    modules = modules_table(comparison, top)
    if modules.columns[0].cells:
        lines += ["", tables.markdown(modules)]
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
    """The modules whose costs differ, the largest change first, and those cut off by `top` as one row.

    Repetitions of a block that change alike are one row. The first cost has its values before and after, too.
    """
    keys = (PREDICTED, *COMPARED) if comparison.head_latency else COMPARED
    groups = alike([p for p in comparison.pairs if any(p.change(key) for key in keys)], keys)
    groups.sort(key=lambda group: [-abs(sum(p.change(key) for p in group)) for key in keys])
    rest = [pair for group in groups[top:] for pair in group] if top is not None else []
    groups = groups[:top]
    rows = [*groups, *([rest] if rest else [])]
    names = [*map(group_name, groups), *([f"{len(rest)} other{'s' * (len(rest) != 1)}"] if rest else [])]
    status = [*(group[0].status for group in groups), *([""] if rest else [])]
    first = METRICS[keys[0]]
    ends = [
        Column(f"{first.label}\n{side}", [first.format(sum(value_of(p, side, keys[0]) for p in row)) for row in rows],
               drop=len(keys) + (side == "head"))
        for side in ("base", "head")
    ]  # fmt: skip
    costs = [
        Column(f"{METRICS[key].label}\nchange", [change_of(row, key) for row in rows], drop=len(keys) - i if i else 0)
        for i, key in enumerate(keys)
    ]
    name = Column("module", names, left=True, fit="end", least=32, code=True)
    state = Column("", status, ["quiet"] * len(rows), left=True)
    return Table([name, *ends, *costs, state], rest=len(rows) - len(groups))


def alike(pairs: Sequence[ModulePair], keys: Sequence[str]) -> list[list[ModulePair]]:
    """Pairs in groups that differ only in the repetition of a block."""
    groups: dict[tuple[object, ...], list[ModulePair]] = {}
    for pair in pairs:
        costs = ((units.quantity(value_of(pair, side, key)) for side in ("base", "head")) for key in keys)
        group = path_pattern(pair.name), pair.status, *(value for both in costs for value in both)
        groups.setdefault((*group, pair.name) if pair.status == "moved" else group, []).append(pair)
    return list(groups.values())


def value_of(pair: ModulePair, side: str, key: str) -> float:
    """A cost of a module, or its predicted seconds, in "base" or "head"; 0 where it is not."""
    if key == PREDICTED:
        return getattr(pair, f"{side}_seconds") or 0.0
    row = getattr(pair, side)
    return getattr(row, key) if row else 0


def change_of(pairs: Sequence[ModulePair], key: str) -> str:
    """The change of a metric over some modules together."""
    return METRICS[key].change(sum(pair.change(key) for pair in pairs))


def networks(comparison: Comparison, revision: str | None = None) -> list[tuple[str, str]]:
    """What is compared, and on what."""
    base, head = comparison.base_latency, comparison.head_latency
    setup = (head if base.batch == head.batch else replace(head, batch=None)).setup if base and head else ""
    on = [("on", setup)] if head and setup else []
    at = f" at {visible(revision)}" if revision else ""
    return [("base", f"{title(comparison.base)}{at}"), ("head", title(comparison.head)), *on]


def group_name(group: Sequence[ModulePair]) -> str:
    """The path of a module, or of repetitions of a block; both paths if it moved."""
    pair = group[0]
    if pair.status == "moved" and pair.base:
        return f"{pair.name or ROOT} (was {pair.base.name or ROOT})"
    times = f" ({len(group)} times)" if len(group) > 1 else ""
    return f"{merge_paths([each.name for each in group]) or ROOT}{times}"


def sentence(result: ConditionResult) -> str:
    """A condition and its outcome."""
    condition = visible(result.condition.text)
    if not result.broken:
        return f"ok: {'not ' if result.forbidden else ''}{condition}"
    metric = result.condition.key
    growth = ", ".join(f"{visible(p.name) or ROOT} {change_of([p], metric)}" for p in result.grown)
    return f"BROKEN: {condition}" + (f"; grew most: {growth}" if growth else "")


Compared = tuple[Comparison, Sequence[ConditionResult]]


def verdict_lines(
    compared: Sequence[Compared], failed: Sequence[str], name: Callable[[str], str] = visible
) -> list[str]:
    """How a comparison with a revision went: models over budget, and models that could not be analysed."""
    broken = [each.head.name for each, results in compared if any(result.broken for result in results)]
    count = len(compared) + len(failed)
    lines = [
        f"{len(names)} of {count} model{'s' * (count != 1)} {words}: {', '.join(map(name, names))}"
        for names, words in ((broken, "over budget"), (failed, "could not be analysed"))
        if names
    ]
    return lines or ["All budgets hold." if compared else "No model to compare."]


def comment(
    revision: str, pages: Sequence[str], compared: Sequence[Compared], failed: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The comparisons with a revision as the comment of a pull request: the verdict, a line for each model, then each.

    The hidden first line lets a workflow find the comment and update it.
    """
    lines = ["<!-- costlab -->", f"## Costs compared with {markdown_code(revision)}", ""]
    lines += [*verdict_lines(compared, list(failed), markdown_code), ""]
    lines += [
        *(f"- {markdown_code(name)}: {markdown_code(why)}" for name, why in failed.items()),
        *([""] if failed else []),
    ]
    if len(compared) > 1:
        lines += [tables.markdown(models_table(compared)), ""]
    return "\n".join([*lines, *pages])


def models_table(compared: Sequence[Compared]) -> Table:
    """A row for each model: its first totals before and after."""
    keys = (*COMPARED, PREDICTED) if any(each.head_latency for each, _ in compared) else COMPARED
    names = Column("model", [each.head.name for each, _ in compared], left=True, code=True)
    costs = [
        Column(METRICS[key].label, [before_and_after(key, *each.totals(key)) for each, _ in compared]) for key in keys
    ]
    outcomes = ["broken" if any(result.broken for result in results) else "hold" for _, results in compared]
    return Table([names, *costs, Column("budgets", outcomes, left=True)])


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
                    for key in (*keys, "unused_params", "peak_activation_bytes", *STEP, PREDICTED)
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
