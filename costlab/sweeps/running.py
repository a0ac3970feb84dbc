"""`costlab.sweep`: every row of a design space, wherever it is made, and none of them twice."""

from __future__ import annotations

import itertools
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from pathlib import Path
from typing import Any

from costlab.core.conditions import parse_condition
from costlab.errors import CostlabError
from costlab.sweeps import pools
from costlab.sweeps.journal import Journal, opened
from costlab.sweeps.pools import Pool
from costlab.sweeps.results import State, Sweep
from costlab.sweeps.rows import Finished, Recipe, columns_of, finished, recipe_of, unfinished
from costlab.sweeps.space import Space, space_of

CHUNK_SECONDS = 1.5  # of work that go to a worker at once, or more
CHUNKS_A_SECOND = 200  # at most: what a scheduler does idly
FIRST_CHUNK, LARGEST_CHUNK = 4, 1000  # rows, before anything is known of their cost and at most
AHEAD = 2  # chunks under way for each worker, of which it is at one
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
    retry: bool = False,
    progress: Callable[[State], None] | None = None,
) -> Sweep:
    """What every network of a design space costs: rows in the order of the space, the same wherever they were made.

    A network that cannot be built, traced or finished in time is a row with its error.

    Args:
        space: `{"factory": "zoo:mobilenet_v1", "arguments": {"width": "0.25:1.0:0.25"}}`, or the path of a TOML file
            with these keys (docs/sweeps.md says which there are).
        executor: who runs the rows; by default processes of this machine.
        journal: a file that gets every row as soon as it is known, and from which an interrupted sweep goes on.
        jobs: how many processes; by default one for each core.
        cluster: the address of a Dask scheduler, `tcp://host:8786`.
        retry: make rows that failed once more.
        progress: called with how far the sweep is, after each handful of rows.

    Raises:
        CostlabError: there is no such space, the journal cannot be written, or the workers are gone.
    """
    if (executor is not None) + (jobs is not None) + (cluster is not None) > 1:
        raise CostlabError("a sweep runs on an executor, on so many jobs, or on a cluster: name one of them")
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise CostlabError(f"jobs are 1 or more processes; {jobs!r} is not")
    space = space_of(space)
    columns = columns_of(space)
    kept = parse_condition(space.where, columns) if space.where else None
    recipe = recipe_of(space)
    with opened(Path(journal) if journal is not None else None) as file:
        offsets, state = found(space, file, retry)
        tell = progress or (lambda _: None)
        tell(state)
        if state.left:
            source = pools.cluster(cluster) if cluster else pools.given(executor) if executor else pools.local(jobs)
            with source as pool:
                for batch in computed(recipe, missing(offsets), pool, state):
                    record(batch, file, offsets, state)
                    tell(state)
    first = file.row(offsets[0])["error"] if state.failed else None
    whole = Sweep(space, columns, file, offsets, state, first)
    return whole.filtered(kept) if kept else whole


def found(space: Space, journal: Journal, retry: bool) -> tuple[array[int], State]:
    """Where the journal has each row of a space, MISSING where it does not."""
    known: dict[str, tuple[int, bool]] = {}
    for entry in journal.entries():
        known[entry.key] = entry.offset, entry.failed
    offsets, state = array("q", [MISSING]) * len(space), State(len(space))
    for position, values in enumerate(space) if known else ():
        offset, failed = known.get(space.key(values), (MISSING, False))
        if offset != MISSING and not (failed and retry):
            offsets[position] = offset
            state.known += 1
            state.failed += failed
    return offsets, state


def missing(offsets: Sequence[int]) -> Iterator[int]:
    """The positions whose rows are not known."""
    return (position for position, offset in enumerate(offsets) if offset == MISSING)


def record(batch: Sequence[Finished], journal: Journal, offsets: array[int], state: State) -> None:
    """Write rows to the journal, each once however often it comes."""
    new = [row for row in {row.position: row for row in batch}.values() if offsets[row.position] == MISSING]
    for row, offset in zip(new, journal.append([row.line for row in new]), strict=True):
        offsets[row.position] = offset
        state.computed += 1
        state.failed += row.failed
        state.seconds += row.seconds


def computed(recipe: Recipe, positions: Iterator[int], pool: Pool, state: State) -> Iterator[list[Finished]]:
    """Rows in the order in which they are finished, in batches.

    Positions go out in chunks, few ahead of the workers. Where a process dies, everything that was under way is suspect
    and goes out again, one chunk at a time; a chunk that kills then goes out row by row, and a row that kills then has
    the error.
    """
    under_way: dict[Future[list[Finished]], Chunk] = {}
    suspects: deque[Chunk] = deque()
    left, pace = state.left, 0.0

    def submit(chunk: Chunk) -> None:
        try:
            under_way[pool.executor.submit(finished, recipe, chunk)] = chunk
        except BrokenExecutor:  # a process died just now; what is under way will say so
            suspects.appendleft(chunk)
            if not under_way:
                renew(pool, state)

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
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            chunk = under_way.pop(future)
            error = error_of(future)
            if error is None:
                batch = future.result()
                seconds = sum(row.seconds for row in batch) / len(batch)
                pace = (pace + seconds) / 2 if pace else seconds
                yield batch
            elif pools.died(error):
                dead.append(chunk)
                broken |= isinstance(error, BrokenExecutor)
            else:
                raise of_worker(error) from error
        if broken:
            dead += under_way.values()
            under_way.clear()
            renew(pool, state)
        if not on_trial:
            suspects.extend(dead)
        for chunk in dead if on_trial else ():
            if len(chunk) > 1:
                suspects.extendleft((position,) for position in reversed(chunk))
            else:
                yield [unfinished(recipe, chunk[0], DIED)]


def chunk_size(left: int, pace: float, workers: int) -> int:
    """Rows for one worker at a pace in seconds a row; towards the end fewer, so that all workers end together."""
    wanted = max(CHUNK_SECONDS, workers / CHUNKS_A_SECOND) / pace if pace else FIRST_CHUNK
    return max(1, min(int(wanted), LARGEST_CHUNK, -(-left // (AHEAD * workers))))


def error_of(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def of_worker(error: BaseException) -> CostlabError:
    """The message for an error that no network caused."""
    if isinstance(error, CostlabError):
        return error
    if isinstance(error, CancelledError):
        return CostlabError("the workers are gone; the rows that the journal has are safe: run it again")
    what = " ".join(str(error).split())[:300]
    return CostlabError(f"a worker fails: {type(error).__name__}: {what}")


def renew(pool: Pool, state: State) -> None:
    """Restart processes after one died. Raises CostlabError if they cannot run."""
    if pool.renewed is None:
        raise CostlabError("the executor is broken: a process died; the rows that the journal has are safe")
    pool.executor.shutdown(wait=False)
    pool.executor = pool.renewed()
    if not state.computed:
        try:
            pool.executor.submit(int).result()
        except BrokenExecutor:
            raise CostlabError(
                "the worker processes die as they start; a script calls costlab.sweep under"
                ' `if __name__ == "__main__":`, as they import it'
            ) from None
