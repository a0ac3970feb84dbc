"""What the recorder knows of the tensors and storages that it has seen.

The table keeps no tensor without values alive, and so sees when each storage is allocated and freed. autograd looks at
how many references a gradient has: it adds in place to one that nothing else holds, and hands it to a parameter without
a copy. A table that held tensors would change what it does.
"""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import torch

from costlab.core.graph import Op, Tensor
from costlab.tracing.layouts import is_wrapper, plain_tensors, size_of, unpacked
from costlab.tracing.specs import Spec, spec_of
from costlab.tracing.tensors import DATA, is_meta, memory_of, storage_key, without_overlap

LASTING = ("parameter", "buffer", "input")  # roles of what the network and its caller hold


@dataclass(slots=True, eq=False)
class Storage:
    """Memory that tensors share, and when it lives, in positions of operators."""

    number: int
    role: str
    abstract: bool  # its values are unknown
    external: bool  # belongs to the user: restored after a write
    bytes: int
    first: int = -1  # -1: before the pass
    last: int | None = None  # None while it lives
    saved_by: int = -1  # position of the operator that keeps it for the backward pass
    drawn: bool = False  # its values are known, but rest on random numbers of this trace
    writer: int = -1  # position of the last operator that wrote to it in place
    watch: weakref.ref[Any] | None = None  # notes its end


@dataclass(slots=True, eq=False)
class TensorRecord:
    """What is known of one tensor, which it keeps alive only if it has values."""

    reference: Callable[[], torch.Tensor | None]
    spec: Spec
    storage: Storage
    param: int | None = None  # position among the parameters
    producer: int = -1  # position of the operator that made it
    guessed: bool = False
    device: torch.device | None = None  # that the network asked for; None for that of the model

    @property
    def tensor(self) -> torch.Tensor:
        """The tensor; another one like it if it is gone."""
        tensor = self.reference()
        return self.spec.placeholder() if tensor is None else tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return self.spec.shape

    @property
    def elements(self) -> int:
        """The distinct elements of the tensor."""
        return self.spec.elements

    def like(self, tensor: torch.Tensor, reference: Callable[[], torch.Tensor | None]) -> Self:
        """A record of another tensor in the same memory."""
        known = self.storage, self.param, self.producer, self.guessed, self.device
        return type(self)(reference, spec_of(tensor), *known)

    def described(self, name: str, role: str) -> Tensor:
        """The tensor as the graph holds it."""
        spec = self.spec
        return Tensor(name, spec.shape, spec.dtype_name, role, spec.elements, self.storage.number)


