"""A function in a process of its own, with limits on time and memory."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any

MISSING = ("out of time", "out of memory")  # what came instead of an answer


def isolated(function: Callable[[], dict[str, Any]], seconds: float, gibibytes: int) -> dict[str, Any]:
    """What `function` returns in a forked process, as JSON keeps it; `{"error": ...}` if it did not come to an end.

    Adds `seconds` of wall time and `mebibytes`, by which the peak of the resident memory rose.
    """
    reader, writer = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        answer(function, writer, gibibytes)
    os.close(writer)
    received = read_until(reader, start + seconds)
    if received is None:
        os.kill(pid, signal.SIGKILL)
    os.close(reader)
    os.waitpid(pid, 0)
    took = round(time.monotonic() - start, 2)
    try:
        return {**json.loads(received or b""), "seconds": took}
    except ValueError:
        return {"error": MISSING[received is not None], "seconds": took}


def answer(function: Callable[[], dict[str, Any]], writer: int, gibibytes: int) -> None:
    """Run the function, write what it returns, and end the process."""
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        resource.setrlimit(resource.RLIMIT_AS, (gibibytes << 30,) * 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = function()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps({**result, "mebibytes": (peak - before) >> 10}).encode())
    finally:
        os._exit(0)


def read_until(reader: int, end: float) -> bytes | None:
    """All that comes through a pipe; None if it is not closed in time."""
    received = b""
    while time.monotonic() < end:
        if select.select([reader], [], [], 1)[0]:
            part = os.read(reader, 1 << 16)
            if not part:
                return received
            received += part
    return None
