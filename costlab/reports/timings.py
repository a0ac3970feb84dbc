"""Measured times for terminals and notebooks: the whole, its parts, and the overhead between them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from costlab.core.cost import FAMILY_OF
from costlab.core.profile import cut
from costlab.formatting import units
from costlab.formatting.escaping import html_text
from costlab.formatting.facts import Fact, title
from costlab.formatting.module_paths import ROOT
from costlab.formatting.notebook import render
from costlab.formatting.page import Page
from costlab.formatting.table import Column, Table
from costlab.measurement.result import Kernel, Measurement
from costlab.reports.header import inputs
from costlab.reports.profile_table import fitting_depth

COUNTED = re.compile(r"_\d+$")  # the number that makes the name of an operator unique
ROWS = 20  # shown by default
NOISY = 0.1  # IQR over median above which a reader is warned
NAMES_SHOWN = 4
MANY_FAULTS = 500  # pages of 4 KB: up to a millisecond
KEEPS_MEMORY = "MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000"
PAGE_STYLE = "<style>:root {color-scheme: light dark; font: 14px sans-serif} body {margin: 2em}</style>"
MODES = {"train": "train, one forward pass", "step": "training step: forward, backward and {}, learning rate 0"}
BUSY = 0.8  # share of the whole below which a device waits for the host
UNATTRIBUTED = "none"
CONTRACTIONS = ("convolution", "matmul", "attention", "linear_algebra", "recurrent", "quantised", "fourier")


class TimedRow(NamedTuple):
    """Operators that share a row of the table."""

    name: str
    ops: int
    seconds: float  # on the device
    host: float = 0.0  # seconds of the CPU, if the device works on its own


class KernelRow(NamedTuple):
    """Kernels of the same name."""

    name: str
    runs: int
    seconds: float
    kinds: Sequence[str]  # of the operators that launch it, or that it replaces


def rows_by(measurement: Measurement, by: str) -> list[TimedRow]:
    """The operators that were timed, by kind, by module or one by one, the most expensive first."""
    groups: dict[str, list[TimedRow]] = {}
    depth = fitting_depth({op.rpartition("/")[0] for op in measurement.ops})
    for op in {**measurement.ops, **measurement.host}:
        module, _, kind = op.rpartition("/")
        name = {"kind": COUNTED.sub("", kind), "module": cut(module, depth) or ROOT, "op": op}[by]
        times = (timings[op].median if op in timings else 0.0 for timings in (measurement.ops, measurement.host))
        groups.setdefault(name, []).append(TimedRow(name, 1, *times))
    return sorted((together(name, group) for name, group in groups.items()), key=lambda row: -row.seconds)


def together(name: str, group: Iterable[TimedRow]) -> TimedRow:
    """One row for several."""
    rows = list(group)
    return TimedRow(name, sum(r.ops for r in rows), sum(r.seconds for r in rows), sum(r.host for r in rows))


def kernel_rows(measurement: Measurement) -> list[KernelRow]:
    """The kernels of a pass by name, the most expensive first."""
    groups: dict[str, list[Kernel]] = {}
    for kernel in measurement.activity.kernels if measurement.activity else ():
        groups.setdefault(kernel.name, []).append(kernel)
    rows = []
    for name, kernels in groups.items():
        kinds = [kind for kernel in kernels for kind in (kernel.fused or [kind_of(kernel.op)])]
        rows.append(KernelRow(name, len(kernels), sum(kernel.seconds for kernel in kernels), [*dict.fromkeys(kinds)]))
    return sorted(rows, key=lambda row: -row.seconds)


def kind_of(op: str | None) -> str:
    """The kind in the name of an operator; a placeholder where there is none."""
    return UNATTRIBUTED if op is None else COUNTED.sub("", op.rpartition("/")[2])


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
        *([Fact("mode", MODES[measurement.mode].format(measurement.optimizer))] if measurement.mode in MODES else []),
        device,
        Fact("dtype", ", ".join([measurement.dtype, *(option for option, on in options.items() if on)])),
        versions,
        Fact("whole", f"{units.seconds(whole.median)} (median of {repeats}, IQR {spread})"),
    ]
    if noisy:
        result.append(Fact("NOISY", "wide spread: another process is using this machine", "estimate"))
    result += device_facts(measurement)
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
    result += memory_facts(measurement)
    if measurement.interrupted:
        result.append(Fact("INTERRUPTED", "fewer repeats than asked for", "estimate"))
    return result


def memory_facts(measurement: Measurement) -> Iterator[Fact]:
    """The measured peak beside the predicted one."""
    peak = measurement.peak_bytes
    if peak and peak.measured is not None:
        yield Fact("memory", f"{units.size(peak.measured)} at the peak; {units.size(peak.predicted)} predicted")
    if (measurement.page_faults or 0) >= MANY_FAULTS:
        words = f"{measurement.page_faults:,} a run, 1 to 2 us each: memory goes back to the system and returns"
        yield Fact("page faults", f"{words}; jemalloc keeps it, or with glibc {KEEPS_MEMORY}", "estimate")


def device_facts(measurement: Measurement) -> Iterator[Fact]:
    """How busy the device is, and what its idle time could be worth."""
    activity, share, whole = measurement.activity, measurement.busy_share, measurement.whole.median
    if activity is None or activity.busy is None or share is None:
        return
    bound = "launch-bound: it waits for the CPU to launch kernels" if share < BUSY else "not launch-bound"
    yield Fact("busy", f"{units.seconds(activity.busy.median)} ({units.percent(share)} of the whole; {bound})")
    saving = f"{units.seconds(whole * (1 - share))} ({units.percent(1 - share)})"
    at_most = f"CUDA graphs could save {saving}"
    kept = contraction_seconds(measurement)
    if kept is not None:
        more = f"{units.seconds(max(whole - kept, 0.0))} ({units.percent(max(1 - kept / whole, 0.0))})"
        at_most += f", torch.compile {more}: everything but contractions"
    yield Fact("at most", at_most)
    if activity.unattributed_seconds:
        yield Fact("no operator", f"{units.seconds(activity.unattributed_seconds)} of kernels launched by none")


def contraction_seconds(measurement: Measurement) -> float | None:
    """Device time of the operators that no fusion removes; None without the times of operators."""
    if not measurement.ops:
        return None
    return sum(t.median for op, t in measurement.ops.items() if FAMILY_OF.get(kind_of(op)) in CONTRACTIONS)


def page(measurement: Measurement, by: str, top: int | None) -> Page:
    """The header, and the rows of one table; `top` None shows every row."""
    shown = table_by(measurement, by, top)
    return Page(title(measurement), facts(measurement), [shown] if shown else [])


def operators_and_kernels(measurement: Measurement, top: int | None) -> Page:
    """The header, and below it the operators and the kernels, as far as there are any."""
    shown = [table_by(measurement, by, top) for by in (["op"] if measurement.ops else []) + ["kernel"]]
    return Page(title(measurement), facts(measurement), [table for table in shown if table])


@render.register
def html(measurement: Measurement) -> str:
    """For notebooks: the most expensive operators, and the most expensive kernels of a GPU."""
    return operators_and_kernels(measurement, ROWS).html()


def document(measurement: Measurement) -> str:
    """A page of its own, with every operator and every kernel."""
    head = f'<meta charset="utf-8">\n<title>{html_text(title(measurement))}</title>\n{PAGE_STYLE}'
    return f'<!doctype html>\n<html lang="en">\n{head}\n{operators_and_kernels(measurement, None).html()}\n</html>\n'


def table_by(measurement: Measurement, by: str, top: int | None) -> Table | None:
    """The table of kernels, or that of operators by kind, module or operator; kernels if only they are known.

    None if nothing was timed apart.
    """
    if by == "kernel" or not measurement.ops:
        kernels = measurement.activity.kernels if measurement.activity else ()
        return kernel_table(measurement, top) if kernels else None
    return table(measurement, by, top)


def table(measurement: Measurement, by: str, top: int | None) -> Table:
    """A row a name, and the rest as one; columns sum to the parts, shares are of the whole."""
    rows = rows_by(measurement, by)
    rest = rows[top:] if top is not None else []
    if rest:
        rows = [*rows[:top], together(f"{len(rest)} others", rest)]
    total, whole = together("total", rows), measurement.whole.median
    host = [Column("host", [units.seconds(row.host) for row in rows], total=units.seconds(total.host))]
    return Table(
        [
            Column(by, [row.name for row in rows], (), "total", left=True, fit="start" if by == "kind" else "end"),
            Column("ops", [str(row.ops) for row in rows], total=str(total.ops)),
            Column(
                "device" if measurement.host else "measured",
                [units.seconds(row.seconds) for row in rows],
                total=units.seconds(total.seconds),
            ),
            *(host if measurement.host else ()),
            Column("share", [share_of(row.seconds, whole) for row in rows], total=share_of(total.seconds, whole)),
        ],
        rest=int(bool(rest)),
    )


def kernel_table(measurement: Measurement, top: int | None) -> Table:
    """A row for each name of a kernel, and the rest as one; columns sum to the device's busy time."""
    rows = kernel_rows(measurement)
    rest = rows[top:] if top is not None else []
    if rest:
        runs, seconds = sum(row.runs for row in rest), sum(row.seconds for row in rest)
        rows = [*rows[:top], KernelRow(f"{len(rest)} others", runs, seconds, ())]
    whole, total = measurement.whole.median, sum(row.seconds for row in rows)
    return Table(
        [
            Column("kernel", [row.name for row in rows], (), "total", left=True, fit="start", least=24),
            Column("runs", [str(row.runs) for row in rows], total=str(sum(row.runs for row in rows))),
            Column("device", [units.seconds(row.seconds) for row in rows], total=units.seconds(total)),
            Column("share", [share_of(row.seconds, whole) for row in rows], total=share_of(total, whole)),
            Column("operators", [", ".join(row.kinds) for row in rows], left=True, fit="start", least=10, drop=1),
        ],
        rest=int(bool(rest)),
    )


def share_of(seconds: float, whole: float) -> str:
    """As a share of the whole network's time."""
    return units.percent(seconds / whole if whole else None)


def machine(device: str, threads: int, environment: Mapping[str, Any], software: Sequence[str]) -> list[Fact]:
    """The hardware and the versions of the software that something was measured with."""
    processor = environment.get("gpu") or environment.get("cpu")
    hardware = [device, *([str(processor)] if processor else []), many(threads, "thread")]
    versions = [f"{name} {environment[name]}" for name in software if environment.get(name)]
    return [Fact("device", ", ".join(hardware)), Fact("versions", ", ".join(versions))]


def many(count: int, noun: str) -> str:
    """`1 thread`, `1,000 threads`."""
    return f"{units.exact(count)} {noun}{'' if count == 1 else 's'}"
