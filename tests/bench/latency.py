"""How far predicted latencies are from measured ones (docs/latency.md says where they come from).

    python tests/bench/latency.py --tables DIR                                 # judge what costlab ships
    python tests/bench/latency.py --tables DIR --page docs/latency.md          # and write the figures there
    python tests/bench/latency.py --tables DIR --unseen --page docs/latency.md # each card predicted without its rows
    python tests/bench/latency.py --tables DIR --fit --write costlab/latency   # fit first

Every network of the tables is traced and predicted for every device: a few minutes on two cores; a fit takes half an
hour, and so does leaving out each card.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from latency_fit import Fits, fitted, lowered, mode_of, write
from tables import UNFITTED, Network, Row, Table, Tables, families, fitting, read, traced

import costlab
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.table import markdown_row
from costlab.latency.device import Device
from costlab.measurement.fit import errors

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
from generate.latency_page import fingerprint, shipped, write_page

WORST = 20
CHANGED = 0.02  # share of its parameters by which a network differs from the one that was measured


# What is judged.


class Judged(NamedTuple):
    """One network in one way of running."""

    way: str
    network: str
    family: str
    fitted: str  # "fitting", "judging", or "unseen" on a card that nothing is fitted to
    batch: int
    measured_seconds: float
    predicted_seconds: float
    mult_adds: int  # of the whole batch
    changed: bool  # this timm's network has other parameters than the one that was measured

    @property
    def ratio(self) -> float:
        return self.predicted_seconds / self.measured_seconds


def predicted(name: str, network: Network, asked: Sequence[tuple[Table, int]]) -> tuple[int, int, list[float]] | str:
    """Parameters, mult-adds of one image, and seconds in every way of running; in words why there are none."""
    try:
        profile = traced(name, network)
    except CostlabError as error:
        return str(error)
    seconds = [costlab.predict(profile, shipped(t.device), batch=batch, **t.way).seconds for t, batch in asked]
    return profile.params, profile.mult_adds, seconds


def judged(
    tables: Tables, family: Mapping[str, str], fits: Callable[[Row], bool], jobs: int
) -> tuple[list[Judged], list[str]]:
    """Every row of every table, and what could not be traced."""
    asked: dict[tuple[str, Network], list[tuple[Table, Row]]] = {}
    for table, rows in tables.items():
        for row in rows:
            if row.network.architecture in family or table.card not in TIMM_CARDS:
                asked.setdefault((name_of(row.network, tables), row.network), []).append((table, row))
    work = [(*key, [(table, row.batch) for table, row in rows]) for key, rows in asked.items()]
    found, failures = [], []
    for (name, network), answer in zip(asked, each(predicted, work, jobs, "predicting"), strict=True):
        if isinstance(answer, str):
            failures.append(answer)
            continue
        params, mult_adds, seconds = answer
        for (table, row), value in zip(asked[name, network], seconds, strict=True):
            found.append(
                Judged(
                    way=table.title,
                    network=str(network),
                    family=family.get(network.architecture, ""),
                    fitted=label(table, row, fits),
                    batch=row.batch,
                    measured_seconds=row.seconds,
                    predicted_seconds=value,
                    mult_adds=mult_adds * row.batch,
                    changed=bool(row.params) and abs(params / 1e6 - row.params) > CHANGED * row.params + 0.005,
                )
            )
    order = [table.title for table in tables]
    return sorted(found, key=lambda row: order.index(row.way)), failures


def label(table: Table, row: Row, fits: Callable[[Row], bool]) -> str:
    """Whether a row fits or judges, or belongs to a card that nothing is fitted to."""
    if table.card in UNFITTED:
        return "unseen"
    return "fitting" if table.card not in TIMM_CARDS or fits(row) else "judging"


def name_of(network: Network, tables: Tables) -> str:
    """The full name under which a network was measured first."""
    return next(row.name for rows in tables.values() for row in rows if row.network == network)


def each(work: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int, words: str) -> Iterable[Any]:
    """The results of `work(*call)`, in order, from processes of their own."""
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=one_thread) as pool:
        for done, result in enumerate(pool.map(partial(apply, work), calls, chunksize=4), 1):
            if done % 100 == 0 or done == len(calls):
                print(f"{words}: {done} of {len(calls)} networks", file=sys.stderr, flush=True)
            yield result


def apply(work: Callable[..., Any], call: tuple[Any, ...]) -> Any:
    return work(*call)


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


# What is shown.


def document(
    rows: Sequence[Judged], unknown: Sequence[str], failures: Sequence[str], devices: Iterable[str]
) -> dict[str, Any]:
    """Everything as plain data."""
    summary = []
    for way in dict.fromkeys(row.way for row in rows):
        mine = [row for row in rows if row.way == way]
        factors = [row.measured_seconds / row.mult_adds for row in mine if row.fitted == "fitting"]
        factor = best_factor(np.array(factors or [row.measured_seconds / row.mult_adds for row in mine]))
        for label in LABELS:
            chosen = [row for row in mine if row.fitted == label]
            if not chosen:
                continue
            measured, seconds, mult_adds = (
                np.array([getattr(row, key) for row in chosen], dtype=float)
                for key in ("measured_seconds", "predicted_seconds", "mult_adds")
            )
            summary.append(
                {
                    "way": way,
                    "families": label,
                    "prediction": errors(seconds, measured)._asdict(),
                    "mult_adds": errors(mult_adds * factor, measured)._asdict(),
                }
            )
    worst = sorted(rows, key=lambda row: -abs(np.log(row.ratio)))
    return {
        "devices": {name: fingerprint(shipped(name)) for name in dict.fromkeys(devices)},
        "summary": summary,
        "worst": [{**row._asdict(), "ratio": row.ratio} for row in worst[:WORST]],
        "changed": sorted({row.network for row in rows if row.changed}),
        "unknown": list(unknown),
        "failures": list(failures),
        "rows": [{**row._asdict(), "ratio": row.ratio} for row in rows],
    }


def best_factor(seconds: np.ndarray) -> float:
    """The seconds of one mult-add that are least wrong for the median network, given those of every network."""
    return float(min(seconds, key=lambda factor: np.median(np.abs(factor / seconds - 1)), default=np.nan))


LABELS = ("fitting", "judging", "unseen")
TIMM_CARDS = ("RTX 3090", "RTX 4090", "i9-10940X", "i7-12700H")
UNSEEN_HEADINGS = ("card left out of the fit", "networks", "median", "90th percentile", "Spearman")
HEADINGS = (
    "device and way of running",
    "families",
    "networks",
    "median",
    "90th percentile",
    "Spearman",
    "mult-adds: median",
    "90th percentile",
    "Spearman",
)
WORST_HEADINGS = ("network", "device and way of running", "batch", "measured", "predicted", "ratio", "family")
WORDS = ("card left out of the fit", "device and way of running", "families", "network", "family")  # begin on the left


def cells(entry: Mapping[str, Any]) -> list[str]:
    """One row of the summary."""
    found = [entry["way"], entry["families"], str(entry["prediction"]["networks"])]
    for of in (entry["prediction"], entry["mult_adds"]):
        found += [
            units.percent(of["median"]),
            units.percent(of["ninetieth"]),
            "" if of["spearman"] is None else f"{of['spearman']:.4f}",
        ]
    return found


def worst_cells(entry: Mapping[str, Any]) -> list[str]:
    """One of the networks that are predicted worst."""
    marks = ", fits" * (entry["fitted"] == "fitting") + ", another network now" * entry["changed"]
    return [
        entry["network"],
        entry["way"],
        str(entry["batch"]),
        units.seconds(entry["measured_seconds"]),
        units.seconds(entry["predicted_seconds"]),
        units.factor(entry["ratio"]),
        entry["family"].rpartition(".")[2] + marks,
    ]


def notes(found: Mapping[str, Any]) -> list[str]:
    """What was left out, and what differs from what was measured."""
    said = {
        "unknown": "not predicted, since this timm has no network of that name",
        "failures": "not predicted",
        "changed": "predicted as this timm builds them, with other parameters than the networks that were measured",
    }
    files = ", ".join(f"{name} {digits}" for name, digits in found["devices"].items())
    return [
        *(f"{words} ({len(found[key])}): {', '.join(found[key]) or 'none'}" for key, words in said.items()),
        f"devices and what the numbers that predict for them hash to: {files}",
    ]


def grid(headings: Sequence[str], rows: Iterable[list[str]]) -> str:
    """A table in markdown."""
    rules = ["---" if heading in WORDS else "---:" for heading in headings]
    return "\n".join(markdown_row(cells) for cells in (headings, rules, *rows))


def unseen_table(found: Mapping[str, Any]) -> str:
    """Cards that were left out of the fit."""

    def line(way: str, figures: Mapping[str, Any]) -> list[str]:
        order = "" if figures["spearman"] is None else f"{figures['spearman']:.4f}"
        shares = (units.percent(figures[key]) for key in ("median", "ninetieth"))
        return [way, str(figures["networks"]), *shares, order]

    return grid(UNSEEN_HEADINGS, [line(*entry) for entry in found["unseen"].items()])


def markdown(found: Mapping[str, Any]) -> str:
    parts = [
        grid(HEADINGS, map(cells, found["summary"])),
        f"The {len(found['worst'])} worst, of all networks on all devices:",
        grid(WORST_HEADINGS, map(worst_cells, found["worst"])),
        "\n".join(f"- {note}" for note in notes(found)),
    ]
    return "\n\n".join(parts)


def text(found: Mapping[str, Any]) -> None:
    """Print the tables."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False)
    for headings, rows in (
        (HEADINGS, map(cells, found["summary"])),
        (WORST_HEADINGS, map(worst_cells, found["worst"])),
    ):
        lines = Grid(box=SIMPLE, show_edge=False, pad_edge=False)
        for heading in headings:
            lines.add_column(heading, justify="left" if heading in WORDS else "right")
        for row in rows:
            lines.add_row(*row)
        console.print(lines)
    for note in notes(found):
        console.print(note)


