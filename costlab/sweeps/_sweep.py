"""`costlab.sweep`: every row of a design space, computed once, wherever its workers are."""

from __future__ import annotations

import contextlib
import itertools
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from costlab.core.conditions import parse_condition
from costlab.errors import CostlabError
from costlab.sweeps import pools
from costlab.sweeps.columns import ERROR, all_columns, row_checker
from costlab.sweeps.dask_cluster import dask_cluster, dask_executor
from costlab.sweeps.journal import Journal, open_journal
from costlab.sweeps.pools import WorkerPool
from costlab.sweeps.progress import progress_bar
from costlab.sweeps.results import Sweep, SweepState
from costlab.sweeps.rows import FinishedRow, RowTask, compute_rows, failed_row, row_task
from costlab.sweeps.space import Space, space_of

CHUNK_SECONDS = 1.5  # of work that a worker gets at once, at least
CHUNKS_A_SECOND = 200  # at most: a scheduler handles these without effort
FIRST_CHUNK, LARGEST_CHUNK = 4, 1000  # rows, before their cost is known and at most
AHEAD = 2  # chunks per worker, one of them being computed
POLL = 5.0  # seconds between two looks at the workers while nothing is finished
MISSING = -1
DIED = "its worker process died: out of memory, or a crash"

Chunk = tuple[int, ...]  # positions in the space


def sweep(
    space: Space | Mapping[str, Any] | str | Path,
    executor: Executor | None = None,
    *,
    journal: str | Path | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    tls: Mapping[str, str | Path] | None = None,
    retry: bool = False,
    progress: Callable[[SweepState], None] | bool = False,
) -> Sweep:
    """Profile every network of a design space. The rows are in the order of the space, and equal wherever they run.

    A network that cannot be built, traced or finished in time is a row with its error.

    Args:
        space: `{"factory": "zoo:mobilenet_v1", "arguments": {"width": "0.25:1.0:0.25"}}`, or the path of a TOML file
            with these keys (docs/sweeps.md lists all keys).
        executor: runs the rows. Default: processes of this machine.
        journal: a file that gets every row as soon as it is known; an interrupted sweep continues from it.
        jobs: number of processes. Default: one per core.
        cluster: address of a Dask scheduler, `tcp://host:8786` or `tls://host:8786`. Its workers run the factory's
            code, and this process unpickles their answers: use only a cluster you trust.
        tls: PEM files for a `tls://` address: `{"ca": ..., "cert": ..., "key": ...}`. Default: Dask's configuration.
        retry: compute rows that failed before again.
        progress: True shows a bar, on a terminal's stderr or in a notebook. Or a function, called with the state of
            the sweep after each batch of rows.

    Raises:
        CostlabError: the space is invalid, the journal cannot be written, or the workers are gone.
    """
    if (executor is not None) + (jobs is not None) + (cluster is not None) > 1:
        raise CostlabError("give at most one of executor, jobs and cluster")
    if tls is not None and cluster is None:
        raise CostlabError("TLS files need a cluster: give the address of a Dask scheduler")
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise CostlabError(f"jobs must be a positive integer, got {jobs!r}")
    space = space_of(space)
    columns = all_columns(space)
    condition = parse_condition(space.where, columns) if space.where else None
    task = row_task(space)
    bar = progress_bar() if progress is True else contextlib.nullcontext(progress or (lambda _: None))
    with open_journal(Path(journal) if journal is not None else None) as file, bar as report:
        offsets, state = known_rows(space, file, retry)
        report(state)
        if state.left:
            with worker_pool(executor, jobs, cluster, tls) as pool:
                missing = (position for position, offset in enumerate(offsets) if offset == MISSING)
                for batch in compute(task, missing, pool, state):
                    record(batch, file, offsets, state)
                    report(state)
    first = file.row(offsets[0])["error"] if state.failed else None
    whole = Sweep(space, columns, file, offsets, state, first)
    return whole.filtered(condition) if condition else whole


def worker_pool(
    executor: Executor | None, jobs: int | None, cluster: str | None, tls: Mapping[str, str | Path] | None
) -> AbstractContextManager[WorkerPool]:
    """The workers that a caller asked for."""
    if cluster:
        return dask_cluster(cluster, tls)
    if executor is None:
        return pools.local_processes(jobs)
    client = getattr(executor, "_client", None)
    return dask_executor(executor, client) if client else pools.caller_executor(executor)


