"""A time limit for a block of code."""

import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GRACE = 2.0  # seconds between interrupting a block and ending its process


class DeadlineExceeded(BaseException):
    """The time is up. Not an Exception, so that networks do not catch it."""


@contextmanager
def deadline(seconds: float, expired: threading.Event, fatal: bool) -> Iterator[None]:
    """Raise DeadlineExceeded in the body after this time. One body at a time per process.

    `expired` is set first, because the body may turn the exception into another one. If `fatal`, a body that never
    returns to Python, and cannot be interrupted, ends with its process: faulthandler watches it without Python.
    """
    if fatal:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=NOWHERE)
    by_signal = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    try:
        with interrupted_by_signal(seconds, expired) if by_signal else interrupted_by_thread(seconds, expired):
            yield
    finally:
        if fatal:
            faulthandler.cancel_dump_traceback_later()


NOWHERE = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process lives


@contextmanager
def interrupted_by_signal(seconds: float, expired: threading.Event) -> Iterator[None]:
    """Interrupt the body by a signal, which also interrupts waiting; main thread only."""

    def interrupt(*_: Any) -> None:
        expired.set()
        raise DeadlineExceeded

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def interrupted_by_thread(seconds: float, expired: threading.Event) -> Iterator[None]:
    """Interrupt the body by an exception set from another thread, raised when this thread next runs Python."""
    thread, lock = ctypes.c_ulong(threading.get_ident()), threading.Lock()

    def interrupt() -> None:
        with lock:
            if timer.is_alive() and not timer.finished.is_set():
                expired.set()
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(DeadlineExceeded))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            timer.cancel()
