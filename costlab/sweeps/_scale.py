"""`costlab.scale`: how every cost of a network grows with one size of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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

AXES = ("batch", "resolution", "length")
KEYS = (
    "mult_adds",
    "element_wise_ops",
    "params",
    "memory_access",
    "bytes_accessed",
    "activations",
    "peak_activation_bytes",
)
STEP_KEYS = ("saved_bytes", "peak_bytes")  # of a training step, besides
STEPS = {"batch": (1,), "resolution": (32, 64), "length": (1, 8, 64)}  # tried in this order
FIRST = {"batch": 1, "resolution": 32, "length": 8}  # smallest size; networks may need a larger one
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
        over: one size and its values: {"batch": [1, 2, 4]}, "resolution" (of images) or "length" (the second
            dimension of all inputs that have the first input's).
        device, amp, fusion, channels_last: as in `costlab.predict`; without a device nothing is predicted.
        name: the network's name; default: its class.
        mode, training: as in `costlab.profile`; `amp` is part of the trace of a training step.

    Returns:
        The totals at each size, the predicted seconds, and exact polynomials, checked at sizes that they were not
        made from.

    Raises:
        CostlabError: the size is unknown or not a positive number, or the network fails at one of them.
    """
    from costlab.latency._predict import predict
    from costlab.latency.devices import find_device
    from costlab.tracing._profile import profile

    axis, sizes = one_axis(over)
    at = resized(inputs, axis)
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
        memory=found.memory if found else None,
        memory_bytes=tuple(
            (p.total.peak_bytes or 0) if step else p.total.param_bytes + p.total.peak_activation_bytes for p in profiles
        ),
        forms=closed_forms(axis, keys, profile_at),
    )


def one_axis(over: Mapping[str, Iterable[int]]) -> tuple[str, list[int]]:
    """The size that varies and its values, in order. Raises CostlabError."""
    if len(over) != 1:
        raise CostlabError(f"over takes one size, such as {{'batch': [1, 2, 4]}}, got {', '.join(over) or 'none'}")
    axis, values = next(iter(over.items()))
    sizes = sorted(set(values))
    if axis not in AXES:
        raise CostlabError(f"unknown size {axis!r}; choose one of {', '.join(AXES)}")
    if not sizes or len(sizes) > MOST or not all(type(n) is int and n >= 1 for n in sizes):
        raise CostlabError(f"{axis} takes 1 to {MOST} positive whole numbers")
    return axis, sizes


def resized(inputs: Any, axis: str) -> Callable[[int], Any]:
    """The inputs at any size."""
    import torch

    from costlab.models.inputs import adjusted
    from costlab.tracing.inputs import Inputs, as_inputs
    from costlab.tracing.tensors import all_tensors, moved

    given = as_inputs(inputs)
    tensors = all_tensors((given.args, dict(given.kwargs)))
    first = next((t for t in tensors if t.dim() >= 2), None)
    if axis == "length" and first is None:
        raise CostlabError("length needs an input of two dimensions or more")

    def longer(tensor: torch.Tensor, size: int) -> torch.Tensor:
        assert first is not None
        if tensor.dim() < 2 or tensor.shape[1] != first.shape[1]:
            return tensor
        return torch.empty((tensor.shape[0], size, *tensor.shape[2:]), dtype=tensor.dtype, device="meta")

    def at(size: int) -> Inputs:
        if axis == "length":
            args, kwargs = moved((given.args, dict(given.kwargs)), lambda tensor: longer(tensor, size))
            return Inputs(args, kwargs)
        batch, resolution = (size, None) if axis == "batch" else (None, size)
        return adjusted(given, batch, resolution, None)

    return at


def closed_forms(axis: str, keys: Iterable[str], profile_at: Callable[[int], Profile]) -> dict[str, Polynomial | None]:
    """For each total the exact polynomial in the size; None where none goes through all sizes that were tried."""
    forms: dict[str, Polynomial | None] = dict.fromkeys(keys)
    for step in STEPS[axis]:
        first = smallest(axis, step, profile_at)
        if first is None:
            continue
        sizes = sizes_of(first, step, max(REACH, 2 * step // first) * first if axis != "batch" else REACH)
        try:
            totals = {size: profile_at(size).total for size in sizes}
        except CostlabError:  # too large, or a table of positions ends
            continue
        for key in [key for key in keys if forms[key] is None]:
            forms[key] = polynomial({size: getattr(total, key) for size, total in totals.items()}, first, step)
        if all(forms.values()):
            break
    return forms


def smallest(axis: str, step: int, profile_at: Callable[[int], Profile]) -> int | None:
    """The smallest size that the network takes, at most eight times the smallest tried."""
    size = max(FIRST[axis], step)
    for candidate in (size, 2 * size, 4 * size, 8 * size):
        try:
            profile_at(candidate)
        except CostlabError:
            continue
        return candidate
    return None
