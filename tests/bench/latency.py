"""How far predicted latencies are from those that the timm project publishes (docs/latency.md says where they are).

    python tests/bench/latency.py --tables DIR                                     # judge the shipped device files
    python tests/bench/latency.py --tables DIR --page docs/latency.md              # and write the figures there
    python tests/bench/latency.py --tables DIR --fit --write costlab/latency/data  # fit first

Every network of the tables is traced and predicted for every device: a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tables import I9, RTX3090, RTX3090_NHWC, RTX4090, TABLES, Network, Row, Table, families, fitting, read, traced

import costlab
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.table import markdown_row
from costlab.latency.device import Device
from costlab.latency.devices import write_device
from costlab.latency.efficiency import PARAMETERS, START, generated
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import lower
from costlab.measurement.fit import Sample, Samples, errors, fit

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
from generate.latency_page import fingerprint, shipped, write_page

WORST = 20
CARRIED = "RTX 4090, carried over: everything fitted on the RTX 3090, the rest from its datasheet"
CHANGED = 0.02  # share of its parameters by which a network differs from the one that was measured
SOURCE = (
    "throughput that the timm project publishes (pytorch-image-models, results/, PyTorch 2.4, Apache-2.0);"
    " network families with an even place in the alphabet"
)

# What is fitted.

NEVER = frozenset(("serial_seconds", "half_norms"))
GPU_FIXED = NEVER | frozenset(  # arithmetic hides behind traffic; large batches hide caches, weights and the start
    "operation transcendental norm_operation strided_norm_operation copied_element pooled_element overlap cache_share"
    " cache_speed weight_cache_share weight_bandwidth convolution_weight_bandwidth pointwise_weight_bandwidth"
    " start_seconds".split()
)
ARITHMETIC_BOUND = (  # on a CPU: their time is that of `operation` and its like, or of the memory's full bandwidth
    "batch_norm normalisation softmax pooling reduction copy gather interpolation transposing_copy".split()
)
CPU_FIXED = NEVER | frozenset(
    ARITHMETIC_BOUND
    + "attention_mask misaligned layout_passes kernel_seconds channels_last_convolution"
    " channels_last_grouped_convolution channels_last_convolution_prologue channels_last_pointwise_convolution"
    " channels_last_depthwise_bandwidth channels_last_depthwise_tap channels_last_large_depthwise_tap".split()
)
GPU_START = {**START, "half_norms": 1.0}
CPU_START = {
    **START,
    **dict.fromkeys(ARITHMETIC_BOUND, 1.0),
    "matmul": 0.6,
    "convolution": 0.8,
    "layout_passes": 0.005,
    "cache_speed": 5.0,
    "operation": 20.0,
    "transcendental": 60.0,
    "norm_operation": 10.0,
    "strided_norm_operation": 40.0,
    "copied_element": 30.0,
    "pooled_element": 30.0,
    "kernel_seconds": 1e-8,
    "launch_seconds": 2e-5,
    "start_seconds": 2e-4,
    "overlap": 2.0,
}


@dataclass(frozen=True)
class Fit:
    """How one table of efficiency is found: what a device file holds are the free parameters and `kept`."""

    device: str
    mode: str
    tables: tuple[Table, ...]
    start: Callable[[Mapping[str, Any]], Mapping[str, float]]  # of what was fitted before, by device
    fixed: frozenset[str]
    kept: frozenset[str]
    evaluations: int
    words: str


FITS = (
    Fit(
        "rtx3090",
        "eager",
        (RTX3090, RTX3090_NHWC),
        lambda before: GPU_START,
        GPU_FIXED,
        frozenset(("half_norms",)),
        16,
        "autocast, contiguous and channels-last",
    ),
    Fit(
        "rtx4090",
        "compiled",
        (RTX4090,),
        lambda before: {**generated(before["rtx3090"]), "layout_passes": 0.01},
        GPU_FIXED,
        frozenset(("half_norms",)),
        16,
        "autocast, torch.compile",
    ),
    Fit("i9-10940x", "compiled", (I9,), lambda before: CPU_START, CPU_FIXED, CPU_FIXED - NEVER, 30, "float32, batch 1,"
        " torch.compile"),
)  # fmt: skip


def fitted(tables: Mapping[str, Mapping[Network, Row]], fits: Mapping[Network, bool], jobs: int) -> dict[str, Device]:
    """The devices with the efficiency that explains the fitting families best."""
    chosen = [network for network, fitting_one in fits.items() if fitting_one]
    names = {network: name_of(network, tables) for network in chosen}
    work = [(names[network], network, [t for t in TABLES if network in tables[t.file]]) for network in chosen]
    samples: dict[str, list[Sample]] = {table.file: [] for table in TABLES}
    for network, kernels in zip(chosen, each(lowered, work, jobs, "lowering"), strict=True):
        for file, rows in kernels.items():
            row = tables[file][network]
            samples[file].append(Sample(str(network), rows, row.batch, row.seconds))
    found: dict[str, dict[str, float]] = {}
    devices = {}
    for way in FITS:
        print(f"fitting {way.device}", file=sys.stderr, flush=True)
        device = shipped(way.device)
        groups = [Samples(device, samples[table.file]) for table in way.tables]
        free = PARAMETERS.keys() - way.fixed
        result = fit(groups, way.start(found), free, way.evaluations)
        found[way.device] = result
        table = {name: float(f"{result[name]:.4g}") for name in PARAMETERS if name in free | way.kept}
        notes = {**device.efficiency.get("fitted", {}), way.mode: f"{SOURCE}, {way.words}"}
        others = {key: value for key, value in device.efficiency.items() if key not in (way.mode, "fitted")}
        devices[way.device] = replace(device, efficiency={**others, way.mode: table, "fitted": notes})
    return devices


def lowered(name: str, network: Network, tables: Sequence[Table]) -> dict[str, np.ndarray]:
    """The kernels of a network in each way of running, as rows of numbers; none where it cannot be traced."""
    try:
        profile = traced(name, network.size)
    except CostlabError:
        return {}  # said when it is judged
    found = {}
    for table in tables:
        config = ExecutionConfig(shipped(table.device), **table.way)
        found[table.file] = np.array(lower(profile, profile.fused(config.fusion), config), dtype=float)
    return found


# What is judged.


class Way(NamedTuple):
    """Rows of the summary: a table and the device that predicts it."""

    title: str
    table: Table
    device: Device


class Judged(NamedTuple):
    """One network in one way of running."""

    way: str
    network: str
    family: str
    fitted: bool  # whether its family fits
    batch: int
    measured_seconds: float
    predicted_seconds: float
    mult_adds: int  # of the whole batch
    changed: bool  # this timm's network has other parameters than the one that was measured

    @property
    def ratio(self) -> float:
        return self.predicted_seconds / self.measured_seconds


def ways(devices: Mapping[str, Device]) -> list[Way]:
    plain = [Way(table.title, table, devices[table.device]) for table in TABLES]
    eager = devices["rtx3090"].efficiency["eager"]
    return [*plain, Way(CARRIED, RTX4090, replace(devices["rtx4090"], efficiency={"eager": eager}))]


def predicted(name: str, network: Network, asked: Sequence[tuple[Way, int]]) -> tuple[int, int, list[float]] | str:
    """Parameters, mult-adds of one image, and seconds in every way of running; in words why there are none."""
    try:
        profile = traced(name, network.size)
    except CostlabError as error:
        return str(error)
    seconds = [costlab.predict(profile, way.device, batch=batch, **way.table.way).seconds for way, batch in asked]
    return profile.params, profile.mult_adds, seconds


def judged(
    tables: Mapping[str, Mapping[Network, Row]],
    family: Mapping[str, str],
    fits: Mapping[Network, bool],
    devices: Mapping[str, Device],
    jobs: int,
) -> tuple[list[Judged], list[str]]:
    """Every row of every table, and what could not be traced."""
    work = []
    for network in fits:
        asked = [
            (way, tables[way.table.file][network].batch) for way in ways(devices) if network in tables[way.table.file]
        ]
        work.append((name_of(network, tables), network, asked))
    found, failures = [], []
    for (_, network, asked), answer in zip(work, each(predicted, work, jobs, "predicting"), strict=True):
        if isinstance(answer, str):
            failures.append(answer)
            continue
        params, mult_adds, seconds = answer
        for (way, batch), value in zip(asked, seconds, strict=True):
            row = tables[way.table.file][network]
            found.append(
                Judged(
                    way=way.title,
                    network=str(network),
                    family=family[network.architecture],
                    fitted=fits[network],
                    batch=batch,
                    measured_seconds=row.seconds,
                    predicted_seconds=value,
                    mult_adds=mult_adds * batch,
                    changed=abs(params / 1e6 - row.params) > CHANGED * row.params + 0.005,  # as printed: two decimals
                )
            )
    order = [way.title for way in ways(devices)]
    return sorted(found, key=lambda row: order.index(row.way)), failures


def name_of(network: Network, tables: Mapping[str, Mapping[Network, Row]]) -> str:
    """The full name under which a network was measured first."""
    return next(rows[network].name for rows in tables.values() if network in rows)


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
    rows: Sequence[Judged], unknown: Sequence[str], failures: Sequence[str], devices: Mapping[str, Device]
) -> dict[str, Any]:
    """Everything as plain data."""
    summary = []
    for way in dict.fromkeys(row.way for row in rows):
        mine = [row for row in rows if row.way == way]
        factor = best_factor(np.array([row.measured_seconds / row.mult_adds for row in mine if row.fitted]))
        for fits, label in ((True, "fitting"), (False, "judging")):
            chosen = [row for row in mine if row.fitted == fits]
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
    plain = [row for row in worst if row.way != CARRIED]
    return {
        "devices": {name: fingerprint(device) for name, device in devices.items()},
        "summary": summary,
        "worst": [{**row._asdict(), "ratio": row.ratio} for row in plain[:WORST]],
        "changed": sorted({row.network for row in rows if row.changed}),
        "unknown": list(unknown),
        "failures": list(failures),
        "rows": [{**row._asdict(), "ratio": row.ratio} for row in rows],
    }


def best_factor(seconds: np.ndarray) -> float:
    """The seconds of one mult-add that are least wrong for the median network, given those of every network."""
    return float(min(seconds, key=lambda factor: np.median(np.abs(factor / seconds - 1)), default=np.nan))


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
WORDS = ("device and way of running", "families", "network", "family")  # begin on the left


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
    marks = ", fits" * entry["fitted"] + ", another network now" * entry["changed"]
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
        f"device files and what their fitted numbers hash to: {files}",
    ]


def markdown(found: Mapping[str, Any]) -> str:
    def table(headings: Sequence[str], rows: Iterable[list[str]]) -> str:
        rules = ["---" if heading in WORDS else "---:" for heading in headings]
        return "\n".join(markdown_row(cells) for cells in (headings, rules, *rows))

    parts = [
        table(HEADINGS, map(cells, found["summary"])),
        f"The {len(found['worst'])} worst, of all networks on all devices:",
        table(WORST_HEADINGS, map(worst_cells, found["worst"])),
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
        grid = Grid(box=SIMPLE, show_edge=False, pad_edge=False)
        for heading in headings:
            grid.add_column(heading, justify="left" if heading in WORDS else "right")
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
    for note in notes(found):
        console.print(note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="folder of the published tables")
    parser.add_argument("--fit", action="store_true", help="fit the devices to the even families first")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="with --fit: write the device files there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="bring the figures of docs/latency.md up to date")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    asked = parser.parse_args()
    if asked.write and not asked.fit:
        parser.error("--write goes with --fit")
    if asked.write and not asked.write.is_dir():
        parser.error(f"--write {asked.write}: the folder does not exist")
    if asked.jobs < 1:
        parser.error("--jobs is 1 or more")
    try:
        tables = read(asked.tables)
        networks = list(dict.fromkeys(network for rows in tables.values() for network in rows))
        family = families(network.architecture for network in networks)
        unknown = sorted(str(network) for network in networks if network.architecture not in family)
        even = fitting(family.values())
        fits = {network: family[network.architecture] in even for network in networks if network.architecture in family}
        devices = {table.device: shipped(table.device) for table in TABLES}
        if asked.fit:
            devices = fitted(tables, fits, asked.jobs)
        for device in devices.values() if asked.write else ():
            write_device(device, asked.write / f"{device.name}.toml")
        rows, failures = judged(tables, family, fits, devices, asked.jobs)
        found = document(rows, unknown, failures, devices)
        if asked.page:
            write_page(asked.page, accuracy=markdown(found))
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
