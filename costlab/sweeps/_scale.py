"""`costlab.scale`: how every cost of a network grows with one size of its inputs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from costlab.core.graph import Mode
from costlab.core.growth import Growth
from costlab.core.polynomials import Polynomial, polynomial, sizes_of
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.device import Device

if TYPE_CHECKING:
    import torch

    from costlab.tracing._profile import TrainingOptions
    from costlab.tracing.inputs import Inputs

AXES = ("batch", "resolution", "length", "context")
DIMENSION = re.compile(r"(\w{1,100})\.(\d)")  # of an input, by its name: input_ids.1
KEYS = (
    "mult_adds",
    "element_wise_ops",
    "params",
    "memory_access",
    "bytes_accessed",
    "activations",
    "peak_activation_bytes",
)
STEP_KEYS = ("saved_bytes", "peak_bytes")  # in addition, for a training step
STEPS = {"batch": (1,), "resolution": (32, 64)}  # tried in this order
OTHER_STEPS = (1, 8, 64)  # of other sizes
FIRST = {"batch": 1, "resolution": 32}  # smallest size; networks may need a larger one
OTHER_FIRST = 8
REACH = 16  # a closed form is checked up to this many times its first size
MOST = 500  # sizes


def scale(
    model: torch.nn.Module,
    inputs: Any,
    *,
    over: Mapping[str, Iterable[int]],
    device: str | Path | Device | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
    name: str | None = None,
    mode: Mode = "eval",
    **training: Unpack[TrainingOptions],
) -> Growth:
    """Every total of a network over one size of its inputs, with the closed form where there is one.

    Args:
        model, inputs: as `costlab.profile` takes them.
        over: one size and its values: {"batch": [1, 2, 4]}, "resolution" (of images), "length" or "context" (the
            second dimension of all inputs that have the first input's), or of one input: {"mask.2": [64, 128]}.
        device, amp, fusion, channels_last: as in `costlab.predict`; without a device nothing is predicted.
        name, mode, training: as in `costlab.profile`; `amp` is part of the trace of a training step.

    Returns:
        Totals and predicted seconds at each size, and exact polynomials, checked at sizes they were not made from.

    Raises:
        CostlabError: the size is unknown or not a positive number, or the network fails at one of them.
    """
    from costlab.latency._predict import predict
    from costlab.latency.devices import find_device
    from costlab.tracing._profile import profile

    axis, sizes = one_axis(over)
    at = resized(model, inputs, axis)
    found = None if device is None else device if isinstance(device, Device) else find_device(device)
    kept: dict[int, Profile] = {}
    step = mode == "step"

    def profile_at(size: int) -> Profile:
        if size not in kept:
            kept[size] = profile(model, at(size), name=name, mode=mode, amp=amp and step, **training)
        return kept[size]

    profiles = [profile_at(size) for size in sizes]
    keys = (*KEYS, *STEP_KEYS) if step else KEYS
    options = {"amp": amp and not step, "fusion": fusion, "channels_last": channels_last}
    return Growth(
        model=profiles[0].name,
        axis=axis,
        sizes=tuple(sizes),
        mode=mode,
        totals={key: tuple(getattr(p.total, key) for p in profiles) for key in keys},
        seconds=None if found is None else tuple(predict(p, found, **options).seconds for p in profiles),  # type: ignore[arg-type]
        device=found.name if found else None,
        verified=found is None or found.verified,
        memory=found.memory if found else None,
        memory_bytes=tuple(memory_needed(p) for p in profiles),
        forms=closed_forms(axis, sizes, keys, profile_at),
    )


def memory_needed(profile: Profile) -> int:
    """The bytes that a training step or a forward pass holds at most."""
    total = profile.total
    return total.param_bytes + total.peak_activation_bytes if total.peak_bytes is None else total.peak_bytes


def one_axis(over: Mapping[str, Iterable[int]]) -> tuple[str, list[int]]:
    """The size that varies and its values, in order. Raises CostlabError."""
    if len(over) != 1:
        raise CostlabError(f"over takes one size, such as {{'batch': [1, 2, 4]}}, got {', '.join(over) or 'none'}")
    axis, values = next(iter(over.items()))
    sizes = sorted(set(values))
    if axis not in AXES and not DIMENSION.fullmatch(axis):
        raise CostlabError(
            f"unknown size {axis!r}; choose one of {', '.join(AXES)}, or a dimension such as input_ids.1"
        )
    if not sizes or len(sizes) > MOST or not all(type(n) is int and n >= 1 for n in sizes):
        raise CostlabError(f"{axis} takes 1 to {MOST} positive whole numbers")
    return axis, sizes


def resized(model: torch.nn.Module, inputs: Any, axis: str) -> Callable[[int], Any]:
    """The inputs at any size. Raises CostlabError if they do not have that size."""
    from costlab.models.inputs import adjusted
    from costlab.tracing.inputs import as_inputs

    given = as_inputs(inputs)
    if axis in ("batch", "resolution"):
        return lambda size: adjusted(given, size if axis == "batch" else None, size if axis != "batch" else None, None)
    chosen, dimension = lengths(given, axis) if axis in AXES else named(model, given, axis)
    return lambda size: changed(given, chosen, dimension, size)


def lengths(given: Inputs, axis: str) -> tuple[set[int], int]:
    """The inputs that are as long as the first one, by identity, and the dimension. Raises CostlabError."""
    from costlab.tracing.tensors import all_tensors

    found = [t for t in all_tensors((given.args, dict(given.kwargs))) if t.dim() >= 2]
    if not found:
        raise CostlabError(f"{axis} needs an input of two dimensions or more")
    return {id(t) for t in found if t.shape[1] == found[0].shape[1]}, 1


def named(model: torch.nn.Module, given: Inputs, axis: str) -> tuple[set[int], int]:
    """The input `mask` of `mask.2`, by identity, and the dimension 2. Raises CostlabError."""
    import torch

    from costlab.tracing.modules import unwrap

    name, _, dimension = axis.rpartition(".")
    arguments = inspect.signature(unwrap(model).forward).bind_partial(*given.args, **given.kwargs).arguments
    arguments |= given.kwargs  # those that forward takes as **kwargs
    tensors = {key: value for key, value in arguments.items() if isinstance(value, torch.Tensor)}
    if name not in tensors or int(dimension) >= tensors[name].dim():
        sizes = ", ".join(f"{key} ({'x'.join(map(str, t.shape))})" for key, t in tensors.items())
        raise CostlabError(f"no input has the dimension {axis!r}; the inputs are {sizes}")
    return {id(tensors[name])}, int(dimension)


def changed(given: Inputs, chosen: Collection[int], dimension: int, size: int) -> Inputs:
    """The inputs with another size in one dimension of some of them."""
    import torch

    from costlab.tracing.inputs import Inputs
    from costlab.tracing.tensors import moved

    def longer(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in chosen:
            return tensor
        shape = [*tensor.shape[:dimension], size, *tensor.shape[dimension + 1 :]]
        return torch.empty(shape, dtype=tensor.dtype, device="meta")

    args, kwargs = moved((given.args, dict(given.kwargs)), longer)
    return Inputs(args, kwargs)


def closed_forms(
    axis: str, asked: Sequence[int], keys: Iterable[str], profile_at: Callable[[int], Profile]
) -> dict[str, Polynomial | None]:
    """For each total the exact polynomial in the size; None where none goes through all sizes that were tried.

    It reaches to the largest size that was asked for if it goes through these as well.
    """
    forms: dict[str, Polynomial | None] = dict.fromkeys(keys)
    for step in STEPS.get(axis, OTHER_STEPS):
        first = smallest(axis, step, profile_at)
        if first is None:
            continue
        sizes = sizes_of(first, step, max(REACH, 2 * step // first) * first if axis != "batch" else REACH)
        try:
            totals = {size: profile_at(size).total for size in sizes}
        except CostlabError:  # too large, or a table of positions ends
            continue
        further = {n: profile_at(n).total for n in asked if n >= first and (n - first) % step == 0}
        for key in [key for key in keys if forms[key] is None]:
            for known in ({**totals, **further}, totals):
                values = {size: getattr(total, key) for size, total in known.items()}
                forms[key] = forms[key] or polynomial(values, first, step)
        if all(forms.values()):
            break
    return forms


def smallest(axis: str, step: int, profile_at: Callable[[int], Profile]) -> int | None:
    """The smallest size that the network takes, at most eight times the smallest tried."""
    size = max(FIRST.get(axis, OTHER_FIRST), step)
    for candidate in (size, 2 * size, 4 * size, 8 * size):
        try:
            profile_at(candidate)
        except CostlabError:
            continue
        return candidate
    return None
