"""The canary over networks that take integers: exit 1 if a total changes with made-up values and is not marked.

Each network is profiled without values, and twice with values of different kinds.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from helpers.canary import READERS, canary, readers  # noqa: E402
from helpers.canary_readers import DECIDE, DECIDE_NOTHING  # noqa: E402
from helpers.transformers_families import FAMILIES, write_config  # noqa: E402

import costlab  # noqa: E402


def networks(folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """Names, networks and inputs."""
    yield from readers(READERS | DECIDE | DECIDE_NOTHING)
    for model_type in FAMILIES:
        yield (model_type, *costlab.load(write_config(model_type, folder)))


def main() -> int:
    """Print those that are wrong."""
    tried = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, model, inputs in networks(Path(folder)):
            tried += 1
            flaw = canary(model, inputs)
            if flaw:
                wrong += 1
                print(f"{name}: {flaw}", flush=True)
    print(f"{tried} networks with integers of other values: {wrong} totals change and are not marked")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
