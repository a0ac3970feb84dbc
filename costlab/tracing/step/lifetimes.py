"""A table of tensors that keeps none of them alive, and so sees when each storage is allocated and freed.

autograd looks at how many references a gradient has: it adds in place to one that nothing else holds, and hands it to
a parameter without a copy. A table that held tensors would change what it does.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

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

    def is_of(self, tensor: torch.Tensor) -> bool:
        """Whether this is the record of a tensor, rather than of one that had the same id before."""
        return self._reference() is tensor


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

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """A record for this once."""
        return TensorRecord(tensor, spec_of(tensor), Storage(-1, "activation", abstract=True, external=False))


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


class WeakTable(TensorTable):
    """Records of tensors that do not keep them alive, and the lifetimes of all storages."""

    record_type = WeakRecord

    def __init__(self) -> None:
        super().__init__()
        self.lifetimes: dict[int, Lifetime] = {}  # by the number of the storage
        self.position: Callable[[], int] = int  # of the operator that runs
        self.running = False
        self._touched: dict[int, int] | None = None  # while garbage is collected: the last operator that used each
        self._watches: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def find(self, tensor: torch.Tensor) -> TensorRecord | None:
        """The record of a tensor, if it was seen before."""
        record = self._records.get(id(tensor))
        return record if isinstance(record, WeakRecord) and record.is_of(tensor) else None

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """The record of a tensor; one that was never seen before is a constant."""
        known = self.find(tensor)
        if known is not None:
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
            storage = self._storages[key] = Storage(len(self.lifetimes), role, abstract, external)
            self._watch(tensor, key, storage)
        return storage

    def collect_garbage(self, touched: dict[int, int], kept: set[int]) -> None:
        """End the lives of storages that only unreachable objects hold, at the last operator that used them.

        The first time that an operator runs, torch may leave frames behind that refer to each other.

        Args:
            touched: position of the last operator that used each storage.
            kept: storages that live on for a reason.
        """
        alive = (n for n, life in self.lifetimes.items() if life.last is None and not life.storage.external)
        if set(alive) <= kept:
            return
        self._touched = touched
        gc.collect()
        self._touched = None

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
                lifetime.saved_by = self.position() - (not self.running)
        return tensor, tensor._version

    def _watch(self, tensor: torch.Tensor, key: int, storage: Storage) -> None:
        memory = tensor.untyped_storage()
        first = -1 if storage.external else self.position()
        self.lifetimes[storage.number] = Lifetime(storage, memory.nbytes(), first)
        self._watches[storage.number] = weakref.ref(memory, partial(self._freed, key, storage))

    def _freed(self, key: int, storage: Storage, _: object) -> None:
        if self._storages.get(key) is storage:
            del self._storages[key]
        last = self.position() - (not self.running)
        if self._touched is not None:
            last = self._touched.get(storage.number, last)
        self.lifetimes[storage.number].last = last
        del self._watches[storage.number]
