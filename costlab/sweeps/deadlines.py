"""Stop a body that takes too long."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GRACE = 2.0  # seconds from asking a body to stop to ending its process


class Expired(BaseException):
    """The time is up. No Exception, or networks would catch it."""


@contextmanager
def deadline(seconds: float, fatal: bool) -> Iterator[None]:
    """Raise Expired in the body after so many seconds.

    A body that does not return to Python, and so cannot be asked, ends with its process where `fatal` allows it: the
    watch is kept without Python. Only one body at a time can be watched in a process.
    """
    if fatal:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=NOWHERE)
    try:
        with alarm(seconds) if in_main_thread() and hasattr(signal, "setitimer") else summons(seconds):
            yield
    finally:
        if fatal:
            faulthandler.cancel_dump_traceback_later()


NOWHERE = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """By a signal, which ends waiting as well; main thread only."""

    def ring(*_: Any) -> None:
        raise Expired

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def summons(seconds: float) -> Iterator[None]:
    """By an exception set from another thread, which takes effect once Python runs in this one."""
    thread, over = ctypes.c_ulong(threading.get_ident()), threading.Lock()

    def ring() -> None:
        with over:
            if timer.is_alive() and not timer.finished.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(Expired))

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with over:
            timer.cancel()
