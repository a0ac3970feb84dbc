"""Compare speed and accuracy with other counters in one run; writes docs/benchmarks/results.json and the page.

    python tests/bench/benchmark.py                          # ten minutes on a quiet machine
    python tests/bench/benchmark.py --quick --folder FOLDER  # one round of a little: to see that it works

A tool that is not installed is left out, and the page says so; PYTHONPATH=DIR finds one that was put there by
`pip install --no-deps --target DIR`. Nothing else should be at work on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[2] / "docs"))

import torch
from accuracy import accuracy, version
from apart import apart
from call_times import NETWORKS, call_times, step_times
from generate.benchmark_page import FOLDER, RESULTS, page
from growth import LARGE, SIZES, growth
from process_times import process_times
from subjects import SUBJECTS
from tools import TOOLS, Tool

from costlab.core.files import write_text
from costlab.errors import CostlabError
from costlab.measurement.environment import environment

FACTS = ("costlab", "torch", "python", "system", "cpu", "cores")


class Extent(NamedTuple):
    """What is measured, and how often."""

    process_rounds: int
    tool_process_rounds: int
    call_networks: tuple[str, ...]
    call_rounds: int
    first_rounds: int
    sizes: tuple[int, ...]
    growth_rounds: int
    large: int
    subjects: tuple[str, ...]
    tools: tuple[str, ...]
    tool_rounds: int


FULL = Extent(
    process_rounds=9,
    tool_process_rounds=3,
    call_networks=NETWORKS,
    call_rounds=7,
    first_rounds=3,
    sizes=SIZES,
    growth_rounds=3,
    large=LARGE,
    subjects=tuple(subject.name for subject in SUBJECTS),
    tools=tuple(tool.name for tool in TOOLS),
    tool_rounds=3,
)
QUICK = Extent(
    process_rounds=1,
    tool_process_rounds=0,
    call_networks=NETWORKS[:1],
    call_rounds=1,
    first_rounds=1,
    sizes=SIZES[:2],
    growth_rounds=1,
    large=400,
    subjects=("nn.TransformerEncoder of 2 layers", "x @ w"),
    tools=("FlopCounterMode, CPU", "torchinfo"),
    tool_rounds=1,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test, which needs a --folder of its own")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"instead of {FOLDER}; the page goes beside it")
    asked = parser.parse_args()
    if asked.quick and asked.folder == FOLDER:
        parser.error("a quick run is not a result: set --folder for it")
    measured = measure(QUICK if asked.quick else FULL)
    try:
        asked.folder.mkdir(parents=True, exist_ok=True)
        write_text(asked.folder / RESULTS, json.dumps(measured, indent=1) + "\n")
        write_text(asked.folder.with_suffix(".md"), page(measured))
    except (OSError, CostlabError) as error:
        parser.error(str(error))
    return 0


def measure(extent: Extent) -> dict[str, Any]:
    """Everything as plain data."""
    parts: dict[str, Callable[[], Any]] = {
        "processes": lambda: process_times(
            [tool.name for tool in one_a_distribution() if apart(version, tool)],
            extent.process_rounds,
            extent.tool_process_rounds,
        ),
        "calls": lambda: call_times(extent.call_networks, extent.call_rounds, extent.first_rounds),
        "steps": lambda: step_times(extent.call_networks, extent.call_rounds),
        "growth": lambda: growth(extent.sizes, extent.growth_rounds, extent.large),
        "accuracy": lambda: accuracy(extent.subjects, extent.tools, extent.tool_rounds),
    }
    measured = {"date": date.today().isoformat(), "machine": apart(machine), "rounds": rounds_of(extent)}
    for name, part in parts.items():
        start = time.perf_counter()
        measured[name] = part()
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return measured


def machine() -> dict[str, Any]:
    facts = environment(torch.device("cpu"))
    return {**{fact: facts[fact] for fact in FACTS}, "threads": torch.get_num_threads()}


def rounds_of(extent: Extent) -> dict[str, int]:
    return {name: value for name, value in extent._asdict().items() if name.endswith("_rounds")}


def one_a_distribution() -> list[Tool]:
    """Of tools that count in several ways the first."""
    return list({tool.distribution: tool for tool in reversed(TOOLS)}.values())[::-1]


if __name__ == "__main__":
    sys.exit(main())
