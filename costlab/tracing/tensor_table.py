"""What the recorder knows of the tensors and storages that it has seen."""

from __future__ import annotations

import torch

from costlab.core.graph import Tensor
from costlab.tracing.inference import Spec
from costlab.tracing.tensors import storage_key

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

    __slots__ = ("dtype", "elements", "guessed", "param", "producer", "shape", "spec", "storage", "tensor")

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
        self.refresh()

    def refresh(self) -> None:
        """Read shape and layout from the tensor."""
        self.shape = tuple(self.tensor.shape)
        dtype = self.tensor.dtype
        try:
            stride = self.tensor.stride()
        except RuntimeError:  # a sparse tensor has no strides
            stride = ()
        self.spec: Spec = (self.shape, stride, dtype)
        self.dtype = DTYPE_NAMES.get(dtype) or DTYPE_NAMES.setdefault(dtype, str(dtype).removeprefix("torch."))
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

    def __init__(self) -> None:
        self.params: list[torch.Tensor] = []
        self._records: dict[int, TensorRecord] = {}
        self._storages: dict[int, Storage] = {}

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._records

    def register(self, tensor: torch.Tensor, role: str) -> None:
        """Add a parameter, a buffer or an input: a tensor that exists before the forward pass."""
        storage = self.storage(tensor, role, abstract=role == "parameter" or tensor.is_meta, external=True)
        param = None
        if role == "parameter":
            param = len(self.params)
            self.params.append(tensor)
        self._records[id(tensor)] = TensorRecord(tensor, storage, param=param)

    def add(self, record: TensorRecord) -> TensorRecord:
        """Add a tensor that an operator made."""
        self._records[id(record.tensor)] = record
        return record

    def add_twin(self, tensor: torch.Tensor, original: TensorRecord) -> None:
        """Record `tensor` as if it were the original."""
        self._storages[storage_key(tensor)] = original.storage
        self.add(TensorRecord(tensor, original.storage, original.producer, original.param, original.guessed))

    def record(self, tensor: torch.Tensor) -> TensorRecord:
        """The record of a tensor; one that was never seen before is a constant."""
        record = self._records.get(id(tensor))
        if record is None:
            storage = self.storage(tensor, "constant", abstract=tensor.is_meta, external=True)
            param = None
            if storage.role == "parameter":  # reached by another object, as in TorchScript
                param = next((r.param for r in self._records.values() if r.storage is storage), None)
            record = self.add(TensorRecord(tensor, storage, param=param))
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
