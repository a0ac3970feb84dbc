"""Random networks and fuzzed inputs, thousands of them, for docs/reliability.md; exit 1 where one fails."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]
PAGE = ROOT / "docs" / "reliability.md"

# What broke when it was tried first, and what was done about it. Each has a test of its own.
FOUND = (
    (
        "random networks",
        "a view of two tensors at once (`broadcast_tensors`) whose second one is written to later could be moved behind"
        " its reader by `--fusion pointwise`; the saved profile was refused as cyclic",
        "a group of element-wise operators is closed by a view of several tensors",
    ),
    (
        "random networks",
        "a transposed vector or scalar (`x.t()`, `x.transpose(0, -1)`) stopped `lint` and `report` with a device",
        "with fewer than two dimensions there is nothing to swap",
    ),
    (
        "random networks",
        "attention over no keys, queries or values stopped its cost rule; products over nothing stopped predictions",
        "rows are counted without dividing; a product without multiplications is data movement",
    ),
    (
        "random networks",
        "`F.linear` with a weight of one dimension stopped predictions",
        "it is a product with a vector there",
    ),
    (
        "random networks",
        "`F.interpolate` of no signals: torch's meta kernel raises a TypeError where its real kernel has an answer",
        "the real kernel is asked then, as after other errors of a meta kernel",
    ),
    (
        "fuzzed inputs",
        "`--batch` and `--resolution` with numbers that no tensor can have ended in an error of torch, or took all"
        " memory for integers",
        "they have the limits of `--input`, and integers, whose values are kept, one of their own",
    ),
    (
        "fuzzed inputs",
        "an efficiency in a device file that is no number, or a speed of 0, was noticed while predicting",
        "efficiencies are numbers of 0 or more, and those that are divided by are above 0",
    ),
    (
        "fuzzed inputs",
        "a saved profile whose operators lack the inputs, dimensions or attributes of their kind was read, and stopped"
        " predictions and guidelines later",
        "every operator is looked at when it is read, by its kind",
    ),
    (
        "fuzzed inputs",
        "a null character in a path, from a configuration, ended in an error of Python",
        "it is refused where arguments and configurations are read",
    ),
    (
        "fuzzed inputs",
        "a MODEL too long to be the name of a file, or with half of a character in it, ended in an error of Python",
        "errors of the file system are told with their file; what no shell can hand over is refused",
    ),
    (
        "fuzzed inputs",
        "an archive whose list of members, or whose compressed members, are damaged ended in an error of Python",
        "it is no readable archive, as others that are damaged",
    ),
    (
        "faults",
        "standard output on a full disk ended in an error of Python with an offer of the traceback",
        "it is told as for any other file",
    ),
)


def networks(count: int, folder: Path) -> tuple[list[str], Counter[str]]:
    """What was broken, and the kinds of operators that were reached."""
    from helpers.network_laws import broken
    from helpers.random_networks import random_network

    from costlab.tracing._profile import profile

    failures, kinds = [], Counter[str]()
    for seed in range(count):
        drawn = random_network(Random(seed))
        failures += [f"network {seed}: {law}" for law in broken(drawn, folder)]
        kinds.update(op.kind for op in profile(drawn.network, list(drawn.inputs)).ops)
        progress(f"networks: {seed + 1} of {count}")
    return failures, kinds


def inputs(count: int, folder: Path) -> tuple[list[str], dict[str, Counter[int]]]:
    """What went wrong, and how commands ended for each kind of input."""
    from helpers.fuzzing import attempt, prepared, shares

    failures: list[str] = []
    codes: dict[str, Counter[int]] = {}
    prepared(folder)
    for kind, share in shares(count).items():
        codes[kind] = Counter()
        for seed in range(share):
            tried = attempt(kind, Random(seed), folder)
            codes[kind][tried.code] += 1
            failures += [f"{kind} {seed}: {tried.command}: {tried.wrong}"] if tried.wrong else []
        progress(f"{kind}: {share} inputs")
    return failures, codes


def archives(count: int, folder: Path) -> list[str]:
    """Hostile `.pt2` files that ran something, or did not end in a profile or one line; the seed is the date."""
    from helpers import exported_fuzzing as fuzzing
    from helpers.exported_programs import save_nested, save_net

    files = [save_net(folder / "net.pt2"), save_nested(folder / "nested.pt2")]
    for file in files:
        fuzzing.check(file)  # imports what it needs
    watch, failures, case = fuzzing.Watch(), [], folder / "case.pt2"
    seed = int(f"{datetime.now(UTC):%Y%m%d}")
    for name, content in itertools.islice(fuzzing.cases(seed, [file.read_bytes() for file in files]), count):
        case.write_bytes(content)
        try:
            with watch:
                fuzzing.check(case)
        except Exception as error:
            failures.append(f".pt2 {name}: {type(error).__name__}: {error}")
        failures += [f".pt2 {name}: {act}" for act in watch.seen]
        watch.seen.clear()
    progress(f".pt2 files: {count}")
    return failures


def progress(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{words:<60}", end="", file=sys.stderr)


def page(
    tried: int,
    kinds: Counter[str],
    codes: dict[str, Counter[int]],
    hostile: int,
    failures: list[str],
    seconds: float,
) -> str:
    """docs/reliability.md."""
    import torch
    from helpers.network_laws import LAWS

    from costlab._version import __version__
    from costlab.core.cost import RULES

    reached = sum(kind in kinds for kind in RULES)
    fuzzed = sum(sum(counts.values()) for counts in codes.values())
    lines = [
        "# Reliability",
        "",
        f"Written by `make soak` on {datetime.now(UTC):%Y-%m-%d} with costlab {__version__}, torch {torch.__version__},"
        f" Python {platform.python_version()} on {platform.system()} {platform.machine()},"
        f" in {seconds / 60:.0f} minutes on one core. `make test` tries a tenth of it.",
        "",
        "| tried | number | failed |",
        "| --- | ---: | ---: |",
        f"| random networks | {tried:,} | {sum(f.startswith('network ') for f in failures):,} |",
        f"| fuzzed inputs | {fuzzed:,} | {sum(not f.startswith(('network ', '.pt2 ')) for f in failures):,} |",
        f"| `.pt2` files | {hostile:,} | {sum(f.startswith('.pt2 ') for f in failures):,} |",
        "",
        "## Random networks",
        "",
        f"Nested, shared and branching networks of {kinds.total():,} operators in all, in place and on views, reached"
        f" {reached} of the {len(RULES)} kinds that have a cost rule. Each is held against these laws, and some of the"
        " reports, linters, comparisons and predictions for two devices are made of it:",
        "",
        *(f"- {law.__name__.replace('_', ' ')}" for law in LAWS),
        "",
        "What torch counts is `FlopCounterMode` on the meta device; naive loops multiply one number after another; a"
        " plain run is one on the CPU, watched operator by operator.",
        "",
        "## Fuzzed inputs",
        "",
        "Each ends with exit code 0, 1 or 2 in time, with one line that is meant for users, and leaves no half-written"
        " file behind.",
        "",
        "| input | tried | 0 | 1 | 2 |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {kind} | {counts.total():,} | {counts[0]:,} | {counts[1]:,} | {counts[2]:,} |"
            for kind, counts in codes.items()
        ),
        "",
        "## `.pt2` files",
        "",
        "Programs of torch.export with fields of their JSON or the structure of their zip changed. Each has a profile"
        " or is refused in one line; an audit hook sees no code compiled or executed, no module imported, no file"
        " opened to write, no process, socket or pickle. The seed is the date.",
        "",
        "## What failed",
        "",
        *([f"- `{' '.join(failure.split())[:200]}`" for failure in failures] or ["Nothing."]),
        "",
        "## What was found and mended",
        "",
        "| by | what broke | what was done |",
        "| --- | --- | --- |",
        *(f"| {by} | {what} | {done} |" for by, what, done in FOUND),
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--archives", type=int, default=20_000)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CONFIG_HOME"] = str(folder / "home")
        broken, kinds = networks(asked.networks, folder)
        wrong, codes = inputs(asked.inputs, folder)
        hostile = archives(asked.archives, folder)
    failures = [*broken, *wrong, *hostile]
    seconds = time.perf_counter() - start
    text = page(asked.networks, kinds, codes, asked.archives, failures, seconds)
    asked.page.write_text(text, encoding="utf-8")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
