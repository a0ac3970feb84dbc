"""What the recorder knows of the tensors and storages that it has seen."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch

from costlab.core.graph import Tensor
from costlab.tracing.layouts import is_wrapper, plain_tensors, size_of, unpacked
from costlab.tracing.specs import Spec, spec_of
from costlab.tracing.tensors import DATA, is_meta, storage_key, without_overlap


@dataclass(slots=True, eq=False)
class Storage:
    """Memory that tensors share."""

    number: int
    role: str
    abstract: bool  # its values are unknown
    external: bool  # belongs to the user: restored after a write
    drawn: bool = False  # its values are known, but rest on random numbers of this trace
    writer: int = -1  # position of the last operator that wrote to it in place


@dataclass(slots=True, eq=False)
class TensorRecord:
    """What is known of one tensor. Keeps it alive, so that its id stays its own."""

    tensor: torch.Tensor
    spec: Spec
    storage: Storage
    producer: int = -1  # position of the operator that made it
    param: int | None = None  # position among the parameters
    guessed: bool = False
    device: torch.device | None = None  # that the network asked for; None for that of the model

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return self.spec.shape

    @property
    def elements(self) -> int:
        """The distinct elements of the tensor."""
        return self.spec.elements

    def like(self, tensor: torch.Tensor) -> Self:
        """A record of another tensor in the same memory."""
        known = self.storage, self.producer, self.param, self.guessed, self.device
        return type(self)(tensor, spec_of(tensor), *known)

    def described(self, name: str, role: str) -> Tensor:
        """The tensor as the graph holds it."""
        spec = self.spec
        return Tensor(name, spec.shape, spec.dtype_name, role, spec.elements, self.storage.number)


class TensorTable:
    """Records of tensors, by the identity of the tensor and of its storage."""

    record_type = TensorRecord

    def __init__(self) -> None:
        self.params: list[tuple[int, int, int]] = []  # elements, bytes, and elements that require no gradient
        self._records: dict[int, TensorRecord] = {}
        self._storages: dict[int, Storage] = {}
        self._packed: dict[int, tuple[torch.ScriptObject, list[TensorRecord]]] = {}
        self._undo: list[Callable[[], Any]] = []

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
            self._records[id(plain)] = self.record_type(plain, spec_of(plain), storage, param=param)

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
        """Forget all tensors; weak references to those that operators made without data."""
        made = [weakref.ref(r.tensor) for r in self._records.values() if not r.storage.external and is_meta(r.tensor)]
        self._records.clear()
        self._packed.clear()
        return made

    def add(self, tensor: torch.Tensor, inputs: list[TensorRecord], abstract: bool) -> tuple[TensorRecord, bool]:
        """The record of a tensor that an operator made of these inputs, and whether it shares memory with one."""
        storage, base = self.known_storage(tensor), None
        if storage is None:
            storage = self.storage(tensor, "activation", abstract or is_meta(tensor), external=False)
        else:
            base = next((record for record in inputs if record.storage is storage), None)
        record = self.record_type(tensor, spec_of(tensor), storage, param=base.param if base else None)
        self._records[id(tensor)] = record
        return record, base is not None

    def add_twin(self, tensor: torch.Tensor, original: TensorRecord) -> None:
        """Record `tensor` as if it were the original."""
        self._storages[storage_key(tensor)] = original.storage
        self._records[id(tensor)] = original.like(tensor)

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
            record = self._records[id(tensor)] = self.record_type(tensor, spec_of(tensor), storage, param=param)
        return record

    def known_storage(self, tensor: torch.Tensor) -> Storage | None:
        """The storage of a tensor, if any tensor in it was seen before."""
        return self._storages.get(storage_key(tensor))

    def storage(self, tensor: torch.Tensor, role: str, abstract: bool, external: bool) -> Storage:
        """The storage of a tensor; a new one gets the given properties."""
        key = storage_key(tensor)
        storage = self._storages.get(key)
        if storage is None:
            storage = self._storages[key] = Storage(len(self._storages), role, abstract, external)
        return storage
