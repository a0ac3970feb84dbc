"""A table of tensors that keeps none of them alive, and so sees when each storage is allocated and freed.

autograd looks at how many references a gradient has: it adds in place to one that nothing else holds, and hands it to
a parameter without a copy. A table that held tensors would change what it does.
"""

import functools
import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from costlab.core.graph import Op
from costlab.tracing.layouts import SPARSE, size_of
from costlab.tracing.specs import spec_of
from costlab.tracing.tensor_table import Storage, TensorRecord, TensorTable
from costlab.tracing.tensors import is_meta, storage_key


class WeakRecord(TensorRecord):
    """A record that holds a tensor without values weakly."""

    __slots__ = ("_reference",)

    @property
    def tensor(self) -> torch.Tensor:
        """The tensor; another one like it if it is gone."""
        tensor = self._reference()
        return self.spec.placeholder() if tensor is None else tensor

    @tensor.setter
    def tensor(self, tensor: torch.Tensor) -> None:
        self._reference = weakref.ref(tensor) if is_meta(tensor) else lambda: tensor


@dataclass(slots=True)
class Lifetime:
    """When a storage lives, in positions of operators."""

    storage: Storage
    bytes: int
    first: int  # -1: before the step
    last: int | None = None  # None while it lives
    saved_by: int = -1  # position of the operator that keeps it for the backward pass


class Unrecorded(TensorTable):
    """A table that remembers no tensor."""

    anywhere = Storage(-1, "activation", abstract=True, external=False)

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """A record for this once."""
        return TensorRecord(tensor, spec_of(tensor), self.anywhere)


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


def bytes_of_sparse(tensor: torch.Tensor) -> int:
    """The bytes of the values of a sparse tensor and of the indices beside them."""
    values = size_of(tensor)[1]
    return values + tensor._indices().nbytes if tensor.layout is torch.sparse_coo else values


class WeakTable(TensorTable):
    """Records of tensors that do not keep them alive, and the lifetimes of all storages."""

    record_type = WeakRecord

    def __init__(self) -> None:
        super().__init__()
        self.lifetimes: dict[int, Lifetime] = {}  # by the number of the storage
        self.ops: Sequence[Op] = ()  # before the one that runs
        self.running = False
        self._touched: dict[int, int] | None = None  # while garbage is collected: the last operator that used each
        self._watches: dict[int, weakref.ref[Any]] = {}

    def find(self, tensor: torch.Tensor) -> TensorRecord | None:
        """The record of a tensor, if it was seen before."""
        record = self._records.get(id(tensor))
        if isinstance(record, WeakRecord) and record._reference() is tensor:
            return record
        return None  # or the record of a tensor that had the same id before

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """The record of a tensor; one that was never seen before is a constant."""
        known = self._records.get(id(tensor))
        if isinstance(known, WeakRecord) and known._reference() is tensor:
            return known
        self._records.pop(id(tensor), None)
        record = super().record(tensor)
        if not record.storage.external:  # a view that autograd made
            record.producer = self.lifetimes[record.storage.number].first
        return record

    def storage(self, tensor: torch.Tensor, role: str, abstract: bool, external: bool) -> Storage:
        """The storage of a tensor; a new one gets the given properties, and is watched."""
        key = storage_key(tensor)
        storage = self._storages.get(key)
        if storage is None:
            number, sparse = len(self.lifetimes), tensor.layout in SPARSE
            memory: Any = tensor if sparse else tensor.untyped_storage()
            size = bytes_of_sparse(tensor) if sparse else memory.nbytes()
            storage = self._storages[key] = Storage(number, role, abstract, external)
            self.lifetimes[number] = Lifetime(storage, size, -1 if external else len(self.ops))
            self._watches[number] = weakref.ref(memory, functools.partial(self._freed, key, storage))
        return storage

    def add_view(self, tensor: torch.Tensor, original: TensorRecord) -> None:
        """Record a view of a tensor as if it were that tensor."""
        self._records[id(tensor)] = original.like(tensor)

    @functools.cached_property
    def last_uses(self) -> dict[int, int]:
        """The position of the last operator that used each storage, once all have run."""
        return {t.storage: i for i, op in enumerate(self.ops) for t in (*op.inputs, *op.outputs)}

    def collect_garbage(self, kept: set[int]) -> None:
        """End the lives of storages that only unreachable objects hold, at the last operator that used them.

        The first time that an operator runs, torch may leave frames behind that refer to each other.

        Args:
            kept: storages that live on for a reason, as do those of known values, which the table holds.
        """
        lives = self.lifetimes.items()
        alive = (n for n, life in lives if life.last is None and life.storage.abstract and not life.storage.external)
        if not set(alive) <= kept:
            self._touched = self.last_uses
            gc.collect()
            self._touched = None

    def clear(self) -> list[weakref.ref[torch.Tensor]]:
        """Forget all tensors; weak references to those that operators made without data."""
        self._watches.clear()
        made = [r._reference for r in self._records.values() if isinstance(r, WeakRecord) and not r.storage.external]
        self._records.clear()
        super().clear()
        return [reference for reference in made if isinstance(reference, weakref.ref)]

    def add_lifetime(self, bytes: int, role: str) -> Storage:
        """A storage that lives before the step and after it, without a tensor."""
        storage = Storage(len(self.lifetimes), role, abstract=True, external=True)
        self.lifetimes[storage.number] = Lifetime(storage, bytes, -1)
        return storage

    def save(self, tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Note that the operator that runs keeps a tensor for the backward pass; returns it with its version."""
        storage = self.known_storage(tensor)
        if storage is not None and not storage.external:
            lifetime = self.lifetimes[storage.number]
            if lifetime.saved_by < 0:
                lifetime.saved_by = len(self.ops) - (not self.running)
        return tensor, tensor._version

    def _freed(self, key: int, storage: Storage, _: object) -> None:
        if self._storages.get(key) is storage:
            del self._storages[key]
        last = len(self.ops) - (not self.running)
        if self._touched is not None:
            last = self._touched.get(storage.number, last)
        self.lifetimes[storage.number].last = last
        del self._watches[storage.number]
