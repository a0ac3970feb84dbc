"""The entry point: a command line in, an exit code out."""

import _thread
import contextlib
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

from costlab.cli.app import CliState, app
from costlab.cli.exits import FAILED, INTERRUPTED, one_line
from costlab.errors import CostlabError


def main() -> None:
    """The entry point of `costlab`."""
    gc.set_threshold(100_000, 20, 20)  # a short process makes little garbage, and torch is much to search through
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch's C++ code prints warnings, past Python
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.unraisablehook = raise_again
    leave(run(sys.argv[1:]))


def raise_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send Ctrl-C once more if it came in a callback, out of which nothing can be raised; print any other error."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)


def leave(code: int) -> None:
    """End the process, with all threads and child processes that a network's own code left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: Ctrl-C would only break Python's own clean-up
    waits = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if "multiprocessing" in sys.modules:
        waits += sys.modules["multiprocessing"].active_children()
    for child in child_processes():
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGTERM)  # which the helper process of multiprocessing ignores, as it must
    if not waits:
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


def child_processes() -> list[int]:
    """The processes that this one started and that still run, where the system lists them."""
    with contextlib.suppress(OSError):
        tasks = Path("/proc/self/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]
    return []


def is_valid_argument(argument: str) -> bool:
    """Whether a shell could have passed an argument."""
    try:
        return b"\0" not in os.fsencode(argument)
    except UnicodeEncodeError:
        return False
