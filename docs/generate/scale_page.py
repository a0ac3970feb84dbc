"""docs/scale.md, from the results of tests/bench/sweeps.py: `python docs/generate/scale_page.py` regenerates it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costlab.formatting import units
from costlab.sweeps._sweep import CHUNK_SECONDS, CHUNKS_A_SECOND, LARGEST_CHUNK

DOCS = Path(__file__).parents[1]
PAGE, RESULTS = DOCS / "scale.md", DOCS.parent / "tests/data/scale.json"
NETWORKS = 10**8
CORES = (1, 100, 10_000)
ASKING = ("send", "take", "write")
TITLE, HUNDRED_MILLION, BREAKS = "# How far sweeps scale", "## A hundred million networks", "## Bottlenecks"


def page(found: Mapping[str, Any]) -> str:
    """The page: measurements, an extrapolation to a hundred million networks, and the bottlenecks."""
    return "\n\n".join([TITLE, measured(found), HUNDRED_MILLION, extrapolated(found), BREAKS, breaking(found)]) + "\n"


def measured(found: Mapping[str, Any]) -> str:
    one, two, long, client, sizes = (found[key] for key in ("one", "two", "long", "client", "sizes"))
    asking = ", ".join(units.seconds(client[part]) for part in ASKING)
    rows = {
        "rows per second without a sweep, in one process: per CPU second, per wall second": rates(found["in_process"]),
        "rows per second of a sweep on one process: per CPU second, per wall second": rates(one),
        "rows per second of a sweep on two processes: per CPU second, per wall second": rates(two),
        "10,000 rows on two processes, rows per wall second: the first thousand, the last": (
            f"{units.rate(long['first'])}, {units.rate(long['last'])}"
        ),
        "peak memory of all processes together in those 10,000 rows": units.size(long["peak_bytes"]),
        f"time of the client per row: {', '.join(ASKING)}": asking,
        "time to find a row in a journal": units.seconds(client["find"]),
        "empty tasks per second through a Dask scheduler": units.rate(found["scheduler"]["tasks"]),
        "bytes per row: journal, csv, parquet": f"{sizes['.jsonl']:.0f}, {sizes['.csv']:.0f}, {sizes['.parquet']:.0f}",
    }
    about = f"""Measured by `python tests/bench/sweeps.py` on {found["date"]}: {found["processor"]}, {found["cores"]} cores,
        Python {found["python"]}, torch {found["torch"]}. The load average was {found["load"]} at the start: if it
        is not near 0, other programs were running, and CPU time is more reliable than wall time. The networks are MobileNet
        V1 in {found["rows"]} sizes; each is built, traced, linted and predicted for one device."""
    table = ["| measured | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n\n".join([filled(about), "\n".join(table)])


def extrapolated(found: Mapping[str, Any]) -> str:
    row, sizes = 1 / found["in_process"]["cpu"], found["sizes"]
    lines = ["| cores | time | rows and chunks per second | client | scheduler |", "| ---: | --- | --- | --- | --- |"]
    for cores in CORES:
        rows, chunks = cores / row, cores / min(max(CHUNK_SECONDS, cores / CHUNKS_A_SECOND), LARGEST_CHUNK * row)
        busy = units.percent(rows * asking(found)), units.percent(chunks / found["scheduler"]["tasks"])
        done = f"{units.short(round(rows))}, {units.rate(chunks)}"
        lines.append(f"| {cores:,} | {days(NETWORKS * row / cores)} | {done} | {busy[0]} busy | {busy[1]} busy |")
    journal, csv, parquet = (units.size(round(NETWORKS * sizes[suffix])) for suffix in (".jsonl", ".csv", ".parquet"))
    files = f"""The journal would take {journal}, the table {csv} as csv and {parquet} as parquet. All of this is
        extrapolated: the largest sweep that was run has 10,000 rows, the largest cluster two workers."""
    return "\n\n".join(["\n".join(lines), filled(files)])


def breaking(found: Mapping[str, Any]) -> str:
    row, client, tasks = 1 / found["in_process"]["cpu"], asking(found), found["scheduler"]["tasks"]
    items = (
        f"""The scheduler, if every network were a task: {units.rate(tasks)} tasks per second correspond to the work of
        {units.exact(round(tasks * row))} cores. A chunk is therefore {CHUNK_SECONDS:g} s of work, or more if there are many
        workers, so that there are at most {CHUNKS_A_SECOND} chunks per second, of up to {LARGEST_CHUNK:,} rows.""",
        f"""The client: at {units.seconds(client)} per row it handles {units.short(round(1 / client))} rows per second, the
        work of {units.exact(round(row / client))} cores. It sends positions in the space instead of points, and writes journal
        lines as the workers return them. Well below that limit, `--part 3/10` splits a sweep into several, each with its own
        journal and, if necessary, its own scheduler; the concatenated tables are the table of the whole.""",
        f"""The memory of the client: 8 bytes per row for its position in the journal, {units.size(8 * NETWORKS)} for
        all. It does not hold points or rows, and only as many chunks are in flight as keep the workers busy. Resuming from
        a journal temporarily takes {found["client"]["find_bytes"]:.0f} bytes per row, {units.size(round(found["client"]["find_bytes"] * NETWORKS))} for all, and
        {days(NETWORKS * found["client"]["find"])}; one part of a hundred takes a hundredth of both.""",
        """The journal, which is one file on one disk. It is synced once per second, which bounds what a power failure
        loses. Each part has its own file, so that files stay manageable.""",
        """The sample is not one: every draw costs the same, because draws follow a fixed shuffle of the space and nothing is
        listed.""",
    )
    return "\n".join(filled(item, f"{number}. ") for number, item in enumerate(items, 1))


def asking(found: Mapping[str, Any]) -> float:
    """Seconds of the client per row."""
    return float(sum(found["client"][part] for part in ASKING))


def rates(found: Mapping[str, float]) -> str:
    return f"{units.rate(found['cpu'])}, {units.rate(found['wall'])}"


def filled(text: str, begins: str = "") -> str:
    """A paragraph in lines of the page's width."""
    words = " ".join(text.split())
    return textwrap.fill(words, 120, initial_indent=begins, subsequent_indent=" " * len(begins), break_on_hyphens=False)


def days(seconds: float) -> str:
    """A long time in a suitable unit."""
    for name, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds:.1f} s"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
