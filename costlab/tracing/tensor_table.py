"""What the recorder knows of the tensors and storages that it has seen."""

from __future__ import annotations

import weakref

import torch

from costlab.core.graph import Tensor
from costlab.tracing.inference import Spec
from costlab.tracing.layouts import SPARSE, plain_tensors, size_of, stored_elements, unpacked
from costlab.tracing.tensors import is_meta, storage_key

DTYPE_NAMES: dict[torch.dtype, str] = {}


class Storage:
    """Memory that tensors share."""

    __slots__ = ("abstract", "external", "number", "role", "writer")

    def __init__(self, number: int, role: str, abstract: bool, external: bool) -> None:
        self.number = number
        self.role = role
        self.abstract = abstract  # its values are unknown
        self.external = external  # belongs to the user: restored after a write
        self.writer = -1  # position of the last operator that wrote to it in place


class TensorRecord:
    """What is known of one tensor. Keeps it alive, so that its id stays its own."""

    __slots__ = (
        "device",
        "dtype",
        "elements",
        "guessed",
        "param",
        "producer",
        "shape",
        "sparse",
        "spec",
        "storage",
        "tensor",
    )

    def __init__(
        self,
        tensor: torch.Tensor,
        storage: Storage,
        producer: int = -1,
        param: int | None = None,
        guessed: bool = False,
    ) -> None:
        self.tensor = tensor
        self.storage = storage
        self.producer = producer  # position of the operator that made it
        self.param = param  # position among the parameters
        self.guessed = guessed
        self.device: torch.device | None = None  # that the network asked for; None for that of the model
        self.refresh()

    def refresh(self) -> None:
        """Read shape and layout from the tensor."""
        self.shape = tuple(self.tensor.shape)
        dtype = self.tensor.dtype
        self.dtype = DTYPE_NAMES.get(dtype) or DTYPE_NAMES.setdefault(dtype, str(dtype).removeprefix("torch."))
        self.sparse = self.tensor.layout in SPARSE
        if self.sparse:
            self.elements = stored_elements(self.tensor)
            self.spec: Spec = (self.shape, (-1, self.elements), dtype)
            return
        stride = self.tensor.stride()
        self.spec = (self.shape, stride, dtype)
        elements = 1
        for size, step in zip(self.shape, stride, strict=False):
            if step or size == 0:
                elements *= size
        self.elements = elements

    def described(self, name: str, role: str) -> Tensor:
        """The tensor as the graph holds it."""
        return Tensor(name, self.shape, self.dtype, role, self.elements, self.storage.number)


class TensorTable:
    """Records of tensors, by the identity of the tensor and of its storage."""

    record_type = TensorRecord

    def __init__(self) -> None:
        self.params: list[tuple[int, int]] = []  # elements and bytes
        self._records: dict[int, TensorRecord] = {}
        self._storages: dict[int, Storage] = {}
        self._packed: dict[int, tuple[torch.ScriptObject, list[TensorRecord]]] = {}

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._records

    def find(self, tensor: torch.Tensor) -> TensorRecord | None:
        """The record of a tensor, if it was seen before."""
        return self._records.get(id(tensor))

    def register(self, tensor: torch.Tensor, role: str) -> None:
        """Add a parameter, a buffer or an input: a tensor that exists before the forward pass."""
        param = None
        if role == "parameter":
            param = len(self.params)
            self.params.append(size_of(tensor))
        for plain in plain_tensors(tensor):
            storage = self.storage(plain, role, abstract=role == "parameter" or is_meta(plain), external=True)
            self._records[id(plain)] = self.record_type(plain, storage, param=param)

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

    def clear(self) -> list[weakref.ref[torch.Tensor]]:
        """Forget all tensors; weak references to those that operators made without data."""
        made = [weakref.ref(r.tensor) for r in self._records.values() if not r.storage.external and is_meta(r.tensor)]
        self._records.clear()
        self._packed.clear()
        return made

    def add(self, record: TensorRecord) -> TensorRecord:
        """Add a tensor that an operator made."""
        self._records[id(record.tensor)] = record
        return record

    def add_twin(self, tensor: torch.Tensor, original: TensorRecord) -> None:
        """Record `tensor` as if it were the original."""
        self._storages[storage_key(tensor)] = original.storage
        self.add(self.record_type(tensor, original.storage, original.producer, original.param, original.guessed))

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """The record of a tensor; one that was never seen before is a constant."""
        record = self._records.get(id(tensor))
        if record is None:
            if isinstance(tensor, torch.nn.Parameter) and self.known_storage(tensor) is not None:
                self.adopt(tensor)
                if tensor in self:
                    return self._records[id(tensor)]
            storage = self.storage(tensor, "constant", abstract=is_meta(tensor), external=True)
            param = None
            if storage.role == "parameter":  # reached by another object, as in TorchScript
                param = next((r.param for r in self._records.values() if r.storage is storage), None)
            record = self.add(self.record_type(tensor, storage, param=param))
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
