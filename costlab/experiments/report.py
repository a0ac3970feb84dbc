"""The report of an experiment for terminals and pages: one row for each network, the paper's numbers, conclusions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Group
from rich.text import Text

from costlab.core.correlation import rank_correlation
from costlab.experiments.designs import WIDTHS, rows_of
from costlab.experiments.results import Cell, Record
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import markdown_text, visible
from costlab.formatting.facts import Fact
from costlab.formatting.table import Column, Table
from costlab.reports.timings import NOISY, machine, many

GUIDELINES = ("g1", "g2", "g3", "g4")


def inverse(value: float | None) -> float | None:
    """1 / value; None without a value."""
    return 1 / value if value else None


def channels(record: Record, cell: Cell) -> str:
    """`128:128`."""
    return ":".join(str(cell.arguments[key]) for key in ("c1", "c2", "c") if key in cell.arguments)


# Title, experiments that have it (guidelines, kernel, networks), when a narrow terminal drops it (0: never), and cell.
COLUMNS: tuple[tuple[str, str, int, Callable[[Record, Cell], str]], ...] = (
    ("channels", "g", 3, channels),
    ("mult-adds", "gkn", 7, lambda _, cell: units.short(cell.mult_adds)),
    ("memory\naccess", "gkn", 5, lambda _, cell: units.short(cell.memory_access)),
    ("measured", "gkn", 9, lambda _, cell: units.seconds(cell.seconds)),
    ("IQR", "gkn", 6, lambda _, cell: units.percent(cell.measured.iqr / cell.seconds)),
    ("batches/s", "gkn", 8, lambda _, cell: units.rate(cell.speed)),
    ("predicted", "gkn", 4, lambda _, cell: units.seconds(cell.predicted_seconds)),
    ("relative", "g", 0, lambda record, cell: units.factor(record.relative(cell))),
    ("predicted\nrelative", "g", 0, lambda record, cell: units.factor(record.predicted_relative(cell))),
    ("paper's\nGPU", "g", 0, lambda record, cell: units.factor(record.paper_relative(cell, "gpu"))),
    ("paper's\nARM", "g", 0, lambda record, cell: units.factor(record.paper_relative(cell, "arm"))),
    ("time", "k", 0, lambda record, cell: units.factor(inverse(record.relative(cell)))),
    ("predicted\ntime", "k", 0, lambda record, cell: units.factor(inverse(record.predicted_relative(cell)))),
    ("mult-adds\ntimes", "k", 0, lambda record, cell: units.factor(cell.mult_adds / record.first(cell).mult_adds)),
    ("paper's GPU\nbatches/s", "gn", 1, lambda _, cell: units.rate(cell.paper.get("gpu"))),
    ("paper's ARM\nimages/s", "gn", 2, lambda _, cell: units.rate(cell.paper.get("arm"))),
)


def facts(record: Record) -> list[Fact]:
    """What ran, where, and how often."""
    result = [
        Fact("networks", record.experiment.network),
        *machine(record.device, record.threads, record.environment, ("torch", "cuda", "cudnn", "costlab")),
        Fact("date", record.date),
        Fact("batch", units.exact(record.batch)),
        Fact("times", f"medians of {many(record.rounds, 'round')}; every network takes a turn in each"),
    ]
    if record.name != "networks":
        result.insert(1, Fact("channels", f"those of the paper for its {WIDTHS[record.widths]}"))
    if record.predicted_for:
        result.append(Fact("predicted", f"for {record.predicted_for}"))
    noisy = [cell for cell in record.cells if cell.measured.iqr > NOISY * cell.seconds]
    if noisy:
        spread = f"{len(noisy)} of {len(record.cells)} times vary widely: another process is using this machine"
        result.append(Fact("NOISY", spread, "estimate"))
    if record.interrupted:
        result.append(Fact("INTERRUPTED", "fewer rounds than asked for", "estimate"))
    return result


def conclusions(record: Record) -> list[str]:
    """What the numbers show, in sentences."""
    if record.name in GUIDELINES:
        return [guideline_sentence(record)]
    if record.name == "kernel":
        return [kernel_sentence(record, name) for name in record.columns]
    return list(network_sentences(record))


def guideline_sentence(record: Record) -> str:
    """`G1 holds at x1 and is open at x2. Speed of 1:12 over 1:1 at x1 and x2: 0.88 and 0.98 here; ...`."""
    first, *_, last = record.column(record.columns[0])
    lasts = [record.column(name)[-1] for name in record.columns]
    speeds: dict[str, list[float | None]] = {
        "here": [record.relative(cell) for cell in lasts],
        "predicted": [record.predicted_relative(cell) for cell in lasts] if record.predicted_for else [],
        **{
            f"in the paper ({words})": [record.paper_relative(cell, machine) for cell in lasts]
            for machine, words in WIDTHS.items()
        },
    }
    numbers = "; ".join(f"{listed(map(units.factor, values))} {where}" for where, values in speeds.items() if values)
    return (
        f"{record.name.upper()} {verdicts(record)}. "
        f"Speed of {last.row} over {first.row} at {listed(record.columns)}: {numbers}."
    )


def verdicts(record: Record) -> str:
    """`holds at x1 and is open at x2`."""
    found = sorted((record.verdict(name) or "", name) for name in record.columns)
    return listed(
        f"{'is ' if verdict != 'holds' else ''}{verdict} at {listed(name for _, name in group)}"
        for verdict, group in groupby(found, key=lambda pair: pair[0])
    )


def kernel_sentence(record: Record, name: str) -> str:
    """`Dense: 3x3 takes 8.63 times as long as 1x1 (mult-adds: 9.00 times), 5x5 21.7 times (25.0), ...`."""
    first, *others = record.column(name)
    times = [units.factor(inverse(record.relative(cell))) for cell in others]
    work = [units.factor(cell.mult_adds / first.mult_adds) for cell in others]
    parts = [f"{cell.row} {t} times ({w})" for cell, t, w in zip(others[1:], times[1:], work[1:], strict=True)]
    start = f"{others[0].row} takes {times[0]} times as long as {first.row} (mult-adds: {work[0]} times)"
    return f"{name.capitalize()}: {', '.join([start, *parts])}."


def network_sentences(record: Record) -> Iterator[str]:
    """Rank correlations here and in the paper."""
    found = record.rank_correlations()
    names = {"mult_adds": "mult-adds", "memory_access": "memory access", "predicted_seconds": "prediction"}
    names |= {machine: f"time in the paper ({words})" for machine, words in WIDTHS.items()}
    parts = [f"{names[key]} {units.factor(value)}" for key, value in found.items() if value is not None]
    yield f"Rank correlation with measured time over {len(record.cells)} networks: {listed(parts)}."
    everything = rows_of("networks")
    ours = {cell.row for cell in record.cells}
    chosen = [entry for entry in everything if entry["name"] in ours]
    parts = [
        f"{published_correlations(rows)} over {what}" for rows, what in ((chosen, "these"), (everything, "all 37"))
    ]
    yield f"In the paper, of mult-adds with time: {'; '.join(parts)}."


def published_correlations(rows: Sequence[dict[str, object]]) -> str:
    """Of printed mult-adds with printed times: `0.74 (GPU) and 0.95 (ARM)`."""

    def of(machine: str) -> float | None:
        return rank_correlation([r["mult_adds"] for r in rows], [-r[machine][0] for r in rows])  # type: ignore

    return listed(f"{units.factor(of(machine))} ({words})" for machine, words in WIDTHS.items())


def notes(record: Record) -> list[str]:
    """The rows of Table 8 that are not measured."""
    if record.name != "networks":
        return []
    rows = rows_of("networks")
    same = [r["name"] for r in rows if "same" in r]
    missing = [r["name"] for r in rows if "zoo" not in r and "same" not in r]
    return [
        f"The zoo builds {len(rows) - len(missing)} of the {len(rows)} timed rows of Table 8; {listed(same)} are"
        f" retrained versions of other rows. It does not build {listed(missing)}."
    ]


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def text(record: Record, width: int, ascii_only: bool = False) -> Group:
    """For terminals and pipes, `width` cells wide if that is 40 or more."""
    sentences = [Text(visible(sentence)) for sentence in (*conclusions(record), *notes(record))]
    shown = tables.text(table(record), width, ascii_only)
    return Group(Text(heading(record), style="bold"), header.text(facts(record)), Text(), shown, Text(), *sentences)


def markdown(record: Record, level: int = 3) -> str:
    """The report as Markdown, below a heading with `level` hashes."""
    lines = [f"{'#' * level} {markdown_text(heading(record))}", "", markdown_text(record.experiment.claim), ""]
    lines += [*header.markdown(facts(record)), "", tables.markdown(table(record)), ""]
    return "\n".join([*lines, *(f"{markdown_text(each)}\n" for each in (*conclusions(record), *notes(record)))])


def heading(record: Record) -> str:
    """The title of an experiment's report."""
    return f"{record.experiment.title} (ShuffleNet V2, {record.experiment.source})"


def table(record: Record) -> Table:
    """One row for each network, one section for each column of the paper's table."""
    cells = record.cells
    columns = [
        Column(title, [write(record, cell) for cell in cells], drop=drop)
        for title, experiments, drop, write in COLUMNS
        if record.name[0] in experiments and (record.predicted_for or not title.startswith("predicted"))
    ]
    networks = Column("network", [cell.row for cell in cells], left=True)
    if not any(record.columns):
        return Table([networks, *columns])
    starts = [n for n, cell in enumerate(cells) if not n or cell.column != cells[n - 1].column]
    return Table([Column("at", [cell.column for cell in cells], left=True), networks, *columns], sections=starts)
