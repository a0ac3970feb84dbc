"""The operators of a traced network and the tensors that flow between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, NamedTuple, get_args

ITEM_BYTES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "quint8": 1,
    "qint8": 1,
    "quint4x2": 1,
    "quint2x4": 1,
    "float4_e2m1fn_x2": 1,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "qint32": 4,
    "float32": 4,
    "complex32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}

Phase = Literal["forward", "backward", "optimizer"]
PHASES: tuple[Phase, ...] = get_args(Phase)
Mode = Literal["eval", "train", "step"]  # inference, a forward pass in train mode, a whole training step
MODES: tuple[Mode, ...] = get_args(Mode)
ROLES = ("input", "parameter", "buffer", "constant", "activation")
CATEGORIES = ("parameter", "buffer", "input", "gradient", "optimizer", "saved", "activation", "temporary")
Fusion = Literal["none", "bn", "pointwise"]  # how operators are merged, see core/fusion.py
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)


class Tensor(NamedTuple):
    """A tensor as one operator sees it."""

    name: str  # the operator's own name for it: "input", "weight", "tensors.0"
    shape: tuple[int, ...]
    dtype: str  # "float32"
    role: str  # one of ROLES
    elements: int  # distinct elements: a broadcast dimension of stride 0 counts once
    storage: int  # tensors that share memory share this number

    @property
    def numel(self) -> int:
        """Elements of the shape, broadcast ones included."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the distinct elements."""
        return self.elements * ITEM_BYTES[self.dtype]


class Source(NamedTuple):
    """A line of Python."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Op:
    """One operator: a node of the graph."""

    name: str  # unique: "features.3.conv.0/conv2d"
    kind: str  # "conv2d"
    module: str  # path of the nn.Module that called it, "" for the root
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attrs: dict[str, Any]  # plain data: stride, padding, groups, ...
    source: Source | None  # the innermost line outside torch that called it
    after: tuple[int, ...]  # positions of the operators whose results it reads
    free: bool  # moves no data: a view, or an operator that returns its input
    estimated: bool  # its sizes are estimates
    params: int  # elements of the parameters that it is the first to read
    param_bytes: int
    phase: Phase = "forward"
    frozen_params: int = 0  # those of `params` that require no gradient

    def find(self, name: str) -> Tensor | None:
        """The input of that name; None if it is missing."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        return None

    def __getitem__(self, name: str) -> Tensor:
        """The input of that name; KeyError if it is missing."""
        tensor = self.find(name)
        if tensor is None:
            raise KeyError(f"{self.kind} has no input {name!r}, only {[i.name for i in self.inputs]}")
        return tensor

    def each(self, name: str) -> list[Tensor]:
        """The members of a list input: `tensors.0`, `tensors.1`, ..."""
        return [t for t in self.inputs if t.name.startswith(name + ".")]

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """An nn.Module of the network: one row of a report."""

    path: str
    type: str
    source: Source | None  # where its class is defined; for torch's own layers, the line that calls it
    output_shape: tuple[int, ...] | None  # None if it was never called or returns no tensor
    unused_params: int  # elements of its own parameters that no operator reads
    unused_param_bytes: int
    unused_frozen_params: int = 0  # those of `unused_params` that require no gradient
    calls: int | None = None  # how often it was called; None if no call was seen


class InputInfo(NamedTuple):
    """A tensor handed to the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class StorageInfo(NamedTuple):
    """Memory that a training step allocates, or that lives before it, and how long it lives."""

    number: int  # as in `Tensor.storage`
    bytes: int
    category: str  # one of CATEGORIES
    first: int  # position of the operator that allocates it; -1: before the step
    last: int  # position of the last operator during which it lives
    saved_by: int  # position of the operator that keeps it for the backward pass; -1: none


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """What a trace knows of a training step beyond its operators."""

    optimizer: str
    trainable_params: int
    gradient_bytes: int  # of all trainable parameters
    optimizer_bytes: int
    shards: int  # devices that parameters, gradients and optimizer state are divided among
    storages: tuple[StorageInfo, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """What a pass did: operators in execution order, and the modules they belong to."""

    ops: tuple[Op, ...]
    modules: tuple[ModuleInfo, ...]
    inputs: tuple[InputInfo, ...]
    outputs: tuple[int, ...]  # storages of what the model returns
    mode: str  # one of MODES
    absent: Mapping[str, str] = field(default_factory=dict)  # inputs that forward was not given, with the reason
    buffer_bytes: int | None = None  # of the distinct buffers; None if unknown
    step: TrainingStep | None = None  # in mode "step"
    autocast: str | None = None  # the lower precision, if traced under autocast
    # Of a forward pass, by storage that Python holds after its last use: position of the last operator while it does.
    held: Mapping[int, int] = field(default_factory=dict)
