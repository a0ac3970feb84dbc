"""Shape, strides and dtype of a tensor: what the results of operators depend on, besides values."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from costlab.tracing.layouts import SPARSE, stored_elements

MOST = 200_000  # specs that are remembered


@dataclass(slots=True, eq=False)
class Spec:
    """One object for all tensors of the same shape, strides and dtype, so that it is compared by identity."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    dtype_name: str  # "float32"
    elements: int  # distinct elements: a broadcast dimension of stride 0 counts once; those stored of a sparse tensor
    sparse: bool


SPECS: dict[tuple[tuple[int, ...], tuple[int, ...], torch.dtype], Spec] = {}


def spec_of(tensor: torch.Tensor) -> Spec:
    """What a tensor is apart from its values."""
    if tensor.layout is not torch.strided and tensor.layout in SPARSE:
        return new_spec(tuple(tensor.shape), (-1, stored_elements(tensor)), tensor.dtype)
    key = tensor.shape, tensor.stride(), tensor.dtype
    try:
        return SPECS[key]
    except KeyError:
        if len(SPECS) >= MOST:
            SPECS.clear()
        return SPECS.setdefault(key, new_spec(tuple(key[0]), *key[1:]))
    except TypeError:  # symbolic sizes
        return new_spec(tuple(key[0]), *key[1:])


def new_spec(shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> Spec:
    """A spec of its own; for a sparse tensor the strides are -1 and the number of its elements."""
    sparse = stride[:1] == (-1,)
    elements = stride[1] if sparse else 1
    for size, step in () if sparse else zip(shape, stride, strict=False):
        if step or size == 0:
            elements *= size
    return Spec(shape, stride, dtype, str(dtype).removeprefix("torch."), elements, sparse)
