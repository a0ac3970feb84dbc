"""Where rows are computed: processes of this machine, a Dask cluster, or the caller's executor."""

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
    groups = context.SimpleQueue()  # the process group of every worker

    def start() -> Executor:
        end_groups(groups)
        return ProcessPoolExecutor(jobs, context, start_worker, (lifeline, groups))

    pool = WorkerPool(start(), lambda: jobs, start)
    try:
        yield pool
    finally:
        held_open.close()  # ends the processes, even busy ones, whatever threads a network left in them
        pool.executor.shutdown(cancel_futures=True)
        end_groups(groups)
        lifeline.close()
        groups.close()


def start_worker(lifeline: Any, groups: Any) -> None:
    """Prepare a worker process: it ends when the other end of the lifeline closes.

    Processes that networks start are in its group, and end with it. Networks that print write to stderr; Ctrl-C is left
    to the main process.
    """
    gc.freeze()  # imported modules stay: no need to scan them again
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
        groups.put(os.getpid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(sys.stderr.fileno(), 1)
    threading.Thread(target=exit_with, args=(lifeline,), daemon=True).start()


def exit_with(lifeline: Any) -> None:
    """End this process when the other end of the lifeline closes."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    end_group(os.getpid())
    os._exit(0)


def end_groups(groups: Any) -> None:
    """End what is left of the process groups of workers: those that died left the processes of their networks."""
    while not groups.empty():
        end_group(groups.get())


def end_group(leader: int) -> None:
    """End the processes of a group, if any is left."""
    with contextlib.suppress(AttributeError, OSError):  # no groups on this system; none left
        os.killpg(leader, signal.SIGKILL)


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
