"""A rewrite as text, Markdown and JSON: totals, the layers that were replaced, and why others were not."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from costlab.comparison import compare
from costlab.core.cost import COST_KEYS, Cost, total
from costlab.core.metrics import METRICS
from costlab.core.profile import Profile
from costlab.core.serialization import SCHEMA_VERSION, json_lines, jsonable
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import markdown_code, markdown_text, visible
from costlab.formatting.facts import Fact, title
from costlab.formatting.module_paths import ROOT
from costlab.formatting.table import Column, Table
from costlab.reports.comparison import totals_table
from costlab.reports.header import coverage, inputs
from costlab.rewrite.result import KeptConvolution, RewriteComparison

DROPPED = {"mult_adds": 0, "params": 2, "memory_access": 1}  # the costs shown, and when a narrow terminal drops them
NAMES_SHOWN = 8  # of the layers left unchanged for one reason


def text(change: RewriteComparison, width: int, ascii_only: bool = False) -> Group:
    """For terminals and pipes, `width` cells wide."""
    totals = totals_table(compare(change.base, change.head), ("", "before", "after"))
    layers = tables.text(layers_table(change), width, ascii_only) if change.layers else Text("no layer was replaced")
    parts: list[RenderableType] = [Text(heading(change), style="bold"), header.text(facts(change)), Text()]
    parts += [tables.text(totals, width, ascii_only), Text(), layers]
    return Group(*parts, *unchanged_lines(change.left))


def markdown(change: RewriteComparison) -> str:
    """For issues and pull requests: a heading, a list, and two tables."""
    totals = totals_table(compare(change.base, change.head), ("total", "before", "after"))
    lines = [f"### {markdown_code(heading(change))}", "", *header.markdown(facts(change)), "", tables.markdown(totals)]
    if change.layers:
        lines += ["", tables.markdown(layers_table(change))]
    return "\n".join([*lines, "", *unchanged_items(change.left), ""])


def heading(change: RewriteComparison) -> str:
    """`vgg16 (torchvision) rewritten: dac`."""
    return f"{title(change.base)} rewritten: {change.rule}"


def facts(change: RewriteComparison) -> list[Fact]:
    """The header."""
    lines = [*inputs(change.base.trace.inputs), *(fact for fact in coverage(change.base) if fact.tone)]
    if change.output_error is not None:
        lines.append(Fact("output error", f"{units.percent(change.output_error)} (relative, {change.compared_on})"))
    elif change.compared_on:
        lines.append(Fact("output error", f"unknown: {change.compared_on}", "estimate"))
    return lines


def layers_table(change: RewriteComparison) -> Table:
    """Rank, costs before and after, and weight error of every layer; the others as one row."""
    layers = change.layers
    before, after = zip(*(change.costs[layer.path] for layer in layers), strict=True)
    sides = {"before": with_rest(before, change.base.total), "after": with_rest(after, change.head.total)}
    names = [*(layer.path or ROOT for layer in layers), "others"]
    columns = [Column("module", names, (), "total", left=True, fit="end", least=40, code=True)]
    known = all(layer.weight_error is not None for layer in layers)
    if known:
        columns.append(Column("rank", [*(f"{layer.rank}/{layer.full_rank}" for layer in layers), ""], drop=3))
    for key, drop in DROPPED.items():
        label = METRICS[key].label.removesuffix(" access")
        for side, costs in sides.items():
            *cells, whole = (METRICS[key].format(getattr(cost, key)) for cost in costs)
            columns.append(Column(f"{label}\n{side}", cells, total=whole, drop=drop))
    if known:
        columns.append(Column("weight\nerror", [*(units.percent(layer.weight_error) for layer in layers), ""]))
    return Table(columns, rest=1)


def with_rest(parts: Sequence[Cost], whole: Cost) -> list[Cost]:
    """The parts, what is left of the whole, and the whole."""
    known = total(parts)
    return [*parts, Cost(**{key: getattr(whole, key) - getattr(known, key) for key in COST_KEYS}), whole]


def unchanged_lines(left: Sequence[KeptConvolution]) -> list[Text]:
    """Why layers are unchanged, one line for each reason."""
    return [
        Text(f"unchanged, {visible(why)} ({len(paths)}): {named(paths, visible)}", style="dim")
        for why, paths in reasons(left).items()
    ]


def unchanged_items(left: Sequence[KeptConvolution]) -> list[str]:
    """The same as items of a Markdown list."""
    return [
        f"- unchanged, {markdown_text(why)} ({len(paths)}): {named(paths, markdown_code)}"
        for why, paths in reasons(left).items()
    ]


def reasons(left: Sequence[KeptConvolution]) -> dict[str, list[str]]:
    """The paths of the layers left unchanged, by reason, the most frequent first."""
    paths: dict[str, list[str]] = {}
    for kept in left:
        paths.setdefault(kept.reason, []).append(kept.path)
    return dict(sorted(paths.items(), key=lambda item: -len(item[1])))


def named(paths: list[str], write: Callable[[str], str]) -> str:
    """Some of the paths, and how many more there are."""
    more = len(paths) - NAMES_SHOWN
    names = ", ".join(write(path or ROOT) for path in paths[:NAMES_SHOWN])
    return f"{names} and {more} more" if more > 0 else names


def document(change: RewriteComparison) -> str:
    """Everything, exact; schema version 1 (docs/rewriting.md)."""
    about = {"output_error": change.output_error, "compared_on": change.compared_on or None}
    layers = [
        {
            "path": layer.path,
            "rank": layer.rank,
            "full_rank": layer.full_rank,
            "weight_error": layer.weight_error,
            **beside(*change.costs[layer.path]),
        }
        for layer in change.layers
    ]
    return document_of(change.rule, change.base, change.head, about, {"layers": layers}, change.left)


def beside(base: Cost, head: Cost) -> dict[str, Any]:
    """Every cost before and after."""
    return {key: {"base": getattr(base, key), "head": getattr(head, key)} for key in (*COST_KEYS, "bytes_accessed")}


def document_of(
    rule: str,
    base: Profile,
    head: Profile,
    about: Mapping[str, Any],
    parts: Mapping[str, Any],
    left: Sequence[KeptConvolution],
) -> str:
    """The document of a rewrite: `about` comes before the totals, `parts` after them."""
    peaks = {"base": base.total.peak_activation_bytes, "head": head.total.peak_activation_bytes}
    content = {
        "schema_version": SCHEMA_VERSION,
        "costlab": base.costlab,
        "torch": base.torch,
        "rule": rule,
        "model": {"name": base.name, "provider": base.provider, "arguments": jsonable(base.arguments)},
        "inputs": [i._asdict() for i in base.trace.inputs],
        **about,
        "total": {**beside(base.total, head.total), "peak_activation_bytes": peaks},
        **parts,
        "left": [{"path": kept.path, "reason": kept.reason} for kept in left],
    }
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json_lines(value)}" for key, value in content.items()) + "\n}\n"
