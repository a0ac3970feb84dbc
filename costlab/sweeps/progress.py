"""The progress of a sweep as a bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from costlab.formatting import units
from costlab.formatting.progress import progress
from costlab.sweeps.results import SweepState


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[SweepState], None]]:
    """A bar with the rate, the remaining time and the failures."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    remaining = TimeRemainingColumn(elapsed_when_finished=True)
    with progress(BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), remaining) as bar, bar:
        task = bar.add_task("")

        def show(state: SweepState) -> None:
            elapsed = bar.tasks[0].elapsed
            rate = f"{units.rate(state.computed / elapsed)}/s" if state.computed and elapsed else ""
            failed = f"{units.exact(state.failed)} failed" if state.failed else ""
            bar.update(
                task, total=state.rows, completed=state.rows - state.left, description=f"{rate} {failed}".strip()
            )

        yield show
