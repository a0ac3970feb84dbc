"""Tensors on the way to autograd: the parts of an operator that no table remembers, and what it saves."""

from functools import partial

import torch

from costlab.tracing.specs import spec_of
from costlab.tracing.tensor_table import Storage, TensorRecord, TensorTable, itself


class Unrecorded(TensorTable):
    """A table that remembers no tensor."""

    anywhere = Storage(-1, "activation", abstract=True, external=False, bytes=0)

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """A record for this once."""
        return TensorRecord(partial(itself, tensor), spec_of(tensor), self.anywhere)


def unsaved(saved: tuple[torch.Tensor, int]) -> torch.Tensor:
    """The tensor that was kept.

    Raises:
        RuntimeError: it was written since, so that its gradient would be wrong; torch leaves this check to the hooks.
    """
    tensor, version = saved
    if tensor._version != version:
        shape = "x".join(map(str, tensor.shape))
        raise RuntimeError(f"a tensor {shape} that the backward pass needs was modified by an inplace operation")
    return tensor
