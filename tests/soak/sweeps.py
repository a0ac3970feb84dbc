"""Kill a sweep at twenty random moments: the resumed sweep equals one that was not stopped."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

from helpers.killed_sweeps import killed_and_resumed, started  # noqa: E402

ROWS, KILLS = 600, 20


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int(time.time())
    with tempfile.TemporaryDirectory() as folder:
        started(Path(folder), ROWS).communicate()
        whole = (Path(folder) / "sweep.csv").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        resumed = killed_and_resumed(Path(folder), ROWS, KILLS, random.Random(seed))
    if resumed != whole:
        sys.exit(f"sweeps: the table differs after {KILLS} kills (seed {seed})")
    print(f"sweeps: {KILLS} kills, {ROWS} rows, none lost, none twice, the same table (seed {seed})")


if __name__ == "__main__":
    main()