def kernels_of(tables: Tables, jobs: int) -> dict[tuple[str, str], np.ndarray]:
    """The kernels of every network in each of its tables, and the names of the H100's operators."""
    asked: dict[tuple[str, Network], list[tuple[Table, Device]]] = {}
    for table, rows in tables.items():
        for row in rows:
            asked.setdefault((row.name, row.network), []).append((table, shipped(table.device)))
    work = [(*key, ways) for key, ways in asked.items()]
    found = each(lowered, work, jobs, "lowering")
    named = zip(asked, found, strict=True)
    return {(str(network), file): rows for (_, network), files in named for file, rows in files.items()}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="folder of the tables")
    parser.add_argument("--fit", action="store_true", help="fit the parameters first, to the even families")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="with --fit: write parameters and h100.toml there")
    parser.add_argument("--unseen", action="store_true", help="leave each card out of a fit in turn, and predict it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="fit to every Nth network only")
    parser.add_argument("--page", type=Path, metavar="FILE", help="bring the figures of docs/latency.md up to date")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    asked = parser.parse_args()
    if asked.write and not asked.fit:
        parser.error("--write goes with --fit")
    if asked.write and not asked.write.is_dir():
        parser.error(f"--write {asked.write}: the folder does not exist")
    if asked.jobs < 1 or asked.every < 1:
        parser.error("--jobs and --every are 1 or more")
    return asked


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Fit, leave out and judge, as asked. Raises CostlabError."""
    tables = read(asked.tables)
    names = [row.network.architecture for t, rows in tables.items() if t.card in TIMM_CARDS for row in rows]
    family = families(names)
    even = fitting(family.values())

    def fits(row: Row) -> bool:
        return family.get(row.network.architecture) in even

    found: dict[str, Any] = {}
    if asked.fit or asked.unseen:
        chosen = {
            t: [r for r in rows if fits(r)][:: asked.every] if t.card in TIMM_CARDS else rows
            for t, rows in tables.items()
            if t.card not in UNFITTED and (asked.fit or mode_of(t) == "eager")
        }
        devices = {t.device: shipped(t.device) for t in chosen}
        fit_to = Fits(chosen, devices, kernels_of(chosen, asked.jobs), fits, asked.tables)
        if asked.fit:
            values = fitted(fit_to)
            found["parameters"] = values
            if asked.write:
                write(asked.write, devices, values)
        if asked.unseen:
            left_out = fit_to.unseen(lambda words: print(words, file=sys.stderr, flush=True))
            found["unseen"] = {way: figures._asdict() for way, figures in left_out.items()}
    rows, failures = judged(tables, family, fits, asked.jobs)
    unknown = sorted(
        {
            f"{r.network}"
            for t, rs in tables.items()
            for r in rs
            if t.card in TIMM_CARDS and r.network.architecture not in family
        }
    )
    return {**document(rows, unknown, failures, [t.device for t in tables]), **found}


def main() -> int:
    asked = arguments()
    try:
        found = run(asked)
        if asked.page:
            blocks = {"unseen": unseen_table(found)} if "unseen" in found else {}
            write_page(asked.page, accuracy=markdown(found), **blocks)
    except CostlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if asked.format == "json":
        print(json.dumps(found, indent=1))
    elif asked.format == "markdown":
        print(markdown(found))
    else:
        text(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
