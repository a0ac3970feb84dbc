"""Kill a sweep at twenty random moments, ten times over: what it resumes to equals what it is when nothing stops it."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from test_sweep import killed_and_resumed, started  # noqa: E402

ROWS, KILLS, ROUNDS = 600, 20, 10


def main() -> None:
    seed = int(time.time())
    with tempfile.TemporaryDirectory() as folder:
        started(Path(folder), ROWS).communicate()
        whole = (Path(folder) / "sweep.csv").read_bytes()
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            resumed = killed_and_resumed(Path(folder), ROWS, KILLS, random.Random(seed + number))
        if resumed != whole:
            sys.exit(f"seed {seed + number}: the table differs after {KILLS} kills")
        print(f"seed {seed + number}: {KILLS} kills, {ROWS} rows, the same table", flush=True)


if __name__ == "__main__":
    main()
