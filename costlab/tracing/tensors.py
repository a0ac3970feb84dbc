"""Tensors in nested values, and placeholder tensors."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch

QUANTISED = frozenset((torch.quint8, torch.qint8, torch.qint32))
META = torch.device("meta")
CPU = torch.device("cpu")

# As torch says it, also while `facade` shows networks another device.
is_meta: Callable[[torch.Tensor], bool] = vars(torch._C.TensorBase)["is_meta"].__get__
true_device: Callable[[torch.Tensor], torch.device] = vars(torch._C.TensorBase)["device"].__get__
DATA = vars(torch._C.TensorBase)["data"]


def all_tensors(value: Any) -> list[torch.Tensor]:
    """The tensors in nested lists, tuples and dicts: the arguments of an operator."""
    if isinstance(value, torch.Tensor):
        return [value]
    found: list[torch.Tensor] = []
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        if isinstance(member, torch.Tensor):
            found.append(member)
        elif isinstance(member, (list, tuple, dict)):
            found += all_tensors(member)
    return found


def moved(value: Any, move: Any) -> Any:
    """`value` with `move` applied to every tensor in it."""
    if isinstance(value, torch.Tensor):
        return move(value)
    if isinstance(value, (list, tuple)):
        members = [moved(v, move) for v in value]
        return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)
    if isinstance(value, dict):
        clone = copy.copy(value)
        clone.update({k: moved(v, move) for k, v in value.items()})
        return clone
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        twin = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(twin, field.name, moved(getattr(value, field.name), move))
        return twin
    return value


def with_device(args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device) -> tuple[Any, Any]:
    """The arguments with every device replaced by `device`."""
    args = tuple(device if isinstance(a, torch.device) else a for a in args)
    return args, {k: device if isinstance(v, torch.device) else v for k, v in kwargs.items()}


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """A new tensor of the same shape, layout and dtype without data."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def real_zeros(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself if it has values, else zeros of its shape."""
    return torch.zeros(tensor.shape, dtype=tensor.dtype) if is_meta(tensor) else tensor


def real_ones(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself if it has values, else ones of its shape."""
    return torch.ones(tensor.shape, dtype=tensor.dtype) if is_meta(tensor) else tensor


def is_mask(tensor: torch.Tensor | None) -> bool:
    """Whether an index selects by truth values."""
    return tensor is not None and tensor.dtype in (torch.bool, torch.uint8)


def memory_of(tensor: torch.Tensor) -> tuple[int, Any]:
    """The storage of a tensor, or the tensor itself if it has none (sparse, opaque), and what identifies it."""
    try:
        memory = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # torch's way to say that there is no storage
        return id(tensor), tensor
    return memory._cdata, memory


def storage_key(tensor: torch.Tensor) -> int:
    """What identifies the memory of a tensor while it lives."""
    return memory_of(tensor)[0]


def fills(tensor: torch.Tensor) -> bool:
    """Whether writing all of a tensor leaves nothing of what its storage held before."""
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def without_overlap(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same memory that can be written whole: all bytes if elements share some, as expanded ones do."""
    if tensor.layout != torch.strided or not torch._debug_has_internal_overlap(tensor):
        return tensor
    return torch.empty(0, dtype=torch.uint8, device=true_device(tensor)).set_(tensor.untyped_storage())
