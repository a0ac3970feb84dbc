"""The lifetimes of activation storages, and the memory that is live at every operator."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from costlab.core.graph import ITEM_BYTES, Op, Trace


class StorageLifetime(NamedTuple):
    """A storage, from the operator that allocates it to the last operator that uses it."""

    first: int  # position of an operator; -1 for an input of the model
    last: int
    bytes: int
    shape: tuple[int, ...]
    creator: Op | None


def storage_lifetimes(trace: Trace) -> list[StorageLifetime]:
    """Every activation storage, in order of first use.

    A storage lives from the operator that allocates it (an input of the model: from the start) to the last operator
    that touches it or a view of it. An output of the model lives to the end. Parameters, buffers and workspace are left
    out.
    """
    created: dict[int, StorageLifetime] = {}
    last_use: dict[int, int] = {}
    constants = set()
    for position, op in enumerate(trace.ops):
        for tensor, creator in (*((t, None) for t in op.inputs), *((t, op) for t in op.outputs)):
            storage = tensor.storage
            if tensor.role in ("parameter", "buffer", "constant"):
                constants.add(storage)
            if storage not in created:
                size = tensor.elements * ITEM_BYTES[tensor.dtype]
                created[storage] = StorageLifetime(position if creator else -1, position, size, tensor.shape, creator)
            last_use[storage] = position
    last_use.update((storage, len(trace.ops) - 1) for storage in trace.outputs)
    return [
        lifetime._replace(last=last_use[storage]) for storage, lifetime in created.items() if storage not in constants
    ]


def live_activation_bytes(trace: Trace) -> list[int]:
    """The bytes of live storages at every operator."""
    change = [0] * (len(trace.ops) + 1)
    for lifetime in storage_lifetimes(trace):
        change[max(lifetime.first, 0)] += lifetime.bytes
        change[lifetime.last + 1] -= lifetime.bytes
    return list(accumulate(change[:-1]))


def peak_activation_bytes(trace: Trace) -> int:
    """The largest sum of live storages in execution order."""
    return max(live_activation_bytes(trace), default=0)
