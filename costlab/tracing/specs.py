"""Shape, strides and dtype of a tensor: what the results of operators depend on in addition to values."""

from dataclasses import dataclass

import torch

from costlab.tracing.layouts import SPARSE, stored_elements
from costlab.tracing.tensors import META, QUANTISED

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

    def placeholder(self) -> torch.Tensor:
        """A tensor like this without values."""
        if self.dtype in QUANTISED:
            return torch._empty_affine_quantized(self.shape, scale=1.0, zero_point=0, dtype=self.dtype)
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=META)


SPECS: dict[tuple[tuple[int, ...], tuple[int, ...], torch.dtype], Spec] = {}


def spec_of(tensor: torch.Tensor) -> Spec:
    """What a tensor is apart from its values."""
    if tensor.layout is not torch.strided and tensor.layout in SPARSE:
        return new_spec(tuple(tensor.shape), (), tensor.dtype, stored_elements(tensor))
    key = tensor.shape, tensor.stride(), tensor.dtype
    try:
        return SPECS[key]
    except KeyError:
        if len(SPECS) >= MOST:
            SPECS.clear()
        return SPECS.setdefault(key, new_spec(tuple(key[0]), *key[1:]))
    except TypeError:  # symbolic sizes
        return new_spec(tuple(key[0]), *key[1:])


def new_spec(shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, stored: int | None = None) -> Spec:
    """A spec of its own; a sparse tensor has a number of stored elements instead of strides."""
    elements = 1
    for size, step in zip(shape, stride, strict=False):
        if step or size == 0:
            elements *= size
    name = str(dtype).removeprefix("torch.")
    return Spec(shape, stride, dtype, name, elements if stored is None else stored, stored is not None)
