"""docs/scale.md, out of what tests/bench/sweeps.py measured: `python tests/scale_page.py` writes it anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costlab.reports import units
from costlab.sweeping.running import CHUNK_SECONDS, CHUNKS_A_SECOND, LARGEST_CHUNK

DOCS = Path(__file__).parents[1] / "docs"
PAGE, RESULTS = DOCS / "scale.md", Path(__file__).parent / "data/scale.json"
NETWORKS = 10**8
CORES = (1, 100, 10_000)


def page(found: Mapping[str, Any]) -> str:
    """The page: what was measured, what follows for a hundred million networks, and what breaks first."""
    row = 1 / found["in_process"]["cpu"]  # seconds of a core
    client = sum(found["client"][part] for part in ("send", "take", "write"))
    tasks = found["scheduler"]["tasks"]
    sizes = found["sizes"]
    lines = [f"| {cores:,} | {days(NETWORKS * row / cores)} | {demand(cores, row, client, tasks)} |" for cores in CORES]
    two, one = found["two"], found["one"]
    long = found["long"]
    return f"""# How far a sweep goes

Measured by `python tests/bench/sweeps.py` on {found["date"]}: {found["processor"]}, {found["cores"]} cores, Python
{found["python"]}, torch {found["torch"]}, load of the machine before {
        found["load"]
    }. The networks are MobileNet V1 in 640
sizes, built, traced, linted and predicted for one device.

| measured | value |
| --- | --- |
| rows a second of one core's time, in one process | {units.rate(found["in_process"]["cpu"])} |
| the same by the clock | {units.rate(found["in_process"]["wall"])} |
| a sweep on one process, by the clock; of a core's time | {units.rate(one["wall"])}; {units.rate(one["cpu"])} |
| a sweep on two processes, by the clock; of a core's time | {units.rate(two["wall"])}; {units.rate(two["cpu"])} |
| 10,000 rows on two processes: first thousand, last thousand, by the clock | {units.rate(long["first"])}, {
        units.rate(long["last"])
    } |
| memory of all processes together at most, in those 10,000 rows | {units.size(long["peak_bytes"])} |
| time of the process that asks, for each row: send, take, write | {
        ", ".join(units.seconds(found["client"][part]) for part in ("send", "take", "write"))
    } |
| to find a row again in a journal | {units.seconds(found["client"]["find"])} |
| empty tasks a second through a Dask scheduler | {units.rate(tasks)} |
| bytes of a row: journal, csv, parquet | {sizes[".jsonl"]:.0f}, {sizes[".csv"]:.0f}, {sizes[".parquet"]:.0f} |

## A hundred million networks

| cores | days or hours | what the rest has to do |
| --- | --- | --- |
{chr(10).join(lines)}

The journal has {units.size(round(NETWORKS * sizes[".jsonl"]))} then, the table {
        units.size(round(NETWORKS * sizes[".csv"]))
    } as csv and {units.size(round(NETWORKS * sizes[".parquet"]))} as parquet. Extrapolated, not tried: the largest
sweep that was run has 10,000 rows.

## What breaks first

1. The scheduler, were every network a task: it is {units.rate(tasks)} tasks a second, {
        units.exact(round(tasks * row))
    } cores. So a chunk is work for {CHUNK_SECONDS:g} s, more where there are many workers, such that no more than
   {CHUNKS_A_SECOND} chunks a second come about, up to {LARGEST_CHUNK:,} rows.
2. The process that asks: at {units.seconds(client)} a row it keeps up with {
        units.exact(round(1 / client))
    } rows a second,
   the work of {
        units.exact(round(row / client))
    } cores. It sends positions instead of points, and takes lines of the journal as
   the workers wrote them. Beyond that, or long before, `--part 3/10` makes several sweeps of one, each with a journal
   and a scheduler of its own, whose tables one after the other are the table of the whole.
3. Memory of the process that asks: 8 bytes a row for where it is in the journal, {
        units.size(8 * NETWORKS)
    } for all. Points,
   chunks and rows are never held: as many chunks as keep the workers busy are under way. To go on from a journal takes
   about 200 bytes a row for a moment, {units.size(200 * NETWORKS)} for all, and {
        days(NETWORKS * found["client"]["find"])
    }; a part of a hundredth takes a hundredth of both.
4. The journal, in one file: it is written in one place and read once. Once a second it is forced to the disk, which
   bounds what a power cut loses. Parts have files of their own, so that none outgrows a file system or a person.
5. The sample: drawing the next of N costs the same at any N, since a fixed shuffle of the space is walked along, not a
   list of what was drawn.
"""


def days(seconds: float) -> str:
    """A long time in the unit that suits it."""
    for name, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds:.1f} s"


def demand(cores: int, row: float, client: float, tasks: float) -> str:
    """What scheduler and client have to do for so many cores."""
    chunk = min(max(CHUNK_SECONDS, cores / CHUNKS_A_SECOND), LARGEST_CHUNK * row)
    chunks, rows = cores / chunk, cores / row
    asker, scheduler = units.percent(rows * client), units.percent(chunks / tasks)
    done = f"{units.rate(rows)} rows and {units.rate(chunks)} chunks a second"
    return f"{done}: {asker} of the time of the process that asks, {scheduler} of the scheduler's"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