def itself(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor: a strong reference, as `partial(itself, tensor)`."""
    return tensor


class TensorTable:
    """Records of the tensors that live, by the identity of the tensor and of its storage."""

    def __init__(self) -> None:
        self.params: list[tuple[int, int, int]] = []  # elements, bytes, and elements that require no gradient
        self.storages: list[Storage] = []  # all that ever lived, by number
        self.ops: Sequence[Op] = ()  # before the one that runs
        self.running = False
        self._records: dict[int, TensorRecord] = {}
        self._storages: dict[int, Storage] = {}
        self._packed: dict[int, tuple[torch.ScriptObject, list[TensorRecord]]] = {}
        self._undo: list[Callable[[], Any]] = []
        self._twins: list[torch.Tensor] = []  # kept alive, so that their memory is not another's
        self._touched: dict[int, int] | None = None  # while garbage is collected: the last operator that used each

    def find(self, tensor: torch.Tensor) -> TensorRecord | None:
        """The record of a tensor, if it was seen before."""
        return self._records.get(id(tensor))

    def register(self, tensor: torch.Tensor, role: str) -> None:
        """Add a parameter, a buffer or an input: a tensor that exists before the forward pass."""
        param = None
        if role == "parameter":
            param = len(self.params)
            elements, size = size_of(tensor)
            self.params.append((elements, size, 0 if tensor.requires_grad else elements))
        for plain in plain_tensors(tensor) if is_wrapper(tensor) else (tensor,):
            storage = self.storage(plain, role, abstract=role == "parameter" or is_meta(plain), external=True)
            self._records[id(plain)] = TensorRecord(partial(itself, plain), spec_of(plain), storage, param=param)

    def adopt(self, parameter: torch.Tensor) -> None:
        """Register a parameter that was made during the forward pass."""
        storage = self.known_storage(parameter)
        if storage is not None and storage.role != "parameter":
            storage.role, storage.abstract, storage.writer = "parameter", True, -1
            self.register(parameter, "parameter")

    def packed(self, packed: torch.ScriptObject) -> list[TensorRecord]:
        """The parameters inside the packed weights of a quantised layer."""
        known = self._packed.get(hash(packed))
        if known is None:
            tensors = unpacked(packed)
            for tensor in tensors:
                self.register(tensor, "parameter")
            known = self._packed[hash(packed)] = packed, [self._records[id(t)] for t in tensors]
        return known[1]

    def keep_values(self, record: TensorRecord) -> None:
        """Before the user's memory is written, save what it holds."""
        if record.storage.external:
            memory = without_overlap(record.tensor.detach())
            self._undo.append(partial(memory.copy_, memory.clone()))

    def keep_memory(self, tensor: torch.Tensor) -> None:
        """Before one of the user's tensors gets other memory, save which one it has."""
        if self.record(tensor).storage.external:
            self._undo.append(partial(DATA.__set__, tensor, DATA.__get__(tensor)))

    def restore(self) -> None:
        """Give the user's tensors back what they held."""
        while self._undo:
            self._undo.pop()()

    def clear(self) -> list[weakref.ref[torch.Tensor]]:
        """Forget all tensors; weak references to those that operators made without data and that are still there."""
        for storage in self.storages:
            storage.watch = None
        made = [r.reference for r in self._records.values() if not r.storage.external]
        self._records.clear()
        self._packed.clear()
        self._twins.clear()
        return [reference for reference in made if isinstance(reference, weakref.ref)]

    def add(self, tensor: torch.Tensor, inputs: list[TensorRecord], abstract: bool) -> tuple[TensorRecord, bool]:
        """The record of a tensor that an operator made of these inputs, and whether it shares memory with one."""
        key, memory = memory_of(tensor)
        storage, base = self._storages.get(key), None
        if storage is None:
            storage = self._new_storage(tensor, key, memory, "activation", abstract or is_meta(tensor), False)
        else:
            base = next((record for record in inputs if record.storage is storage), None)
        return self._add_record(tensor, storage, base.param if base else None), base is not None

    def _add_record(self, tensor: torch.Tensor, storage: Storage, param: int | None) -> TensorRecord:
        key = id(tensor)
        record = self._records[key] = TensorRecord(
            self._reference(tensor, key, storage), spec_of(tensor), storage, param
        )
        return record

    def _reference(self, tensor: torch.Tensor, key: int, storage: Storage) -> Callable[[], torch.Tensor | None]:
        """A reference to a tensor: a weak one, with which its record goes, unless its values are known."""
        return weakref.ref(tensor, partial(self._records.pop, key)) if storage.abstract else partial(itself, tensor)

    def add_twin(self, tensor: torch.Tensor, original: TensorRecord) -> None:
        """Record `tensor`, whose memory may be its own, as if it were the original."""
        if self.known_storage(tensor) is not original.storage:
            self._storages[storage_key(tensor)] = original.storage
            self._twins.append(tensor)
        self.add_view(tensor, original)

    def add_view(self, tensor: torch.Tensor, original: TensorRecord) -> None:
        """Record a view of a tensor as if it were that tensor."""
        key = id(tensor)
        self._records[key] = original.like(tensor, self._reference(tensor, key, original.storage))

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """The record of a tensor; one that was never seen before is a constant."""
        record = self._records.get(id(tensor))
        if record is None:
            if isinstance(tensor, torch.nn.Parameter) and self.known_storage(tensor) is not None:
                self.adopt(tensor)
                adopted = self.find(tensor)
                if adopted is not None:
                    return adopted
            storage = self.storage(tensor, "constant", abstract=is_meta(tensor), external=True)
            param = None
            if storage.role == "parameter":  # reached by another object, as in TorchScript
                param = next((r.param for r in self._records.values() if r.storage is storage), None)
            record = self._add_record(tensor, storage, param)
            if not storage.external:  # a view that autograd made
                record.producer = storage.first
        return record

    def known_storage(self, tensor: torch.Tensor) -> Storage | None:
        """The storage of a tensor, if any tensor in it was seen before."""
        return self._storages.get(storage_key(tensor))

    def storage(self, tensor: torch.Tensor, role: str, abstract: bool, external: bool) -> Storage:
        """The storage of a tensor; a new one gets the given properties, and is watched."""
        key, memory = memory_of(tensor)
        return self._storages.get(key) or self._new_storage(tensor, key, memory, role, abstract, external)

    def _new_storage(
        self, tensor: torch.Tensor, key: int, memory: Any, role: str, abstract: bool, external: bool
    ) -> Storage:
        size = bytes_of_sparse(tensor) if memory is tensor else memory.nbytes()
        first = -1 if external else len(self.ops)
        storage = self._storages[key] = Storage(len(self.storages), role, abstract, external, size, first)
        if role not in LASTING:
            storage.watch = weakref.ref(memory, partial(self._freed, key, storage))
        self.storages.append(storage)
        return storage

    def add_lasting(self, bytes: int, role: str) -> Storage:
        """A storage that lives before the step and after it, without a tensor."""
        storage = Storage(len(self.storages), role, abstract=True, external=True, bytes=bytes)
        self.storages.append(storage)
        return storage

    @cached_property
    def last_uses(self) -> dict[int, int]:
        """The position of the last operator that used each storage, once all have run."""
        uses: dict[int, int] = {}
        for position, op in enumerate(self.ops):
            for tensor in op.inputs:
                uses[tensor.storage] = position
            for tensor in op.outputs:
                uses[tensor.storage] = position
        return uses

    def collect_garbage(self, kept: set[int]) -> None:
        """End the lives of storages that only unreachable objects hold, at the last operator that used them.

        The first time that an operator runs, torch may leave frames behind that refer to each other.

        Args:
            kept: storages that live on for a reason, as do those of known values, which the table holds.
        """
        if not {s.number for s in self.storages if s.last is None and s.abstract and not s.external} <= kept:
            self._touched = self.last_uses
            gc.collect(0)  # a trace pauses the collector: all that it made is young
        self._touched = None

    def held(self, kept: set[int], release: Callable[[], None] | None) -> dict[int, int]:
        """By storage that lives after its last use: the position of the last operator during which it does.

        Args:
            kept: as in `collect_garbage`.
            release: lets go of what only the trace holds.
        """
        if release is not None:
            self._touched = self.last_uses
            release()
        self.collect_garbage(kept)
        end, found = len(self.ops) - 1, {}
        for number, last_use in self.last_uses.items():
            storage = self.storages[number]
            known = not storage.abstract and not storage.external  # held by the trace for its values
            if storage.role in ("input", "activation") and not (known and storage.last is None):
                last = end if storage.last is None else min(storage.last, end)
                if last > last_use:
                    found[number] = last
        return found

    def save(self, tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Note that the operator that runs keeps a tensor for the backward pass; returns it with its version."""
        storage = self.known_storage(tensor)
        if storage is not None and not storage.external and storage.saved_by < 0:
            storage.saved_by = len(self.ops) - (not self.running)
        return tensor, tensor._version

    def _freed(self, key: int, storage: Storage, _: object) -> None:
        if self._storages.get(key) is storage:
            del self._storages[key]
        storage.last = len(self.ops) - (not self.running)
        if self._touched is not None:
            storage.last = self._touched.get(storage.number, storage.last)
        storage.watch = None


def bytes_of_sparse(tensor: torch.Tensor) -> int:
    """The bytes of the values of a tensor without storage, and of the indices beside them."""
    values = size_of(tensor)[1]
    return values + tensor._indices().nbytes if tensor.layout is torch.sparse_coo else values
