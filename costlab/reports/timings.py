"""Measured times for terminals and notebooks: the whole, its parts, and the overhead between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.profile import cut
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.facts import Fact, title
from costlab.formatting.module_paths import ROOT
from costlab.formatting.notebook import page, render
from costlab.formatting.table import Column, Table
from costlab.measurement.result import Measurement
from costlab.reports.header import inputs
from costlab.reports.profile_table import fitting_depth

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

COUNTED = re.compile(r"_\d+$")  # the number that makes the name of an operator unique
ROWS = 20  # shown by default
NOISY = 0.1  # IQR over median above which a reader is warned
NAMES_SHOWN = 4


class TimedRow(NamedTuple):
    """Operators that share a row of the table."""

    name: str
    ops: int
    seconds: float


def rows_by(measurement: Measurement, by: str) -> list[TimedRow]:
    """The operators that were timed, by kind, by module or one by one, the most expensive first."""
    groups: dict[str, list[TimedRow]] = {}
    depth = fitting_depth({op.rpartition("/")[0] for op in measurement.ops})
    for op, timing in measurement.ops.items():
        module, _, kind = op.rpartition("/")
        name = {"kind": COUNTED.sub("", kind), "module": cut(module, depth) or ROOT, "op": op}[by]
        groups.setdefault(name, []).append(TimedRow(name, 1, timing.median))
    return sorted((together(name, group) for name, group in groups.items()), key=lambda row: -row.seconds)


def together(name: str, group: Iterable[TimedRow]) -> TimedRow:
    """One row for several."""
    rows = list(group)
    return TimedRow(name, sum(row.ops for row in rows), sum(row.seconds for row in rows))


def facts(measurement: Measurement) -> list[Fact]:
    """The header, line by line: what ran where, and how long it took."""
    whole = measurement.whole
    options = {
        "autocast": measurement.amp,
        "channels last": measurement.channels_last,
        "compiled": measurement.compiled,
    }
    device, versions = machine(
        measurement.device, measurement.threads, measurement.environment, ("torch", "cuda", "costlab")
    )
    repeats = many(len(whole.seconds), "repeat")
    spread = units.percent(whole.iqr / whole.median if whole.median else None)
    noisy = whole.iqr > NOISY * whole.median
    result = [
        *inputs(measurement.inputs),
        device,
        Fact("dtype", ", ".join([measurement.dtype, *(option for option, on in options.items() if on)])),
        versions,
        Fact("whole", f"{units.seconds(whole.median)} (median of {repeats}, IQR {spread})"),
    ]
    if noisy:
        result.append(Fact("NOISY", "wide spread: another process is using this machine", "estimate"))
    if measurement.parts_seconds is not None and measurement.overhead_seconds is not None:
        parts, overhead = measurement.parts_seconds, measurement.overhead_seconds
        shares = [units.percent(part / whole.median if whole.median else None) for part in (parts, overhead)]
        number = many(len(measurement.ops), "operator")
        result.append(Fact("parts", f"{units.seconds(parts)} ({shares[0]} of the whole, {number})"))
        result.append(
            Fact("overhead", f"{units.seconds(overhead)} ({shares[1]}: Python, views and gaps between operators)")
        )
    if measurement.ops and measurement.left_out:
        named = ", ".join(measurement.left_out[:NAMES_SHOWN])
        more = len(measurement.left_out) - NAMES_SHOWN
        result.append(Fact("NOT TIMED", f"{named}{f' and {more} more' if more > 0 else ''}", "estimate"))
    if measurement.compiled:
        result.append(Fact("operators", "not timed: torch.compile replaces them"))
    if measurement.interrupted:
        result.append(Fact("INTERRUPTED", "fewer repeats than asked for", "estimate"))
    return result


def text(measurement: Measurement, by: str, top: int | None, width: int, ascii_only: bool = False) -> Group:
    """For terminals and pipes, `width` cells wide if that is 40 or more; `top` None shows every row."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(title(measurement), style="bold"), header.text(facts(measurement))]
    if measurement.ops:
        parts += [Text(), tables.text(table(measurement, by, top), width, ascii_only)]
    return Group(*parts)


@render.register
def html(measurement: Measurement) -> str:
    """For notebooks: the most expensive operators."""
    shown = tables.html(table(measurement, "op", ROWS)) if measurement.ops else ""
    return page(title(measurement), header.html(facts(measurement)), shown)


def table(measurement: Measurement, by: str, top: int | None) -> Table:
    """A row a name, and the rest as one; columns sum to the parts, shares are of the whole."""
    rows = rows_by(measurement, by)
    rest = rows[top:] if top is not None else []
    if rest:
        rows = [*rows[:top], together(f"{len(rest)} others", rest)]
    total, whole = together("total", rows), measurement.whole.median

    def share(row: TimedRow) -> str:
        return units.percent(row.seconds / whole if whole else None)

    return Table(
        [
            Column(by, [row.name for row in rows], (), "total", left=True, fit="start" if by == "kind" else "end"),
            Column("ops", [str(row.ops) for row in rows], total=str(total.ops)),
            Column("measured", [units.seconds(row.seconds) for row in rows], total=units.seconds(total.seconds)),
            Column("share", [share(row) for row in rows], total=share(total)),
        ],
        rest=int(bool(rest)),
    )


def machine(device: str, threads: int, environment: Mapping[str, Any], software: Sequence[str]) -> list[Fact]:
    """The hardware and the versions of the software that something was measured with."""
    processor = environment.get("gpu") or environment.get("cpu")
    hardware = [device, *([str(processor)] if processor else []), many(threads, "thread")]
    versions = [f"{name} {environment[name]}" for name in software if environment.get(name)]
    return [Fact("device", ", ".join(hardware)), Fact("versions", ", ".join(versions))]


def many(count: int, noun: str) -> str:
    """`1 thread`, `1,000 threads`."""
    return f"{units.exact(count)} {noun}{'' if count == 1 else 's'}"
