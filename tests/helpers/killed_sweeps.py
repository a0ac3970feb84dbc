"""Sweeps that are killed and resumed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from helpers.processes import rows_in, until

TINY = f"{Path(__file__).parents[1] / 'helpers' / 'sweep_networks.py'}:tiny"


def started(folder: Path, rows: int = 40) -> subprocess.Popen:
    """A sweep that takes two hundredths of a second for a row, on two processes."""
    slow = ["-a", f"width=1:{rows}", "-a", "seconds=0.02", "--resolution", "8", "-j", "2", "--top", "1"]
    words = [sys.executable, "-m", "costlab", "sweep", TINY, *slow, "-o", "sweep.csv"]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_and_resumed(folder: Path, rows: int, kills: int, chance: random.Random) -> bytes:
    """The table of a sweep that was killed so many times; no finished row may be lost or made twice."""
    path = folder / "sweep.journal.jsonl"
    for _ in range(kills):
        before = rows_in(path)
        process = started(folder, rows)
        until(lambda: rows_in(path) > before or process.poll() is not None)  # noqa: B023
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        process.communicate()
        assert rows_in(path) >= before
    process = started(folder, rows)
    process.communicate()
    assert process.returncode == 0
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == rows
    return (folder / "sweep.csv").read_bytes()
