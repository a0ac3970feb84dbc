"""How good choices are: networks chosen by predicted time and by mult-adds, judged by measured times.

    python tests/bench/choosing.py --tables DIR --page docs/choosing.md

For each of 37 budgets, from the fastest to the slowest measured network in equal ratios, the most accurate network that
is expected to keep it is chosen; few of them are broken, so that 370 budgets are judged as well. Time is that of one
image in the batch that was measured. Mult-adds are turned into time by the factor that is least wrong for the median
network. Tracing all networks takes some minutes, once.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tables import TIMM, Table, read

from costlab.choosing.catalogue import Candidate, published
from costlab.choosing.lowered import Networks, architecture, networks, seconds_of
from costlab.choosing.margins import factor_of
from costlab.formatting.table import markdown_row
from costlab.formatting.units import percent
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig

BUDGETS = 37, 370
MARGINS = (0.5, 0.7, 0.9)
JUDGED = ("rtx4090", "rtx3090")  # devices whose tables judge


class Judgement(NamedTuple):
    """Choices under all budgets."""

    broken: int  # choices that take longer than the budget
    overshoot: float  # by how much, the median of those
    lost: float  # points of top-1 against choosing by measured times, the mean over all budgets


class Measured(NamedTuple):
    """Networks with accuracies and measured times."""

    top1: np.ndarray
    seconds: np.ndarray  # of one image
    predicted: np.ndarray
    mult_adds: np.ndarray


def measured(table: Table, rows: Sequence[object], every: Sequence[Candidate], found: Networks) -> Measured:
    """The networks of a table whose accuracy at the measured size is published, with their predictions."""
    times = {(f"timm:{r.network.architecture}", r.network.size): (r.batch, r.seconds) for r in rows}  # type: ignore[attr-defined]
    known = [n for n, c in enumerate(every) if architecture(c) in times and not found.errors[n]]
    batch = np.ones(len(every))
    batch[known] = [times[architecture(every[n])][0] for n in known]
    config = ExecutionConfig(find_device(table.device), **table.way)
    predicted = seconds_of(found, config, batch) / batch
    return Measured(
        np.array([every[n].top1 for n in known]),
        np.array([times[architecture(every[n])][1] / batch[n] for n in known]),
        predicted[known],
        found.costs[known, 0].astype(float),
    )


def judgement(nets: Measured, believed: np.ndarray, budgets: int) -> Judgement:
    """Choices by believed times, judged by measured ones."""
    over, lost = [], []
    for budget in np.geomspace(nets.seconds.min(), nets.seconds.max(), budgets):
        best = nets.top1[nets.seconds <= budget * (1 + 1e-9)].max()
        inside = np.flatnonzero(believed <= budget)
        choice = inside[nets.top1[inside].argmax()] if len(inside) else believed.argmin()
        lost.append(best - nets.top1[choice])
        excess = nets.seconds[choice] / budget - 1
        if excess > 1e-9:
            over.append(excess)
    return Judgement(len(over), float(np.median(over)) if over else 0.0, float(np.mean(lost)))


def best_factor(nets: Measured) -> float:
    """Seconds of one mult-add that are least wrong for the median network."""
    factors = nets.seconds / nets.mult_adds
    return float(min(factors, key=lambda factor: np.median(np.abs(factor / factors - 1))))


def rows_of(folder: Path) -> Iterator[list[str]]:
    """A row for each table and way of choosing."""
    every = published()
    for table, rows in read(folder).items():
        if table not in TIMM or table.device not in JUDGED or table.way.get("channels_last"):
            continue
        config = ExecutionConfig(find_device(table.device), **table.way)
        nets = measured(table, rows, every, networks(every, config, lambda done, of: None))
        ways = [(f"predicted, margin {m}", nets.predicted * factor_of(m, config)) for m in MARGINS]
        for way, believed in [*ways, ("mult-adds", nets.mult_adds * best_factor(nets))]:
            judged = [judgement(nets, believed, count) for count in BUDGETS]
            cells = [
                (f"{j.broken} of {count}", percent(j.overshoot), f"{j.lost:.2f}")
                for count, j in zip(BUDGETS, judged, strict=True)
            ]
            kept = percent(float(np.mean(nets.seconds <= believed)))
            yield [table.title, str(len(nets.top1)), way, kept, *cells[0], *cells[1]]


def main() -> None:
    """Judge, and write the table into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="the folder of published throughputs")
    parser.add_argument("--page", type=Path, help="the page whose section to replace")
    arguments = parser.parse_args()
    start = time.time(), time.process_time()
    own = ("broken", "median overshoot", "top-1 lost")
    head = ("table", "networks", "chosen by", "networks not slower", *own, *own)
    lines = [markdown_row(head), markdown_row(("---", "---:", "---", *["---:"] * 7))]
    lines += map(markdown_row, rows_of(arguments.tables))
    print("\n".join(lines))
    print(f"{time.time() - start[0]:.0f} s")
    if arguments.page is not None:
        text = arguments.page.read_text(encoding="utf-8")
        pattern = re.compile(r"(?<=<!-- choices -->\n).*?(?=<!-- /choices -->)", re.S)
        body = "\n".join([*lines, ""])
        arguments.page.write_text(pattern.sub(lambda _: body, text), encoding="utf-8")


if __name__ == "__main__":
    main()
