"""Where rows are computed: processes of this machine, a Dask cluster, or the caller's executor."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass
class WorkerPool:
    """An executor, and how to replace it if its processes die."""

    executor: Executor
    workers: Callable[[], int]  # rows computed at once
    restart: Callable[[], Executor] | None = None  # None: the executor's owner restarts it


@contextlib.contextmanager
def local_processes(jobs: int | None = None) -> Iterator[WorkerPool]:
    """Processes of this machine, by default one per core. They end with this process, however it ends."""
    jobs = jobs or cores()
    forking = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if forking else "spawn")
    if forking:
        context.set_forkserver_preload(["costlab.sweeps.preloading"])  # processes then start in milliseconds
    lifeline, held_open = context.Pipe(duplex=False)

    def start() -> Executor:
        return ProcessPoolExecutor(jobs, context, start_worker, (lifeline,))

    pool = WorkerPool(start(), lambda: jobs, start)
    try:
        yield pool
    finally:
        held_open.close()  # ends the processes, even busy ones, whatever threads a network left in them
        pool.executor.shutdown(cancel_futures=True)
        lifeline.close()


def start_worker(lifeline: Any) -> None:
    """Prepare a worker process: it ends when the other end of the lifeline closes.

    Networks that print write to stderr; Ctrl-C is left to the main process.
    """
    gc.freeze()  # imported modules stay: no need to scan them again
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(sys.stderr.fileno(), 1)
    threading.Thread(target=exit_with, args=(lifeline,), daemon=True).start()


def exit_with(lifeline: Any) -> None:
    """End this process when the other end of the lifeline closes."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(0)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def caller_executor(executor: Executor) -> Iterator[WorkerPool]:
    """The caller's own executor, which stays open."""
    workers = getattr(executor, "_max_workers", None) or cores()
    yield WorkerPool(executor, lambda: workers)


def is_worker_death(error: BaseException) -> bool:
    """Whether the error of a future says that its process died."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"
