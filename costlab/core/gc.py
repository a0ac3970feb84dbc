"""Pausing the garbage collector while a large structure is built that stays alive."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection in the body, which frees nothing; also usable as a decorator.

    Every collection would visit all live objects, torch's own included.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
