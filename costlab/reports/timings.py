"""What was measured, for terminals and notebooks: the whole, its parts, and the overhead between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from json import dumps
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from costlab.core.profile import cut
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.grids import GAP, blank
from costlab.formatting.notebook import render
from costlab.measurement.result import Measurement
from costlab.reports.columns import ROOT
from costlab.reports.header import Fact
from costlab.reports.notebook import STYLE
from costlab.reports.notebook import text as html
from costlab.reports.tables import ROWS as SCREENFUL
from costlab.reports.text import NAME_AT_ALL, STYLES, shortened

COUNTED = re.compile(r"_\d+$")  # what makes the name of an operator its own
NUMBERS = ("ops", "measured", "share")
ROWS = 20  # shown by default
NOISY = 0.1  # IQR over median, from which a reader is warned
INPUTS_SHOWN = 6
NAMES_SHOWN = 4


class Line(NamedTuple):
    """Some operators together: a row of the table."""

    name: str
    ops: int
    seconds: float


def lines(measurement: Measurement, by: str = "op") -> list[Line]:
    """The operators that were timed, by kind, module or one by one, dearest first."""
    groups: dict[str, list[Line]] = {}
    depth = default_depth(measurement.ops)
    for op, timing in measurement.ops.items():
        module, _, kind = op.rpartition("/")
        name = {"kind": COUNTED.sub("", kind), "module": cut(module, depth) or ROOT, "op": op}[by]
        groups.setdefault(name, []).append(Line(name, 1, timing.median))
    return sorted((together(name, group) for name, group in groups.items()), key=lambda line: -line.seconds)


def default_depth(ops: Iterable[str]) -> int:
    """The most names of a module path that leave no more rows than a screen has; at least 1."""
    paths = [op.rpartition("/")[0] for op in ops]
    deepest = max((path.count(".") + 1 for path in paths), default=1)
    fitting = (depth for depth in range(1, deepest + 1) if len({cut(path, depth) for path in paths}) <= SCREENFUL)
    return max(fitting, default=1)


def together(name: str, group: Iterable[Line]) -> Line:
    _, ops, seconds = zip(*group, strict=True)
    return Line(name, sum(ops), sum(seconds))


def kept(rows: list[Line], top: int | None) -> list[Line]:
    """The dearest rows, and all others as one."""
    if top is None or len(rows) <= top:
        return rows
    return [*rows[:top], together(f"{len(rows) - top} others", rows[top:])]


def title(measurement: Measurement) -> str:
    """`mobilenet_v2 (zoo, width=0.75)`."""
    given = (f"{key}={dumps(value, ensure_ascii=False)}" for key, value in measurement.arguments.items())
    return visible(f"{measurement.name} ({', '.join([measurement.provider, *given])})")


def facts(measurement: Measurement) -> list[Fact]:
    """The header, line by line: what ran where, and how long it took."""
    whole, around = measurement.whole, measurement.environment
    inputs = [f"{visible(i.name)} {units.shape(i.shape)} {i.dtype}" for i in measurement.inputs[:INPUTS_SHOWN]]
    processor = around.get("gpu") or around.get("cpu")
    device = [measurement.device, *([str(processor)] if processor else []), many(measurement.threads, "thread")]
    ways = {"autocast": measurement.amp, "channels last": measurement.channels_last, "compiled": measurement.compiled}
    versions = [f"{name} {around[name]}" for name in ("torch", "cuda", "costlab") if around.get(name)]
    repeats = many(len(whole.seconds), "repeat")
    spread = units.percent(whole.iqr / whole.median if whole.median else None)
    noisy = whole.iqr > NOISY * whole.median
    result = [
        *(Fact("input", line) for line in inputs or ["none"]),
        Fact("device", visible(", ".join(device))),
        Fact("dtype", ", ".join([visible(measurement.dtype), *(way for way, taken in ways.items() if taken)])),
        Fact("versions", visible(", ".join(versions))),
        Fact("whole", f"{units.seconds(whole.median)} (median of {repeats}, IQR {spread})"),
    ]
    if noisy:
        result.append(Fact("NOISY", "the spread is wide: something else is at work on this machine", "estimate"))
    if measurement.parts_seconds is not None and measurement.overhead_seconds is not None:
        parts, overhead = measurement.parts_seconds, measurement.overhead_seconds
        shares = [units.percent(part / whole.median if whole.median else None) for part in (parts, overhead)]
        number = many(len(measurement.ops), "operator")
        result.append(Fact("parts", f"{units.seconds(parts)} ({shares[0]} of the whole, {number})"))
        result.append(Fact("overhead", f"{units.seconds(overhead)} ({shares[1]}: Python, views, and the rest)"))
    if measurement.ops and measurement.left_out:
        named = ", ".join(measurement.left_out[:NAMES_SHOWN])
        more = len(measurement.left_out) - NAMES_SHOWN
        result.append(Fact("NOT TIMED", visible(f"{named}{f' and {more} more' if more > 0 else ''}"), "estimate"))
    if measurement.compiled:
        result.append(Fact("operators", "not timed: a compiled network has none of its own"))
    if measurement.interrupted:
        result.append(Fact("INTERRUPTED", "fewer repeats than asked for", "estimate"))
    return result


def report(measurement: Measurement, by: str, top: int | None, width: int, ascii_only: bool = False) -> Group:
    """The whole report, `width` cells wide where that is 40 or more; `top` None shows every row."""
    header = Grid.grid(padding=(0, GAP, 0, 0))
    header.add_column(no_wrap=True)
    header.add_column(overflow="fold")
    for fact in facts(measurement):
        style = STYLES[fact.alarm]
        header.add_row(Text(fact.label, style=style or "dim"), Text(fact.value, style=style))
    shown: list[RenderableType] = [Text(title(measurement), style="bold"), header]
    if measurement.ops:
        shown += [Text(), body(measurement, kept(lines(measurement, by), top), by, width, ascii_only)]
    return Group(*shown)


def body(measurement: Measurement, rows: Sequence[Line], by: str, width: int, ascii_only: bool) -> Grid:
    """A row a line, in columns that sum to the parts; the share is of the whole."""
    total = together("total", rows)
    cells = [(str(r.ops), units.seconds(r.seconds), units.percent(share(measurement, r))) for r in (*rows, total)]
    names = [visible(row.name) for row in (*rows, total)]
    taken = sum(
        max(map(cell_len, (head, *column))) + GAP
        for head, column in zip(NUMBERS, zip(*cells, strict=True), strict=True)
    )
    room = max(NAME_AT_ALL, min(max(map(cell_len, names)), width - taken))
    grid = blank(ascii_only, footer=True)
    grid.add_column(Text(by), Text("total"), no_wrap=True, width=room)
    for head, sum_of in zip(NUMBERS, cells[-1], strict=True):
        grid.add_column(Text(head), Text(sum_of), justify="right", no_wrap=True)
    for name, numbers in zip(names[:-1], cells[:-1], strict=True):
        grid.add_row(Text(shortened(name, room, by != "kind", ascii_only)), *map(Text, numbers))
    return grid


def many(count: int, noun: str) -> str:
    return f"{units.exact(count)} {noun}{'' if count == 1 else 's'}"


def share(measurement: Measurement, row: Line) -> float | None:
    return row.seconds / measurement.whole.median if measurement.whole.median else None


@render.register
def measurement_html(measurement: Measurement) -> str:
    """The header and the dearest operators."""
    head = "".join(
        f'<tr class="{f.alarm}"><td class="left quiet">{f.label}</td><td class="left">{html(f.value)}</td></tr>'
        for f in facts(measurement)
    )
    rows = kept(lines(measurement), ROWS)
    cells = "".join(
        f'<tr><td class="left">{html(row.name)}</td><td>{escape(units.seconds(row.seconds))}</td>'
        f"<td>{units.percent(share(measurement, row))}</td></tr>"
        for row in rows
    )
    titles = '<tr><th class="left">op</th><th>measured</th><th>share</th></tr>'
    table = f"<br><table><thead>{titles}</thead><tbody>{cells}</tbody></table>" if rows else ""
    return (
        f'<div class="costlab"><style>{STYLE}</style><strong>{html(title(measurement))}</strong>'
        f"<table>{head}</table>{table}</div>"
    )
