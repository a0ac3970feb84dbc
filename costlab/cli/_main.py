"""The entry point: a command line in, an exit code out."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from costlab.cli.app import CliState, app
from costlab.cli.exits import FAILED, INTERRUPTED, one_line
from costlab.errors import CostlabError


def main() -> None:
    """The entry point of `costlab`."""
    gc.set_threshold(100_000, 20, 20)  # a short process makes little garbage, and torch is much to search through
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    leave(run(sys.argv[1:]))


def leave(code: int) -> None:
    """End the process, even if a network's own code left threads or child processes that Python would wait for."""
    threads = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if not threads and not child_processes():
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error is one line on stderr."""
    state = CliState()
    command = typer.main.get_command(app)
    try:
        if not all(map(is_valid_argument, arguments)):
            raise CostlabError("an argument contains a null character or an unpaired surrogate character")
        code = command.main(list(arguments), prog_name="costlab", standalone_mode=False, obj=state)
        return code or 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BaseException as error:  # also SystemExit: a model's code must not decide the exit code
        if state.traceback:
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return FAILED


def child_processes() -> list[Any]:
    """The processes that multiprocessing started and that still run."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing.active_children() if multiprocessing else []


def is_valid_argument(argument: str) -> bool:
    """Whether a shell could have passed an argument."""
    try:
        return b"\0" not in os.fsencode(argument)
    except UnicodeEncodeError:
        return False
