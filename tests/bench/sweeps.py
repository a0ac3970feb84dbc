"""The speed of sweeps: rows per second on one and two processes, memory, a Dask scheduler's tasks, sizes of files.

The networks are MobileNet V1 with one prediction. Writes docs/scale.md; takes about five minutes of an idle machine.
"""

from __future__ import annotations

import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

from generate.scale_page import PAGE, RESULTS, page  # noqa: E402
from helpers.processes import descendants, until  # noqa: E402

import costlab  # noqa: E402
from costlab.sweeps import _sweep  # noqa: E402
from costlab.sweeps.journal import open_journal  # noqa: E402
from costlab.sweeps.results import SweepState  # noqa: E402
from costlab.sweeps.rows import FinishedRow, compute_rows, row_task  # noqa: E402
from costlab.sweeps.space import Space, space_of  # noqa: E402

ROWS = 640
LONG = 10_000
TASKS = 3000  # empty ones
CHUNK = 60  # rows


def networks(count: int) -> Space:
    """MobileNet V1 in so many sizes."""
    axes = {"width": "0.25:1.25:0.0001", "resolution": [128, 160, 192, 224]}
    return space_of({"factory": "zoo:mobilenet_v1", "arguments": axes, "device": "rtx3090", "sample": count})


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_process(space: Space) -> dict[str, float]:
    """Rows a second in this process, once warm, by the clock and by its processor time."""
    task = row_task(space)
    compute_rows(task, range(20))
    cpu, wall = time.process_time(), time.perf_counter()
    compute_rows(task, range(200))
    return {"wall": 200 / (time.perf_counter() - wall), "cpu": 200 / (time.process_time() - cpu)}


def swept(space: Space, jobs: int) -> dict[str, float]:
    """Rows a second of a sweep, by the clock once its processes have begun and by their processor time; its memory."""
    moments: list[tuple[float, int]] = []
    memory, busy = [0], {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            workers = descendants(os.getpid())
            busy.update((pid, processor_seconds(pid)) for pid in workers if Path(f"/proc/{pid}").exists())
            memory.append(sum(map(resident, (os.getpid(), *workers))))

    def note(state: SweepState) -> None:
        moments.append((time.perf_counter(), state.computed))

    watcher = threading.Thread(target=watch)
    watcher.start()
    costlab.sweep(space, jobs=jobs, progress=note)
    over.set()
    watcher.join()
    begun = next(moment for moment in moments if moment[1])
    by_processor = len(space) / sum(busy.values())
    return {"wall": rate(begun, moments[-1]), "cpu": by_processor, "peak_bytes": max(memory), **ends(moments)}


def rate(start: tuple[float, int], end: tuple[float, int]) -> float:
    return (end[1] - start[1]) / (end[0] - start[0])


def ends(moments: list[tuple[float, int]]) -> dict[str, float]:
    """The rates of the first and the last thousand rows."""
    total = moments[-1][1]
    if total < 4000:
        return {}
    first = [m for m in moments if 0 < m[1] <= 1000]
    last = [m for m in moments if m[1] >= total - 1000]
    return {"first": rate(first[0], first[-1]), "last": rate(last[0], last[-1])}


def processor_seconds(pid: int) -> float:
    """User and system time of a process until now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Memory that a process has to itself, and its share of what it shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def client(space: Space) -> dict[str, float]:
    """Seconds of the process that asks for each row: to send it, to take it, to write it; and to find it later on."""
    rows = range(len(space))
    task = row_task(space)
    (first,) = compute_rows(task, (0,))
    key = json.loads(first.line)["key"]
    finds = [FinishedRow(i, 0.02, False, first.line.replace(key, space.key(space[i]))) for i in rows]
    batches = [finds[start : start + CHUNK] for start in rows[::CHUNK]]
    packed = [pickle.dumps(batch) for batch in batches]
    sent = seconds(lambda: [pickle.dumps((task, tuple(rows[start : start + CHUNK]))) for start in rows[::CHUNK]])
    taken = seconds(lambda: [pickle.loads(batch) for batch in packed])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with open_journal(path) as journal:
            offsets, state = _sweep.known_rows(space, journal, retry=False)
            written = seconds(lambda: [_sweep.record(batch, journal, offsets, state) for batch in batches])
        with open_journal(path) as journal:
            found = seconds(lambda: _sweep.known_rows(space, journal, retry=False))
        with open_journal(path) as journal:
            tracemalloc.start()
            _sweep.known_rows(space, journal, retry=False)
            held = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    times = {"send": sent, "take": taken, "write": written, "find": found, "find_bytes": held}
    return {name: value / len(rows) for name, value in times.items()}


def sizes(space: Space) -> dict[str, float]:
    """Bytes of a row."""
    with tempfile.TemporaryDirectory() as folder:
        rows = costlab.sweep(space, jobs=2, journal=Path(folder) / "rows.journal.jsonl")
        for suffix in (".csv", ".parquet"):
            rows.save(Path(folder) / f"rows{suffix}")
        return {path.suffixes[-1]: path.stat().st_size / len(rows) for path in Path(folder).iterdir()}


def scheduler() -> dict[str, float]:
    """Empty tasks a second through a Dask scheduler with two workers on this machine."""
    from distributed import Client

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        dask = [sys.executable, "-m"]
        words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        processes = [subprocess.Popen([*dask, "distributed.cli.dask_scheduler", *words], cwd=folder, **quiet)]
        try:
            until(file.exists)
            address = json.loads(file.read_text())["address"]
            words = [address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"]
            processes.append(subprocess.Popen([*dask, "distributed.cli.dask_worker", *words], cwd=folder, **quiet))
            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(2)
                executor = client.get_executor()
                payload = pickle.dumps((row_task(networks(ROWS)), range(CHUNK)))

                def through() -> None:
                    for future in [executor.submit(len, payload) for _ in range(TASKS)]:
                        future.result()

                through()
                return {"tasks": TASKS / seconds(through)}
        finally:
            for process in reversed(processes):
                process.kill()


def main() -> None:
    import torch

    torch.set_num_threads(1)
    found: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
        "rows": ROWS,
    }
    space = networks(ROWS)
    for name, measure in {
        "in_process": lambda: in_process(space),
        "one": lambda: swept(space, 1),
        "two": lambda: swept(space, 2),
        "long": lambda: swept(networks(LONG), 2),
        "client": lambda: client(networks(20_000)),
        "sizes": lambda: sizes(space),
        "scheduler": scheduler,
    }.items():
        found[name] = measure()
        print(json.dumps({name: found[name]}), flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page(found))


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
