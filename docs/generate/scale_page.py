"""docs/scale.md, out of what tests/bench/sweeps.py measured: `python docs/generate/scale_page.py` writes it anew."""

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
TITLE, HUNDRED_MILLION, BREAKS = "# How far a sweep goes", "## A hundred million networks", "## What breaks first"


def page(found: Mapping[str, Any]) -> str:
    """The page: what was measured, what follows for a hundred million networks, and what breaks first."""
    return "\n\n".join([TITLE, measured(found), HUNDRED_MILLION, extrapolated(found), BREAKS, breaking(found)]) + "\n"


def measured(found: Mapping[str, Any]) -> str:
    one, two, long, client, sizes = (found[key] for key in ("one", "two", "long", "client", "sizes"))
    asking = ", ".join(units.seconds(client[part]) for part in ASKING)
    rows = {
        "rows a second in one process: of a core's time, by the clock": rates(found["in_process"]),
        "rows a second of a sweep on one process: of a core's time, by the clock": rates(one),
        "rows a second of a sweep on two processes: of a core's time, by the clock": rates(two),
        "10,000 rows on two processes: the first thousand, the last, by the clock": (
            f"{units.rate(long['first'])}, {units.rate(long['last'])}"
        ),
        "memory of all processes together in those 10,000 rows, at most": units.size(long["peak_bytes"]),
        f"time of the process that asks, for each row: {', '.join(ASKING)}": asking,
        "time to find a row again in a journal": units.seconds(client["find"]),
        "empty tasks a second through a Dask scheduler": units.rate(found["scheduler"]["tasks"]),
        "bytes of a row: journal, csv, parquet": f"{sizes['.jsonl']:.0f}, {sizes['.csv']:.0f}, {sizes['.parquet']:.0f}",
    }
    about = f"""Measured by `python tests/bench/sweeps.py` on {found["date"]}: {found["processor"]}, {found["cores"]} cores,
        Python {found["python"]}, torch {found["torch"]}. The load of the machine was {found["load"]} when it began: where
        that is not near 0, other programs had their share, and the time of a core says more than the clock. The networks
        are MobileNet V1 in {found["rows"]} sizes, built, traced, linted and predicted for one device."""
    table = ["| measured | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n\n".join([filled(about), "\n".join(table)])


def extrapolated(found: Mapping[str, Any]) -> str:
    row, sizes = 1 / found["in_process"]["cpu"], found["sizes"]
    lines = [
        "| cores | time | rows and chunks a second | process that asks | scheduler |",
        "| ---: | --- | --- | --- | --- |",
    ]
    for cores in CORES:
        rows, chunks = cores / row, cores / min(max(CHUNK_SECONDS, cores / CHUNKS_A_SECOND), LARGEST_CHUNK * row)
        busy = units.percent(rows * asking(found)), units.percent(chunks / found["scheduler"]["tasks"])
        done = f"{units.short(round(rows))}, {units.rate(chunks)}"
        lines.append(f"| {cores:,} | {days(NETWORKS * row / cores)} | {done} | {busy[0]} busy | {busy[1]} busy |")
    journal, csv, parquet = (units.size(round(NETWORKS * sizes[suffix])) for suffix in (".jsonl", ".csv", ".parquet"))
    files = f"""The journal has {journal} then, the table {csv} as csv and {parquet} as parquet. All of this is
        extrapolated, not tried: the largest sweep that was run has 10,000 rows, the largest cluster two workers."""
    return "\n\n".join(["\n".join(lines), filled(files)])


def breaking(found: Mapping[str, Any]) -> str:
    row, client, tasks = 1 / found["in_process"]["cpu"], asking(found), found["scheduler"]["tasks"]
    items = (
        f"""The scheduler, were every network a task: {units.rate(tasks)} tasks a second are the work of
        {units.exact(round(tasks * row))} cores. So a chunk is work for {CHUNK_SECONDS:g} s, and for more where there are many
        workers, such that no more than {CHUNKS_A_SECOND} chunks a second come about, up to {LARGEST_CHUNK:,} rows.""",
        f"""The process that asks: at {units.seconds(client)} a row it keeps up with {units.short(round(1 / client))} rows a
        second, the work of {units.exact(round(row / client))} cores. It sends positions in the space, not points, and takes
        the lines of the journal as the workers wrote them. Long before that limit `--part 3/10` makes several sweeps of one,
        each with a journal and, if need be, a scheduler of its own; their tables one after the other are the table of the
        whole.""",
        f"""The memory of the process that asks: 8 bytes a row for where it is in the journal, {units.size(8 * NETWORKS)} for
        all. Points and rows are not held, and no more chunks are under way than keep the workers busy. To go on from a
        journal takes {found["client"]["find_bytes"]:.0f} bytes a row for a while, {units.size(round(found["client"]["find_bytes"] * NETWORKS))} for all, and
        {days(NETWORKS * found["client"]["find"])}; a part of a hundredth takes a hundredth of both.""",
        """The journal, which is one file on one disk. It is forced there once a second, which bounds what a power cut
        loses. Parts have files of their own, so that none outgrows a file system or a person.""",
        """Not the sample: the next of any number of draws costs the same, since a fixed shuffle of the space is walked
        along and nothing is listed.""",
    )
    return "\n".join(filled(item, f"{number}. ") for number, item in enumerate(items, 1))


def asking(found: Mapping[str, Any]) -> float:
    """Seconds of the process that asks for each row."""
    return float(sum(found["client"][part] for part in ASKING))


def rates(found: Mapping[str, float]) -> str:
    return f"{units.rate(found['cpu'])}, {units.rate(found['wall'])}"


def filled(text: str, begins: str = "") -> str:
    """A paragraph in lines of the page's width."""
    words = " ".join(text.split())
    return textwrap.fill(words, 120, initial_indent=begins, subsequent_indent=" " * len(begins), break_on_hyphens=False)


def days(seconds: float) -> str:
    """A long time in the unit that suits it."""
    for name, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds:.1f} s"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
