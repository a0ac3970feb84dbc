"""The terminal: reports on stdout, progress bars on stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from costlab.cli.exits import CLOSED_PIPE
from costlab.core.files import write_text
from costlab.errors import CostlabError
from costlab.formatting.escaping import visible
from costlab.formatting.progress import progress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 100  # columns if stdout is not a terminal and COLUMNS is not set
NARROWEST, WIDEST = 40, 10_000
DELAY = 1.0  # seconds before a progress bar appears
PICTURES = (".png", ".svg", ".pdf")


def put(text: str, path: Path | None = None) -> None:
    """Write a report to a file, or to stdout."""
    if path is not None:
        write_text(path, text)
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails to flush it at exit
        raise typer.Exit(CLOSED_PIPE) from None


def render(
    form: str, output: Path | None, text: Callable[[int, bool], RenderableType], **others: Callable[[], str]
) -> str:
    """A report in one of its formats.

    Args:
        form: "text", or the name of one of `others`.
        output: the file that it is for; None for stdout.
        text: makes the text for a width, of ASCII characters only or not.
        others: make the report in the other formats.
    """
    if form != "text":
        return others[form]()
    console = console_for(output)
    return drawn(console, text(console.width, console.options.ascii_only))


def report_in(form: str, output: Path | None, report: Any, *about: Any) -> str:
    """A report on `about` in one of its formats.

    `report` is a module with a function for each format (`document` for JSON); `page` stands for text and Markdown.
    """
    if form in ("text", "markdown") and hasattr(report, "page"):
        page = report.page(*about)
        return render(form, output, page.text, markdown=page.markdown)
    if form == "text":
        return render(form, output, lambda width, ascii_only: report.text(*about, width, ascii_only))
    made: str = getattr(report, "document" if form == "json" else form)(*about)
    return made


def console_for(path: Path | None) -> Console:
    """A console as wide and as colourful as the place a report goes to."""
    from rich.console import Console

    if path is None and sys.stdout.isatty():
        width = Console().width
    else:
        columns = os.environ.get("COLUMNS", "")
        width = (int(columns) if columns.isdecimal() else 0) or PIPE_WIDTH
    width = min(max(width, NARROWEST), WIDEST)
    if path is None:
        return Console(width=width, highlight=False)
    return Console(width=width, highlight=False, file=io.StringIO(), color_system=None)


def drawn(console: Console, renderable: RenderableType) -> str:
    """What a console would print."""
    with console.capture() as capture:
        console.print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def check_folder(path: Path | None) -> None:
    """Raise CostlabError if a file could not be written after minutes of work because its folder does not exist."""
    if path is not None and not path.parent.is_dir():
        raise CostlabError(f"{path} cannot be written: the folder {path.parent} does not exist")


def check_picture(path: Path | None) -> None:
    """Raise CostlabError if a picture cannot be written to a file, because of its name or folder."""
    if path is not None and path.suffix.lower() not in PICTURES:
        raise CostlabError(f"{path} is not a supported picture: its name must end in {', '.join(PICTURES)}")
    check_folder(path)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show what the body does once it takes more than a second. What the body prints goes to stderr."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    with progress(TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()) as bar:
        if bar.disable:
            yield
            return
        bar.add_task(visible(what), total=None)
        timer = threading.Timer(DELAY, bar.start)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            bar.stop()


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar to be told how many of how many are done; none appears before it is told."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with progress(*columns) as bar:
        task = bar.add_task(visible(what), total=None)

        def show(done: int, of: int) -> None:
            if not bar.live.is_started:
                bar.start()
            bar.update(task, completed=done, total=of)

        try:
            yield show
        finally:
            bar.stop()


@contextlib.contextmanager
def measuring() -> Iterator[Callable[[str, float], None]]:
    """A bar to be told what is being done, and which part of all is done.

    It draws only when told: a thread that draws would disturb what is timed.
    """
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with progress(*columns, auto_refresh=False) as bar, bar:
        task = bar.add_task("preparing", total=1.0)
        yield lambda what, part: bar.update(task, description=visible(what), completed=part, refresh=True)
