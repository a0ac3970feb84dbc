"""Where rows are made: processes of this machine that end with the sweep, a Dask cluster, or the caller's executor."""

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

WAIT = "20s"  # for a scheduler to answer


@dataclass
class Pool:
    """An executor, and what to do when its processes die."""

    executor: Executor
    workers: Callable[[], int]  # rows under way at once
    renewed: Callable[[], Executor] | None = None  # None: the executor's owner repairs it


@contextlib.contextmanager
def local(jobs: int | None = None) -> Iterator[Pool]:
    """Processes of this machine, by default as many as there are cores for this one."""
    jobs = jobs or cores()
    context: Any = multiprocessing.get_context(
        "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    )
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["costlab.sweeps.preloading"])  # a process then starts in milliseconds
    lifeline, held = context.Pipe(duplex=False)

    def start() -> Executor:
        return ProcessPoolExecutor(jobs, context, living, (lifeline,))

    pool = Pool(start(), lambda: jobs, start)
    try:
        yield pool
        pool.executor.shutdown()
    finally:
        held.close()  # ends the processes, busy or not
        pool.executor.shutdown(wait=False, cancel_futures=True)
        lifeline.close()


def living(lifeline: Any) -> None:
    """Begin a process that ends with the one that holds the other end of the line, however that ends.

    What networks print goes to stderr; Ctrl-C is for the process that asks.
    """
    gc.freeze()  # what was imported stays: no use in looking through it again and again
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(sys.stderr.fileno(), 1)
    threading.Thread(target=ends_with, args=(lifeline,), daemon=True).start()


def ends_with(lifeline: Any) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(0)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Pool]:
    """The workers of a Dask scheduler such as `tcp://host:8786`. Raises CostlabError where none answers."""
    try:
        from distributed import Client
    except ImportError:
        raise CostlabError("Dask is not installed: pip install 'costlab[dask]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions: rows are checked for those that matter
        try:
            client = Client(address, timeout=WAIT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            what = " ".join(str(error).split())[:200]
            raise CostlabError(f"no Dask scheduler answers at {address}: {what}") from None
    with client:
        yield Pool(client.get_executor(), lambda: max(1, sum(client.nthreads().values())))


@contextlib.contextmanager
def given(executor: Executor) -> Iterator[Pool]:
    """The caller's own executor, which is left open."""
    workers = getattr(executor, "_max_workers", None) or cores()
    client = getattr(executor, "_client", None)
    yield Pool(executor, (lambda: max(1, sum(client.nthreads().values()))) if client else (lambda: workers))


def died(error: BaseException) -> bool:
    """Whether an error of a future says that the process died that was at it."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"