def known_rows(space: Space, journal: Journal, retry: bool) -> tuple[array[int], SweepState]:
    """The offset of each row of a space in the journal, MISSING for rows to compute."""
    known: dict[str, tuple[int, bool]] = {}
    damaged: dict[str, int] = {}  # the line of a row
    is_row = row_checker(space)
    for entry in journal.entries():
        if is_row(entry.row):
            known[entry.row["key"]] = entry.offset, entry.row[ERROR] is not None
        else:
            damaged[entry.row["key"]] = entry.line
    offsets, state = array("q", [MISSING]) * len(space), SweepState(len(space))
    for position, values in enumerate(space) if known or damaged else ():
        key = space.key(values)
        offset, failed = known.get(key, (MISSING, False))
        if offset == MISSING and key in damaged:
            journal.skip(damaged[key])
        if offset != MISSING and not (failed and retry):
            offsets[position] = offset
            state.known += 1
            state.failed += failed
    return offsets, state


def record(batch: Sequence[FinishedRow], journal: Journal, offsets: array[int], state: SweepState) -> None:
    """Write rows to the journal, each once even if it comes twice."""
    new = [row for row in {row.position: row for row in batch}.values() if offsets[row.position] == MISSING]
    for row, offset in zip(new, journal.append([row.line for row in new]), strict=True):
        offsets[row.position] = offset
        state.computed += 1
        state.failed += row.failed
        state.seconds += row.seconds


def compute(
    task: RowTask, positions: Iterator[int], pool: WorkerPool, state: SweepState
) -> Iterator[list[FinishedRow]]:
    """Batches of rows in the order in which they finish.

    Positions are submitted in chunks, few ahead of the workers. If a process dies, every chunk under way is suspect and
    is submitted again, one at a time; a chunk that then kills its process is split into rows, and a row that does gets
    the error.
    """
    under_way: dict[Future[list[FinishedRow]], Chunk] = {}
    suspects: deque[Chunk] = deque()
    left, pace = state.left, 0.0

    def submit(chunk: Chunk) -> None:
        try:
            under_way[pool.executor.submit(compute_rows, task, chunk)] = chunk
        except BrokenExecutor:  # a process just died; the futures under way will report it
            suspects.appendleft(chunk)
            if not under_way:
                restart(pool, state)

    while True:
        on_trial = bool(suspects) and not under_way
        if on_trial:
            submit(suspects.popleft())
        while not on_trial and not suspects and len(under_way) < AHEAD * pool.workers():
            chunk = tuple(itertools.islice(positions, chunk_size(left, pace, pool.workers())))
            if not chunk:
                break
            left -= len(chunk)
            submit(chunk)
        if not under_way and not suspects:
            return
        broken, dead = False, []
        while not (done := wait(under_way, POLL, FIRST_COMPLETED).done) and under_way:
            pool.workers()  # raises if they are gone for good
        for future in done:
            chunk = under_way.pop(future)
            error = error_of(future)
            if error is None:
                batch = future.result()
                seconds = sum(row.seconds for row in batch) / len(batch)
                pace = (pace + seconds) / 2 if pace else seconds
                yield batch
            elif pools.is_worker_death(error):
                dead.append(chunk)
                broken |= isinstance(error, BrokenExecutor)
            else:
                raise worker_error(error) from error
        if broken:
            dead += under_way.values()
            under_way.clear()
            restart(pool, state)
        if not on_trial:
            suspects.extend(dead)
        for chunk in dead if on_trial else ():
            if len(chunk) > 1:
                suspects.extendleft((position,) for position in reversed(chunk))
            else:
                yield [failed_row(task, chunk[0], DIED)]


def chunk_size(left: int, pace: float, workers: int) -> int:
    """Rows for one worker at a pace in seconds per row; fewer towards the end, so that all workers end together."""
    target = max(CHUNK_SECONDS, workers / CHUNKS_A_SECOND) / pace if pace else FIRST_CHUNK
    return max(1, min(int(target), LARGEST_CHUNK, -(-left // (AHEAD * workers))))


def error_of(future: Future[Any]) -> BaseException | None:
    """The error of a future that is done, a cancellation included."""
    try:
        return future.exception()
    except CancelledError as error:
        return error


def worker_error(error: BaseException) -> CostlabError:
    """The error to raise for one that no network caused."""
    if isinstance(error, CostlabError):
        return error
    if isinstance(error, CancelledError):
        return CostlabError("the workers are gone; the rows in the journal are safe: run the sweep again")
    what = " ".join(str(error).split())[:300]
    return CostlabError(f"a worker failed: {type(error).__name__}: {what}")


def restart(pool: WorkerPool, state: SweepState) -> None:
    """Start new processes after one died. Raises CostlabError if they cannot start."""
    if pool.restart is None:
        raise CostlabError("the executor is broken: a process died; the rows in the journal are safe")
    pool.executor.shutdown(wait=False)
    pool.executor = pool.restart()
    if not state.computed:
        try:
            pool.executor.submit(int).result()
        except BrokenExecutor:
            raise CostlabError(
                "the worker processes die at start-up: a script must call costlab.sweep under"
                ' `if __name__ == "__main__":`, because workers import it'
            ) from None
