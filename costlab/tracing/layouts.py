"""Tensors that are not plain and strided: wrapper subclasses, sparse tensors, packed weights of quantised modules."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

SPARSE = frozenset((torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc))

ORDINARY = (torch.Tensor, torch.nn.Parameter)


def is_wrapper(value: Any) -> bool:
    """Whether a value is a tensor subclass that wraps plain tensors: jagged, quantised, masked."""
    kind = type(value)
    return kind not in ORDINARY and issubclass(kind, torch.Tensor) and hasattr(kind, "__tensor_flatten__")


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors inside a wrapper, also one inside another; a plain tensor itself."""
    if not is_wrapper(tensor):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    for name in names:
        inner = getattr(tensor, name)
        if isinstance(inner, torch.Tensor):
            yield from plain_tensors(inner)


def rewrapped(tensor: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """A wrapper like this one, with `change` applied to the plain tensors inside."""
    if not is_wrapper(tensor):
        return change(tensor)
    names, context = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    inner = {name: getattr(tensor, name) for name in names}
    inner = {name: rewrapped(t, change) if isinstance(t, torch.Tensor) else t for name, t in inner.items()}
    result: torch.Tensor = type(tensor).__tensor_unflatten__(  # type: ignore[attr-defined]
        inner, context, tensor.size(), tensor.stride()
    )
    return result


def plain_shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape in integers: of a jagged tensor, that of its values."""
    if is_wrapper(tensor) and any(type(size) is not int for size in tensor.shape):
        tensor = next(plain_tensors(tensor))
    return tuple(tensor.shape)


def size_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Elements, and the bytes that they take."""
    if is_wrapper(tensor):
        inner = list(plain_tensors(tensor))
        return tensor.numel(), sum(t.numel() * t.element_size() for t in inner)
    count = stored_elements(tensor) if tensor.layout in SPARSE else tensor.numel()
    return count, count * tensor.element_size()


def stored_elements(tensor: torch.Tensor) -> int:
    """How many elements a sparse tensor stores."""
    if tensor.layout == torch.sparse_coo:
        return tensor._values().numel()
    return tensor.values().numel()


def unpacked(packed: torch.ScriptObject) -> list[torch.Tensor]:
    """Weights and biases inside the packed parameters of a quantised layer."""
    try:
        state = packed.__getstate__()
    except (RuntimeError, AttributeError, TypeError):
        return []
    return list(tensors_of_state(state))


def tensors_of_state(state: Any) -> Iterator[torch.Tensor]:
    """The floating-point or quantised tensors in nested tuples."""
    if isinstance(state, torch.Tensor):
        if state.is_quantized or state.is_floating_point():
            yield state
    elif isinstance(state, (list, tuple)):
        for member in state:
            yield from tensors_of_state(member)
    elif isinstance(state, torch.ScriptObject):
        yield from unpacked(state)
