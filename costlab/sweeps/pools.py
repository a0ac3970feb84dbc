"""Where rows are computed: processes of this machine, a Dask cluster, or the caller's executor."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from costlab.errors import CostlabError

TIMEOUT = "20s"  # for a scheduler to answer


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
        pool.executor.shutdown()
    finally:
        held_open.close()  # ends the processes, even busy ones
        pool.executor.shutdown(wait=False, cancel_futures=True)
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
def dask_cluster(address: str) -> Iterator[WorkerPool]:
    """The workers of a Dask scheduler, such as `tcp://host:8786`. Raises CostlabError if it does not answer."""
    try:
        from distributed import Client
    except ImportError:
        raise CostlabError("Dask is not installed: pip install 'costlab[dask]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about versions: workers check those that matter
        try:
            client = Client(address, timeout=TIMEOUT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            what = " ".join(str(error).split())[:200]
            raise CostlabError(f"no Dask scheduler answers at {address}: {what}") from None
    with client, caller_executor(client.get_executor()) as pool:
        yield pool


@contextlib.contextmanager
def caller_executor(executor: Executor) -> Iterator[WorkerPool]:
    """The caller's own executor, which stays open; one of Dask grows and shrinks with its cluster."""
    workers = getattr(executor, "_max_workers", None) or cores()
    client = getattr(executor, "_client", None)
    yield WorkerPool(executor, (lambda: max(1, sum(client.nthreads().values()))) if client else (lambda: workers))


def is_worker_death(error: BaseException) -> bool:
    """Whether the error of a future says that its process died."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"
