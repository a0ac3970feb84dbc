"""Build a network without memory for its weights."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from costlab.tracing.tensors import all_tensors, moved, on_meta

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

Built = TypeVar("Built")
Construct = Callable[[Callable[[], Any]], Any]  # calls a factory: `weightless`, or `plain` for real weights


class Weightless(TorchFunctionMode):
    """Put weights on the meta device: all uninitialised and random tensors, and what is computed from them.

    Small constant tensors keep their values, since networks build tables and sizes from them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.needs_values = False  # whether an operator failed on a weight because it has no values

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in IN_PLACE:
            target = args[0] if args else kwargs["tensor"]
            if target.is_meta:
                return target
        if func is torch.Tensor.to and args[0].is_meta:
            return args[0].to(dtype_among((*args[1:], *kwargs.values()), args[0].dtype))
        if func in UNINITIALISED or func in RANDOM:
            kwargs["device"] = "meta"
        elif func in CONSTANT and kwargs.get("device") is None:
            probe = func(*args, **{**kwargs, "device": "meta"})
            if probe.numel() > SMALL:
                return probe
        try:
            return func(*args, **kwargs)
        except Exception:
            on_devices = {tensor.is_meta for tensor in all_tensors((args, kwargs))}
            if True not in on_devices:
                raise
            self.needs_values = True
            if False not in on_devices:
                raise
        args, kwargs = moved((args, kwargs), on_meta)  # a weight meets a table
        result = func(*args, **kwargs)
        self.needs_values = False
        return result


def dtype_among(arguments: Iterable[Any], default: torch.dtype) -> torch.dtype:
    """The dtype that the arguments of `Tensor.to` ask for; a weight stays without memory on whatever device."""
    given = [a.dtype if isinstance(a, torch.Tensor) else a for a in arguments]
    return next((dtype for dtype in given if isinstance(dtype, torch.dtype)), default)


def weightless(build: Callable[[], Built], fallback: bool = True) -> Built:
    """What `build` returns, without memory for its weights.

    Args:
        build: calls a constructor; it runs once, unless it computes with the values of its weights.
        fallback: in that case, run it again with real weights.
    """
    mode = Weightless()
    try:
        with mode:
            return build()
    except Exception as error:
        unseen = isinstance(error, NotImplementedError)  # C++ ran an operator on a weight on meta, as TorchScript does
        if not (fallback and (mode.needs_values or unseen)):
            raise
    return build()


def plain(build: Callable[[], Built]) -> Built:
    """What `build` returns, with its real weights."""
    return build()
