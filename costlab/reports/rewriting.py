"""A rewrite as text, Markdown and JSON: totals, the layers that were replaced, and why others were not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from costlab.comparison import compare
from costlab.core.cost import COST_KEYS, Cost, total
from costlab.core.serialization import SCHEMA_VERSION, json_lines, jsonable
from costlab.formatting import units
from costlab.formatting.escaping import markdown_code, markdown_text, visible
from costlab.formatting.grids import GAP, blank
from costlab.reports.columns import ROOT
from costlab.reports.comparison import total_rows
from costlab.reports.header import Fact, coverage, inputs, title
from costlab.reports.markdown import row
from costlab.reports.text import STYLES, shortened
from costlab.rewrite.result import Change

COSTS = {"mult_adds": "mult-adds", "params": "params", "memory_access": "memory"}
SACRIFICES = (
    "memory_access",
    "params",
    "rank",
)  # what gives way, one after the other, where the width does not do for all
NAME_LEAST, NAME_MOST = 8, 40  # cells
TOTALS_WIDE = 58  # cells that the totals take with their change
NAMES_SHOWN = 8  # of the layers left for one reason


class Column(NamedTuple):
    """A column of the table of layers: a cell for every layer, for everything else, and for the total."""

    key: str  # "name", "rank", "error" or a cost
    title: str
    cells: list[str]


def heading(change: Change) -> str:
    """`vgg16 (torchvision) rewritten: dac`."""
    return f"{title(change.base)} rewritten: {change.rule}"


def facts(change: Change) -> list[Fact]:
    """What stands above the numbers."""
    lines = [*inputs(change.base), *(fact for fact in coverage(change.base) if fact.alarm)]
    if change.output_error is not None:
        error = units.percent(change.output_error)
        lines.append(Fact("output error", f"{error} (relative, {visible(change.compared_on)})"))
    elif change.compared_on:
        lines.append(Fact("output error", f"unknown: {visible(change.compared_on)}", "estimate"))
    return lines


def columns(change: Change) -> list[Column]:
    """Name, rank, every cost before and after, and weight error; the last row of costs is the sum of those above it."""
    layers = change.layers
    before, after = zip(*(change.costs[layer.path] for layer in layers), strict=True)
    sides = {"before": with_total(before, change.base.total), "after": with_total(after, change.head.total)}
    result = [Column("name", "module", [*(visible(layer.path) or ROOT for layer in layers), "others", "total"])]
    for key, label in COSTS.items():
        for side, costs in sides.items():
            result.append(Column(key, f"{label} {side}", [units.short(getattr(cost, key)) for cost in costs]))
    if all(layer.weight_error is not None for layer in layers):
        ranks = (f"{layer.rank}/{layer.full_rank}" for layer in layers)
        errors = (units.percent(layer.weight_error) for layer in layers)
        result.insert(1, Column("rank", "rank", [*ranks, "", ""]))
        result.append(Column("error", "weight error", [*errors, "", ""]))
    return result


def with_total(parts: Sequence[Cost], whole: Cost) -> list[Cost]:
    """The parts, what they leave of the whole, and the whole."""
    known = total(parts)
    return [*parts, Cost(**{key: getattr(whole, key) - getattr(known, key) for key in COST_KEYS}), whole]


def reasons(change: Change) -> dict[str, list[str]]:
    """The paths of the layers left, by reason, the most frequent first."""
    found: dict[str, list[str]] = {}
    for left in change.left:
        found.setdefault(left.reason, []).append(left.path)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def named(paths: list[str], write: Callable[[str], str]) -> str:
    """Some of the paths, and how many more there are."""
    more = len(paths) - NAMES_SHOWN
    shown = ", ".join(write(path or ROOT) for path in paths[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


# Formats.


def text(change: Change, width: int, ascii_only: bool = False) -> Group:
    """For terminals and pipes, `width` cells wide."""
    header = Grid.grid(padding=(0, GAP, 0, 0))
    header.add_column(no_wrap=True)
    header.add_column(overflow="fold")
    for fact in facts(change):
        style = STYLES[fact.alarm]
        header.add_row(Text(fact.label, style=style or "dim"), Text(fact.value, style=style))
    totals = blank(ascii_only)
    room = 5 if width >= TOTALS_WIDE else 3
    for number, name in enumerate(("", "before", "after", "change", "")[:room]):
        totals.add_column(name, justify="right" if number else "left", no_wrap=True)
    for shown in total_rows(compare(change.base, change.head)):
        totals.add_row(*shown[:room])
    parts: list[RenderableType] = [Text(heading(change), style="bold"), header, Text(), totals, Text()]
    parts.append(layers(change, width, ascii_only) if change.layers else Text("no layer was replaced"))
    for reason, paths in reasons(change).items():
        parts.append(Text(f"left, {visible(reason)} ({len(paths)}): {named(paths, visible)}", style="dim"))
    return Group(*parts)


def layers(change: Change, width: int, ascii_only: bool) -> Grid:
    """The table of layers, with the costs that find room."""
    names, *others = columns(change)
    longest = max(map(cell_len, names.cells))
    for given_up in range(len(SACRIFICES) + 1):
        kept = [column for column in others if column.key not in SACRIFICES[:given_up]]
        heads = [column.title.replace(" ", "\n") for column in kept]
        taken = sum(max(map(cell_len, [*t.split("\n"), *c.cells])) + GAP for t, c in zip(heads, kept, strict=True))
        if width - taken >= min(longest, NAME_MOST):
            break
    name_width = max(min(longest, width - taken), NAME_LEAST)
    grid = blank(ascii_only, footer=True)
    for column, head in zip([names, *kept], ["module", *heads], strict=True):
        justify: JustifyMethod = "left" if column is names else "right"
        grid.add_column(head, column.cells[-1], justify=justify, no_wrap=True, vertical="bottom")
    for name, *cells in zip(*(column.cells[:-1] for column in (names, *kept)), strict=True):
        grid.add_row(Text(shortened(name, name_width, True, ascii_only)), *cells)
    return grid


def markdown(change: Change) -> str:
    """For issues and pull requests: a heading, a list, and two tables."""
    result = [
        f"### {markdown_code(heading(change))}",
        "",
        *(f"- {fact.label}: {markdown_text(fact.value)}" for fact in facts(change)),
        "",
        row(["total", "before", "after", "change", ""]),
        row(["---", "---:", "---:", "---:", "---:"]),
        *map(row, total_rows(compare(change.base, change.head))),
    ]
    if change.layers:
        names, *others = columns(change)
        written = [*map(markdown_code, names.cells[:-2]), *names.cells[-2:]]
        *body, sums = zip(written, *(column.cells for column in others), strict=True)
        result += ["", row(["module", *(column.title for column in others)]), row(["---", *("---:" for _ in others)])]
        result += [*map(row, body), row(f"**{cell}**" if cell else "" for cell in sums)]
    left = reasons(change).items()
    result += ["", *(f"- left, {markdown_text(why)} ({len(p)}): {named(p, markdown_code)}" for why, p in left)]
    return "\n".join([*result, ""])


def document(change: Change) -> str:
    """Everything, exact; schema version 1 (docs/rewriting.md)."""
    keys = (*COST_KEYS, "bytes_accessed")

    def beside(base: Cost, head: Cost) -> dict[str, Any]:
        return {key: {"base": getattr(base, key), "head": getattr(head, key)} for key in keys}

    base, head = change.base, change.head
    content = {
        "schema_version": SCHEMA_VERSION,
        "costlab": base.costlab,
        "torch": base.torch,
        "rule": change.rule,
        "model": {"name": base.name, "provider": base.provider, "arguments": jsonable(base.arguments)},
        "inputs": [i._asdict() for i in base.trace.inputs],
        "output_error": change.output_error,
        "compared_on": change.compared_on or None,
        "total": {
            **beside(base.total, head.total),
            "peak_activation_bytes": {
                "base": base.total.peak_activation_bytes,
                "head": head.total.peak_activation_bytes,
            },
        },
        "layers": [
            {
                "path": layer.path,
                "rank": layer.rank,
                "full_rank": layer.full_rank,
                "weight_error": layer.weight_error,
                **beside(*change.costs[layer.path]),
            }
            for layer in change.layers
        ],
        "left": [{"path": left.path, "reason": left.reason} for left in change.left],
    }
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json_lines(value)}" for key, value in content.items()) + "\n}\n"
