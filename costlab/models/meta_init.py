"""Build a network without memory for its weights, or with them where they are wanted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SMALL = 1 << 16  # elements: constant tensors up to this size keep their values

UNINITIALISED = {torch.empty, torch.Tensor.new_empty}
RANDOM = {torch.rand, torch.randn, torch.normal}
CONSTANT = {torch.zeros, torch.ones, torch.full}

# What constructors do to the values of a weight, which has none here.
METHODS = (
    "add_ bernoulli_ clamp_ copy_ div_ erfinv_ exponential_ fill_ log_ mul_ neg_ normal_ random_ sub_ uniform_ zero_"
)
INITIALISERS = "constant_ dirac_ eye_ kaiming_normal_ kaiming_uniform_ normal_ uniform_ xavier_normal_ xavier_uniform_"
IN_PLACE = {getattr(torch.Tensor, name) for name in METHODS.split()} | {
    getattr(torch.nn.init, name) for name in INITIALISERS.split()
}


WANTED = ContextVar("WANTED", default=False)  # whether weights are built for real


@contextmanager
def weights_wanted(wanted: bool) -> Iterator[None]:
    """Within the body `weightless` builds real weights, if they are wanted."""
    token = WANTED.set(wanted)
    try:
        yield
    finally:
        WANTED.reset(token)


class Weightless(TorchFunctionMode):
    """Uninitialised and random tensors, which is what weights are made of, go to the meta device; tables stay real."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in IN_PLACE:
            target = args[0] if args else kwargs["tensor"]
            if target.is_meta:
                return target
        if func in UNINITIALISED or func in RANDOM:
            kwargs = {**kwargs, "device": "meta"}
        elif func in CONSTANT and kwargs.get("device") is None:
            probe = func(*args, **{**kwargs, "device": "meta"})
            if probe.numel() > SMALL:
                return probe
        return func(*args, **kwargs)


def weightless(build: Callable[[], Any]) -> Any:
    """What `build` returns, without memory for weights wherever its constructor allows that.

    A constructor that computes with its weights fails without them: then all of it is built on the meta device, and
    where that fails too, for real. The last error is the caller's.
    """
    if WANTED.get():
        return build()
    state = torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for mode in (Weightless(), torch.device("meta")):
                try:
                    with mode:
                        return build()
                except Exception:  # the next way may do, and the last one tells what is wrong
                    continue
            return build()
    finally:
        torch.set_rng_state(state)
