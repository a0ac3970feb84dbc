"""A check as text, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from costlab.core.serialization import SCHEMA_VERSION, json_lines, jsonable
from costlab.crosscheck.conventions import Printed
from costlab.crosscheck.counting import Check, Difference
from costlab.crosscheck.explanations import FAILED, UNEXPLAINED
from costlab.formatting import units
from costlab.formatting.escaping import markdown_code, markdown_text, visible
from costlab.formatting.grids import GAP, blank
from costlab.reports.header import Fact, coverage, inputs, title
from costlab.reports.markdown import row
from costlab.reports.text import STYLES

COUNTERS = {"fvcore": "FlopCountAnalysis", "torch": "FlopCounterMode, its FLOPs halved"}


def facts(check: Check, printed: Printed | None) -> list[Fact]:
    """What stands above the numbers: the network, the tools, and what limits the comparison."""
    profile = check.profile
    lines = [*inputs(profile), *(fact for fact in coverage(profile) if fact.alarm)]
    for reading in check.readings:
        lines.append(Fact(reading.tool, f"{reading.version}, {COUNTERS[reading.tool]}"))
        if reading.note:
            lines.append(Fact("", visible(reading.note)))
    if printed:
        stops = f"; it stops with an error at {visible(printed.stops_at)}" if printed.stops_at else ""
        lines.append(Fact(f"{printed.tool} rules", f"what {printed.tool} would print{stops}"))
    if check.unconfirmed:
        unseen = ", ".join(f"{visible(kind)} {units.short(count)}" for kind, count in check.unconfirmed.items())
        lines.append(Fact("unconfirmed", f"no tool counts {unseen}", "estimate"))
    return lines


def verdict(check: Check) -> str:
    """One line: how it ended."""
    ran = [r.tool for r in check.readings if r.failure is None]
    if check.unexplained:
        count = len(check.unexplained)
        return f"{count} difference{'s' if count > 1 else ''} without an explanation"
    if not ran:
        return "nothing was checked: no other counter ran"
    explained = sum(d.cause != FAILED for d in check.differences)
    what = f"{explained} difference{'s' if explained != 1 else ''}, explained" if explained else "no difference"
    failed = "".join(f"; {d.tool} did not run" for d in check.differences if d.cause == FAILED)
    return f"{what} ({' and '.join(ran)}){failed}"


def numbers(
    check: Check, printed: Printed | None, write: Callable[[int], str]
) -> tuple[list[str], list[list[str]], list[str]]:
    """Titles, one row a family, and totals: costlab's mult-adds, each tool's numbers, and what a convention gives."""
    families = check.families()
    columns: dict[str, Mapping[str, int]] = {"costlab": {f: counts["costlab"] for f, counts in families.items()}}
    totals: list[int | None] = [check.profile.mult_adds]
    for reading in check.readings:
        if reading.failure is None:
            columns[reading.tool] = {f: counts[reading.tool] for f, counts in families.items()}
            totals.append(reading.total)
    if printed:
        columns[f"{printed.tool} rules"] = printed.families
        totals.append(printed.total)
    named = list(dict.fromkeys([*families, *(printed.families if printed else ())]))
    body = [[f, *(write(column.get(f, 0)) for column in columns.values())] for f in named]
    return ["family", *columns], body, ["total", *(units.UNKNOWN if t is None else write(t) for t in totals)]


def place(difference: Difference) -> str:
    """Which operators: `batch_norm x52`, a family, or everything."""
    what = difference.kind or difference.family or "everything"
    return visible(f"{what} x{difference.ops}" if difference.ops else what)


def gap(difference: Difference) -> str:
    """How much more the tool counts, with its sign."""
    if difference.counted is None:
        return units.UNKNOWN
    more = difference.counted - difference.mult_adds
    return f"{'+' if more > 0 else '-' if more < 0 else ''}{units.short(abs(more))}"


def reason(difference: Difference) -> str:
    return f"{difference.cause}: {visible(difference.why)}"


# Formats.


def text(check: Check, printed: Printed | None, width: int, ascii_only: bool = False) -> Group:
    """For terminals and pipes, `width` cells wide. Every digit is shown where there is room for it."""
    header = Grid.grid(padding=(0, GAP, 0, 0))
    header.add_column(no_wrap=True)
    header.add_column(overflow="fold")
    for fact in facts(check, printed):
        style = STYLES[fact.alarm]
        header.add_row(Text(fact.label, style=style or "dim"), Text(fact.value, style=style))
    titles, body, totals = numbers(check, printed, units.exact)
    if table_width([titles, *body, totals]) > width:
        titles, body, totals = numbers(check, printed, units.short)
    grid = blank(ascii_only, footer=True)
    for number, (name, total) in enumerate(zip(titles, totals, strict=True)):
        grid.add_column(Text(name), Text(total), justify="right" if number else "left", overflow="fold")
    for cells in body:
        grid.add_row(*map(Text, cells))
    parts: list[RenderableType] = [Text(title(check.profile), style="bold"), header, Text(), grid]
    if check.differences:
        parts += [Text(), why_grid(check.differences, ascii_only)]
    return Group(*parts)


def why_grid(differences: Iterable[Difference], ascii_only: bool) -> Grid:
    grid = blank(ascii_only)
    grid.add_column("tool", no_wrap=True)
    grid.add_column("counts differently", overflow="fold")
    grid.add_column("by", justify="right", no_wrap=True)
    grid.add_column("because", overflow="fold")
    for d in differences:
        style = {UNEXPLAINED: "bold red", FAILED: "yellow"}.get(d.cause, "")
        grid.add_row(*(Text(cell, style=style) for cell in (d.tool, place(d), gap(d), reason(d))))
    return grid


def table_width(rows: Sequence[Sequence[str]]) -> int:
    """Cells that a table needs to show every word."""
    columns = list(zip(*rows, strict=True))
    return sum(max(map(len, column)) for column in columns) + GAP * (len(columns) - 1)


def markdown(check: Check, printed: Printed | None) -> str:
    """For issues and pull requests: a heading, a list, and two tables."""
    titles, body, totals = numbers(check, printed, units.exact)
    lines = [
        f"### {markdown_text(title(check.profile))}",
        "",
        *(f"- {fact.label}: {markdown_text(fact.value)}".replace("- :", "-") for fact in facts(check, printed)),
        "",
        row(titles),
        row(["---", *("---:" for _ in titles[1:])]),
        *(row([markdown_code(cells[0]), *cells[1:]]) for cells in body),
        row(f"**{total}**" for total in totals),
    ]
    if check.differences:
        lines += ["", row(["tool", "counts differently", "by", "because"]), row(["---", "---", "---:", "---"])]
        lines += [row([d.tool, markdown_code(place(d)), gap(d), markdown_text(reason(d))]) for d in check.differences]
    return "\n".join([*lines, "", f"{markdown_text(verdict(check))}", ""])


def to_json(check: Check, printed: Printed | None) -> str:
    """Everything, exact; schema version 1 (docs/conventions.md)."""
    profile = check.profile
    document = {
        "schema_version": SCHEMA_VERSION,
        "costlab": profile.costlab,
        "torch": profile.torch,
        "model": {"name": profile.name, "provider": profile.provider, "arguments": jsonable(profile.arguments)},
        "inputs": [i._asdict() for i in profile.trace.inputs],
        "mult_adds": profile.mult_adds,
        "tools": [
            {
                "tool": r.tool,
                "version": r.version,
                "total": r.total if r.failure is None else None,
                "failure": r.failure,
                "note": r.note,
            }
            for r in check.readings
        ],
        "families": [
            {"family": family, **counts, **({"convention": printed.families.get(family, 0)} if printed else {})}
            for family, counts in check.families().items()
        ],
        "convention": printed
        and {"tool": printed.tool, "total": printed.total, "families": printed.families, "stops_at": printed.stops_at},
        "differences": [
            {
                "tool": d.tool,
                "family": d.family or None,
                "kind": d.kind or None,
                "ops": d.ops,
                "mult_adds": d.mult_adds,
                "counted": d.counted,
                "difference": None if d.counted is None else d.counted - d.mult_adds,
                "cause": d.cause,
                "why": d.why,
            }
            for d in check.differences
        ],
        "unconfirmed": check.unconfirmed,
        "explained": not check.unexplained,
    }
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json_lines(value)}" for key, value in document.items()) + "\n}\n"
