"""An operator and its position in a network: everything that determines its kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from costlab.core.cost import Cost
from costlab.core.graph import ITEM_BYTES, Op, Tensor
from costlab.latency.execution import ExecutionConfig
from costlab.latency.layouts import Layout


class Operand(NamedTuple):
    """An input as an operator finds it in memory."""

    tensor: Tensor
    layout: Layout
    dtype: str  # as stored
    distance: float  # bytes of activations moved since it was last touched
    batched: bool  # grows with the batch
    fused: bool = False  # the kernel that computes it, made by a compiler, also runs the operator

    @property
    def item_bytes(self) -> int:
        return ITEM_BYTES[self.dtype]

    @property
    def bytes(self) -> int:
        return self.tensor.elements * self.item_bytes


@dataclass(frozen=True)
class Site:
    """An operator with its inputs and surroundings."""

    position: int
    op: Op
    cost: Cost
    config: ExecutionConfig
    inputs: tuple[Operand, ...]
    written: float  # bytes of its outputs that grow with the batch, or of all if none does
    fixed: float  # bytes of the others
    batched: bool  # grows with the batch
    reduces: bool  # its output does not grow although it does: the gradient of a parameter
    members: Sequence[Op]  # the traced operators that were fused into it, or itself
    readers: Sequence[Op]  # operators that read its output; only for compiled code

    def operand(self, name: str) -> Operand:
        """The input of that name."""
        return next(operand for operand in self.inputs if operand.tensor.name == name)
