"""Call functions in a new process each, so that none affects the next."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

PATIENCE = 180.0  # seconds


class BrokenError(Exception):
    """The function raised, ended its process or took too long; in one line."""


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, called in a fork of this process, which should have imported torch but not used it.

    Raises:
        BrokenError: it came to no end.
    """
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE):
            raise BrokenError(f"no end after {PATIENCE:.0f} s")
        done, result = ours.recv()
    except EOFError:
        process.join()
        raise BrokenError(f"the process ended with {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if not done:
        raise BrokenError(result)
    return result


def answer(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        message = True, function(*arguments)
    except Exception as error:
        message = False, one_line(error)
    pipe.send(message)


def one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
