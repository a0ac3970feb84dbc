"""Run thousands of random networks and fuzzed inputs and write docs/reliability.md; exit 1 if one fails."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]
PAGE = ROOT / "docs" / "reliability.md"

THREAT_MODEL = Path(__file__).with_name("threat_model.md")

# What broke when it was tried first, and what was done about it. Each has a test of its own.
FOUND = (
    (
        "random networks",
        "`--fusion pointwise` could move a view of two tensors (`broadcast_tensors`), the second of which is"
        " written later, behind its reader; the saved profile was rejected as cyclic",
        "a view of several tensors ends a fused group",
    ),
    (
        "random networks",
        "a transposed vector or scalar (`x.t()`, `x.transpose(0, -1)`) crashed `lint` and `report` with a device",
        "with fewer than two dimensions, a transposition changes nothing",
    ),
    (
        "random networks",
        "attention without keys, queries or values crashed its cost rule; products with an empty sum crashed"
        " predictions",
        "rows are counted without a division; a product without multiplications is data movement",
    ),
    (
        "random networks",
        "`F.linear` with a one-dimensional weight crashed predictions",
        "it is treated as a product with a vector",
    ),
    (
        "random networks",
        "`F.interpolate` of an empty batch: torch's meta kernel raises a TypeError, its real kernel does not",
        "the real kernel runs instead, as after other errors of a meta kernel",
    ),
    (
        "fuzzed inputs",
        "`--batch` and `--resolution` beyond the size of any tensor raised an error of torch, or took all memory"
        " for integer inputs",
        "they have the limits of `--input`, and integer inputs, whose values are kept, have their own",
    ),
    (
        "fuzzed inputs",
        "an efficiency that is not a number, or a speed of 0, in a device file was only detected during prediction",
        "efficiencies must be numbers of at least 0, and divisors must be greater than 0",
    ),
    (
        "fuzzed inputs",
        "a saved profile with operators that lack the inputs, dimensions or attributes of their kind was"
        " accepted, and crashed predictions and guidelines later",
        "every operator is validated by its kind on reading",
    ),
    (
        "fuzzed inputs",
        "a null character in a path of a configuration raised a Python error",
        "arguments and configurations with null characters are rejected",
    ),
    (
        "fuzzed inputs",
        "a MODEL too long for a file name, or with an unpaired surrogate character, raised a Python error",
        "file system errors name the file; text that no shell can pass is rejected",
    ),
    (
        "fuzzed inputs",
        "an archive with a damaged directory or damaged compressed members raised a Python error",
        "it is rejected like other damaged archives",
    ),
    (
        "fuzzed inputs",
        "a saved profile with a product whose output has no dimensions was accepted, and crashed `lint`",
        "a layer without channels has no advice on its width",
    ),
    (
        "`.pt2` files",
        "a program whose call has no signature raised a KeyError",
        "the field is optional in the schema, and read as such",
    ),
    (
        "random networks",
        "a write to an expanded buffer could not be undone after the trace, which raised an error of torch",
        "all bytes of the buffer are kept and restored",
    ),
    (
        "random networks",
        "an einsum over a dimension of size 0 was counted as if that size were 1",
        "sizes of both operands are joined without a minimum of 1",
    ),
    (
        "random networks",
        "batch norm over known values in train mode changed its statistics for good: torch's schema does not"
        " say that it writes them",
        "they are kept and restored like other buffers that are written",
    ),
    (
        "`.pt2` files",
        "where a value decides a branch, the file that a program names as its source was opened to look for a loop",
        "only files of code that runs are read",
    ),
    (
        "random networks",
        "attention over a batch of 0 keys, for which torch returns zeros, was counted as if the batch were 1",
        "without keys there are no scores",
    ),
    ("faults", "writing stdout to a full disk raised a Python error", "it is reported as for any other file"),
)


def networks(count: int, first: int) -> tuple[list[str], Counter[str]]:
    """What was broken, and the kinds of operators that were reached."""
    from helpers.network_laws import broken
    from helpers.random_networks import random_network

    from costlab.tracing._profile import profile

    failures, kinds = [], Counter[str]()
    with own_folder() as folder:
        for seed in range(first, first + count):
            drawn = random_network(Random(seed))
            try:
                failures += [f"network {seed}: {law}" for law in broken(drawn, folder)]
                kinds.update(op.kind for op in profile(drawn.network, list(drawn.inputs)).ops)
            except Exception as error:
                failures.append(f"network {seed}: {type(error).__name__}: {error}")
            progress(f"networks: {seed - first + 1} of {count}")
    return failures, kinds


def inputs(count: int, first: int) -> tuple[list[str], dict[str, Counter[int]]]:
    """What went wrong, and how commands ended for each kind of input."""
    from helpers.fuzzing import attempt, prepared, shares

    failures: list[str] = []
    codes: dict[str, Counter[int]] = {}
    with own_folder() as folder:
        prepared(folder)
        for kind, share in shares(count).items():
            codes[kind] = Counter()
            for seed in range(first, first + share):
                tried = attempt(kind, Random(seed), folder)
                codes[kind][tried.code] += 1
                failures += [f"{kind} {seed}: {tried.command}: {tried.wrong}"] if tried.wrong else []
            progress(f"{kind}: {share} inputs")
    return failures, codes


def archives(count: int, seed: int) -> list[str]:
    """Hostile `.pt2` files that ran something, or did not end in a profile or one line."""
    from helpers import exported_fuzzing as fuzzing
    from helpers.exported_programs import save_nested, save_net

    with own_folder() as folder:
        files = [save_net(folder / "net.pt2"), save_nested(folder / "nested.pt2")]
        for file in files:
            fuzzing.check(file)  # imports what it needs
        watch, failures, case = fuzzing.Watch(), [], folder / "case.pt2"
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


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A temporary folder, in which costlab also keeps its cache and configuration; torch uses one thread."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "home")
        yield Path(name)


def progress(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{words:<60}", end="", file=sys.stderr)


def page(
    asked: argparse.Namespace, kinds: Counter[str], codes: dict[str, Counter[int]], failures: list[str], seconds: float
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
        f" in {seconds / 60:.0f} minutes, with seeds from {asked.seed}, which begins with the date. `make test` runs a"
        " tenth of it with other seeds.",
        "",
        "| what | tried | failed |",
        "| --- | ---: | ---: |",
        f"| random networks | {asked.networks:,} | {sum(f.startswith('network ') for f in failures):,} |",
        f"| fuzzed inputs | {fuzzed:,} | {sum(not f.startswith(('network ', '.pt2 ')) for f in failures):,} |",
        f"| `.pt2` files | {asked.archives:,} | {sum(f.startswith('.pt2 ') for f in failures):,} |",
        "",
        *THREAT_MODEL.read_text(encoding="utf-8").splitlines(),
        "",
        "## Random networks",
        "",
        f"Nested, shared and branching networks of {kinds.total():,} operators in all, in place and on views, reached"
        f" {reached} of the {len(RULES)} kinds that have a cost rule. Each is checked against these laws, and some"
        f" are also reported, linted, compared and predicted for two devices:",
        "",
        *(f"- {law.__name__.replace('_', ' ')}" for law in LAWS),
        "",
        "What torch counts is `FlopCounterMode` on the meta device; naive loops multiply numbers one by one; a"
        " plain run is a run on the CPU, observed operator by operator.",
        "",
        "## Fuzzed inputs",
        "",
        "Each ends within a time limit with exit code 0, 1 or 2, prints at most a one-line error, and leaves no"
        " half-written file.",
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
        " opened to write, no process, socket or pickle.",
        "",
        "## Failures",
        "",
        *([f"- `{' '.join(failure.split())[:200]}`" for failure in failures] or ["Nothing."]),
        "",
        "## Bugs found and fixed",
        "",
        "| found by | bug | fix |",
        "| --- | --- | --- |",
        *(f"| {by} | {what} | {done} |" for by, what, done in FOUND),
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--archives", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(f"{datetime.now(UTC):%Y%m%d}") * 100_000)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        tried = pool.submit(networks, asked.networks, asked.seed)
        fuzzed = pool.submit(inputs, asked.inputs, asked.seed)
        hostile = pool.submit(archives, asked.archives, asked.seed)
    (broken, kinds), (wrong, codes) = tried.result(), fuzzed.result()
    failures = [*broken, *wrong, *hostile.result()]
    seconds = time.perf_counter() - start
    asked.page.write_text(page(asked, kinds, codes, failures, seconds), encoding="utf-8")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
