"""The terminal: what goes to stdout, and the progress bar on stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from costlab.core.files import write_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 100  # where there is no terminal to ask, and no COLUMNS
NARROWEST = 40
NOBODY_READS = 141  # exit code of a closed pipe, as shells give it
PATIENCE = 1.0  # seconds before a progress bar appears


def put(text: str, path: Path | None) -> None:
    """Write a report to a file, or to stdout."""
    if path is not None:
        write_text(path, text)
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails to flush it at exit
        raise typer.Exit(NOBODY_READS) from None


def console_for(path: Path | None) -> Console:
    """How wide and how colourful a report may be where it goes."""
    from rich.console import Console

    if path is None and sys.stdout.isatty():
        width = Console().width
    else:
        columns = os.environ.get("COLUMNS", "")
        width = (int(columns) if columns.isdecimal() else 0) or PIPE_WIDTH
    width = max(width, NARROWEST)
    if path is None:
        return Console(width=width, highlight=False)
    return Console(width=width, highlight=False, file=io.StringIO(), color_system=None)


def drawn(console: Console, renderable: RenderableType) -> str:
    """What `console` would print."""
    with console.capture() as capture:
        console.print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show a bar on a terminal where the body takes more than a second. What the body prints goes to stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with contextlib.redirect_stdout(sys.stderr):
        console = Console(stderr=True)
        if not console.is_interactive:
            yield
            return
        columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
        bar = Progress(*columns, console=console, transient=True)
        bar.add_task(what, total=None)
        timer = threading.Timer(PATIENCE, bar.start)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            bar.stop()
