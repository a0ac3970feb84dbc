"""Layers that a network runs in threads of its own: recorded as if they ran one after another."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures.thread import _worker
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from costlab.errors import CostlabError
from costlab.tracing.autograd import AUTOGRAD, exclude_autograd, grad_mode
from costlab.tracing.recorder import Recorder
from costlab.tracing.restoration import replaced

SLICE = 0.1  # seconds that a thread goes on before another may
SECONDS = 5.0  # after which a thread is taken to wait for something that only comes later
sequence_number: Callable[[], int] = torch._C._autograd._get_sequence_nr


@contextmanager
def threads_finishing() -> Iterator[None]:
    """In the body, another thread that has begun goes on for up to a tenth of a second before the network does.

    A thread that samples what others run, as a Dask worker's does, refers to their frames meanwhile, and so to tensors
    that the network no longer holds.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(before, SLICE))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def threads_recorded(recorder: Recorder, ours: set[int]) -> Iterator[None]:
    """In the body, a thread that the network starts, or gives work, is recorded to its end before the network goes on.

    Args:
        ours: identities of the threads that belong to the forward pass.
    """
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit

    def started(thread: threading.Thread) -> None:
        if threading.get_ident() not in ours or thread._target is _worker:  # type: ignore[attr-defined]
            return start(thread)
        done: Future[int] = Future()
        thread.run = under(recorder, ours, thread.run, done)  # type: ignore[method-assign]
        thread.daemon = True  # one that never ends must not keep Python from ending
        start(thread)
        await_end(done)

    def submitted(pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if threading.get_ident() not in ours:
            return submit(pool, function, *args, **kwargs)
        done: Future[int] = Future()
        future = submit(pool, under(recorder, ours, function, done), *args, **kwargs)
        await_end(done)
        return future

    with replaced(threading.Thread, "start", started), replaced(ThreadPoolExecutor, "submit", submitted):
        yield


def under(recorder: Recorder, ours: set[int], function: Callable[..., Any], done: Future[int]) -> Callable[..., Any]:
    """A function that another thread will run: under the recorder, with what torch knows of this thread.

    Args:
        done: gets the sequence number of autograd at the end.
    """
    excluded = torch._C._dispatch_tls_is_dispatch_key_excluded(AUTOGRAD[0])
    gradients, lifting, number = torch.is_grad_enabled(), torch._C._only_lift_cpu_tensors(), sequence_number()

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        thread = threading.get_ident()
        ours.add(thread)
        catch_up(number)
        with torch._C._PreserveDispatchKeyGuard():
            exclude_autograd(excluded)
            grad_mode(gradients)
            torch._C._set_only_lift_cpu_tensors(lifting)
            try:
                with recorder:
                    return function(*args, **kwargs)
            finally:
                grad_mode(True)
                torch._C._set_only_lift_cpu_tensors(False)
                ours.discard(thread)
                done.set_result(sequence_number())

    return run


def await_end(done: Future[int]) -> None:
    """Wait until a thread has done its work. Raises CostlabError if it waits for something."""
    if wait([done], SECONDS).not_done:
        raise CostlabError(
            f"a thread that forward starts has not ended after {SECONDS:g} s; costlab runs threads one after another: "
            "call what it runs directly while you profile"
        )
    catch_up(done.result())


def catch_up(number: int) -> None:
    """Let the next node that autograd makes in this thread have at least this number: threads count for themselves."""
    before = torch.is_grad_enabled()
    with _disable_current_modes(), torch._C._PreserveDispatchKeyGuard():
        exclude_autograd(False)
        grad_mode(True)
        leaf = torch.empty(0, requires_grad=True)
        while sequence_number() < number:
            leaf.view(0)
    grad_mode(before)
