"""Tensors without data that outlive a trace in caches of the network's code, and how to be rid of them.

Tensors with values are ordinary ones, right for any later use. One without data would break the next call to find it.
"""

import contextlib
import functools
import gc
import sys
import types
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import torch

from costlab.tracing.tensors import is_meta

Globals = list[tuple[dict[str, Any], dict[str, Any]]]  # of a module, now and before


def globals_of(modules: Iterable[torch.nn.Module]) -> Globals:
    """The global variables of the Python modules that define a network."""
    names = dict.fromkeys(type(module).__module__ for module in modules)
    found = [sys.modules[name] for name in names if name in sys.modules and not name.startswith("torch.")]
    return [(vars(module), dict(vars(module))) for module in found]


def forget(references: list[weakref.ref[torch.Tensor]], before: Globals, failed: bool) -> None:
    """Take tensors without data out of whatever still holds them; warns of those that stay.

    After a failure the frames of its traceback hold some, which is harmless.
    """
    if next(iter(alive(references)), None) is None:
        return
    gc.collect()
    for _ in range(3):  # a tensor in a tuple in a cache
        left = list(alive(references))
        if not left:
            return
        remove(left, before)
        del left
    left = list(alive(references))
    holders = {type(holder).__name__ for holder in gc.get_referrers(*left) if holder is not left} if left else set()
    if holders and not failed:
        warnings.warn(
            f"{len(left)} tensors without data are kept by the network's code ({', '.join(sorted(holders))}): "
            "start a new process before you train or run it",
            stacklevel=2,
        )


def alive(references: list[weakref.ref[torch.Tensor]]) -> Iterable[torch.Tensor]:
    """The tensors that are still referred to."""
    return (tensor for reference in references if (tensor := reference()) is not None and is_meta(tensor))


def remove(objects: list[Any], before: Globals, depth: int = 3) -> None:
    """Take objects out of dictionaries, lists, sets and caches; out of tuples and the like, with these."""
    wanted = {id(value) for value in objects}
    old = {id(now): then for now, then in before}
    holders: list[Any] = []
    for holder in gc.get_referrers(*objects):
        if holder is objects or isinstance(holder, types.FrameType) or holder is wanted:
            continue
        if isinstance(holder, functools._lru_cache_wrapper):
            holder.cache_clear()
        elif isinstance(holder, dict):
            for key in [key for key, value in holder.items() if id(value) in wanted]:
                if key in old.get(id(holder), ()):
                    holder[key] = old[id(holder)][key]
                elif "__name__" not in holder or id(holder) in old:
                    with contextlib.suppress(Exception):  # a dictionary that refuses to lose an entry
                        del holder[key]
        elif isinstance(holder, list):
            holder[:] = [value for value in holder if id(value) not in wanted]
        elif isinstance(holder, (tuple, set)):
            holders.append(holder)
    if holders and depth:
        remove(holders, before, depth - 1)
