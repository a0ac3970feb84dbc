"""Garbage collection, put off where everything that is made lives on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection in the body: what it makes lives to its end or longer, so looking is in vain.

    Each look would visit all that lives, torch's own objects included. Decorates functions as well.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
