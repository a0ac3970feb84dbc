"""The lifetimes of storages, and the memory that is live at every operator."""

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from costlab.core.graph import CATEGORIES, ITEM_BYTES, Op, StorageInfo, Trace, TrainingStep
from costlab.core.temporaries import temporary_bytes

NOTHING: Mapping[int, int] = {}


class StorageLifetime(NamedTuple):
    """A storage, from the operator that allocates it to the last operator that uses it."""

    first: int  # position of an operator; -1 for an input of the model
    last: int
    bytes: int
    shape: tuple[int, ...]
    creator: Op | None


def storage_lifetimes(trace: Trace, held: Mapping[int, int] = NOTHING) -> list[StorageLifetime]:
    """Every activation storage, in order of first use.

    A storage lives from the operator that allocates it (an input of the model: from the start) to the last operator
    that touches it or a view of it. An output of the model lives to the end. Parameters, buffers and workspace are left
    out.

    Args:
        held: storages that live longer, to the operator at that position.
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
    end = len(trace.ops) - 1
    last_use.update((storage, end) for storage in trace.outputs)
    last_use.update((storage, min(position, end)) for storage, position in held.items())
    return [
        lifetime._replace(last=last_use[storage]) for storage, lifetime in created.items() if storage not in constants
    ]


def live_activation_bytes(trace: Trace, held: Mapping[int, int] = NOTHING, block: int = 1) -> list[int]:
    """The bytes of live storages at every operator; `held` as in `storage_lifetimes`, `block` as in `live_bytes`."""
    change = [0] * (len(trace.ops) + 1)
    for lifetime in storage_lifetimes(trace, held):
        size = allocated(lifetime.bytes, block)
        change[max(lifetime.first, 0)] += size
        change[lifetime.last + 1] -= size
    return list(accumulate(change[:-1]))


def peak_activation_bytes(trace: Trace) -> int:
    """The largest sum of live storages in execution order."""
    return max(live_activation_bytes(trace), default=0)


def eager_activation_bytes(trace: Trace, block: int = 1) -> int:
    """The peak of inputs, activations and temporaries where PyTorch runs each operator, and Python frees tensors.

    Inputs live to the end, since the caller holds them, what is passed to a module until that returns, a local variable
    of forward until it is assigned again.
    """
    live = live_activation_bytes(trace, trace.held, block)
    return max((size + temporary_bytes(op) for size, op in zip(live, trace.ops, strict=True)), default=0)


SHARDED = ("parameter", "gradient", "optimizer")  # what FSDP and ZeRO 3 divide among devices

# Everything that lives: parameters, buffers and inputs beside activations; in a training step also the rest.


class Peak(NamedTuple):
    """The moment at which the most memory is in use."""

    bytes: int
    position: int  # of the operator that runs then
    categories: dict[str, int]  # bytes by category


def allocated(size: int, block: int) -> int:
    """The bytes that an allocator of whole blocks reserves."""
    return -(-size // block) * block


def share_of(storage: StorageInfo, step: TrainingStep) -> int:
    """The bytes of a storage on one device."""
    return -(-storage.bytes // step.shards) if storage.category in SHARDED else storage.bytes


def live_bytes(step: TrainingStep, operators: int, block: int = 1) -> dict[str, list[int]]:
    """The bytes of each category that live at every operator of a training step.

    Args:
        operators: how many there are.
        block: round each storage up to a multiple of this; torch's CUDA allocator rounds to 512 bytes.
    """
    changes = {category: [0] * (operators + 1) for category in CATEGORIES}
    for storage in step.storages:
        change, size = changes[storage.category], allocated(share_of(storage, step), block)
        change[max(storage.first, 0)] += size
        change[storage.last + 1] -= size
    return {category: list(accumulate(change[:-1])) for category, change in changes.items()}


def peak_of_step(trace: Trace, block: int = 1) -> Peak:
    """The peak of a training step; its trace has one. Raises ValueError if the trace is of a forward pass."""
    if trace.step is None:
        raise ValueError(f"a trace in {trace.mode} mode has no training step")
    live = live_bytes(trace.step, len(trace.ops), block)
    sums = [sum(column) for column in zip(*live.values(), strict=True)]
    position = max(range(len(sums)), key=sums.__getitem__, default=0)
    at = {category: values[position] for category, values in live.items()} if sums else {}
    return Peak(sum(at.values()), position, at)


def saved_bytes(trace: Trace) -> dict[int, int]:
    """The bytes that each operator of a training step keeps for the backward pass, by its position."""
    saved: Counter[int] = Counter()
    for storage in trace.step.storages if trace.step else ():
        if storage.saved_by >= 0:
            saved[storage.saved_by] += storage.bytes
    return dict(saved)
