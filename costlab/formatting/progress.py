"""Progress bars that disappear when they are done: on a terminal's stderr, and in notebooks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


@contextlib.contextmanager
def progress(*columns: ProgressColumn, auto_refresh: bool = True) -> Iterator[Progress]:
    """A progress bar, if stderr is a terminal or this is a notebook. What the body prints goes to stderr."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    quiet = not (console.is_interactive or console.is_jupyter)
    bar = Progress(*columns, console=console, transient=True, auto_refresh=auto_refresh, disable=quiet)
    with contextlib.redirect_stdout(sys.stderr):
        yield bar
