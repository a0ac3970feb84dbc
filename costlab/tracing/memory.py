"""Tensors that a network gives the memory of others: `tensor.data = other`, `tensor.set_(other)`.

torch refuses it between devices; here known tensors are on the CPU and unknown ones on meta, whatever their device is.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from costlab.tracing.tensor_table import TensorTable
from costlab.tracing.tensors import DATA, is_meta, true_device


def data_of(table: TensorTable, tensor: torch.Tensor) -> torch.Tensor:
    """`tensor.data`: another tensor of the same memory, recorded as the same."""
    twin: torch.Tensor = DATA.__get__(tensor)
    if twin.layout == torch.strided:
        table.add_twin(twin, table.record(tensor))
    return twin


def give_memory(table: TensorTable, tensor: torch.Tensor, source: torch.Tensor) -> None:
    """Let a tensor have the shape, dtype and memory of another; between devices its values are unknown from then on."""
    given = table.record(source)
    table.keep_memory(tensor)
    if is_meta(tensor) == is_meta(source):
        DATA.__set__(tensor, source)
        table.add_twin(tensor, given)
        return
    with _disable_current_modes():
        device = true_device(tensor)
        memory = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype, device=device)
    DATA.__set__(tensor, memory)
    record, _ = table.add(tensor, [], abstract=True)
    record.producer, record.guessed = given.producer, given.guessed


def set_(tensor: torch.Tensor, source: Any = None, *place: Any, **named: Any) -> torch.Tensor:
    """`Tensor.set_`, given a tensor or a storage, or nothing; with or without an offset, a size and strides."""
    recorder: Any = _get_current_dispatch_mode()
    if place or named or not isinstance(source, torch.Tensor):
        with _disable_current_modes():
            device = true_device(source) if isinstance(source, torch.Tensor) else getattr(source, "device", None)
            view = torch.empty(0, dtype=tensor.dtype, device=device or true_device(tensor))
            source = view if source is None else view.set_(source, *place, **named)
    give_memory(recorder.table, tensor, source)
    return tensor
