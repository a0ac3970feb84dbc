"""Costs and how they add: the types that every cost formula shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from costlab.core.graph import ITEM_BYTES, Op, Tensor


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operator costs, or several together. Costs add."""

    mult_adds: int = 0  # multiply-accumulates of contractions, whole batch, no biases
    element_wise_ops: int = 0  # arithmetic outside contractions
    params: int = 0  # elements of distinct parameters
    memory_access: int = 0  # elements read and written
    read_bytes: int = 0
    write_bytes: int = 0
    activations: int = 0  # elements written by convolutions and matmuls
    activation_bytes: int = 0  # bytes of all outputs that are not views
    param_bytes: int = 0  # bytes of distinct parameters

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.mult_adds + other.mult_adds,
            self.element_wise_ops + other.element_wise_ops,
            self.params + other.params,
            self.memory_access + other.memory_access,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
            self.activations + other.activations,
            self.activation_bytes + other.activation_bytes,
            self.param_bytes + other.param_bytes,
        )

    def with_params(self, params: int, param_bytes: int) -> Cost:
        """The same with other parameters."""
        return Cost(
            self.mult_adds,
            self.element_wise_ops,
            params,
            self.memory_access,
            self.read_bytes,
            self.write_bytes,
            self.activations,
            self.activation_bytes,
            param_bytes,
        )

    @property
    def flops(self) -> int:
        """One multiply-accumulate is two floating point operations."""
        return 2 * self.mult_adds

    @property
    def bytes_accessed(self) -> int:
        """Bytes read and written."""
        return self.read_bytes + self.write_bytes

    @property
    def arithmetic_intensity(self) -> float | None:
        """FLOP per byte of traffic; None if nothing moves."""
        return self.flops / self.bytes_accessed if self.bytes_accessed else None


COST_KEYS = tuple(field.name for field in fields(Cost))

Rule = Callable[[Op], Cost]
Touched = tuple[int, Tensor]  # a number of elements of a tensor


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs."""
    result = Cost()
    for cost in costs:
        result = result + cost
    return result


def traffic(
    op: Op,
    mult_adds: int = 0,
    element_wise_ops: int = 0,
    activations: int = 0,
    reads: Iterable[Touched] | None = None,
    writes: Iterable[Touched] | None = None,
) -> Cost:
    """The cost of an operator together with its memory access.

    For a convolution without bias the memory access is MAC = hw (c1 + c2) + k k c1 c2 / g (ShuffleNet V2,
    arXiv 1807.11164, section 2).

    Args:
        op: the operator; its parameters are not part of the cost.
        mult_adds, element_wise_ops: its arithmetic.
        activations: elements that it writes, if it is a convolution or matmul.
        reads: how many elements of which tensors it reads. Default: every input once.
        writes: the same for writes. Default: every output once.
    """
    output_elements, output_bytes = size_of_all((t.elements, t) for t in op.outputs)
    read_elements, read_bytes = size_of_all(((t.elements, t) for t in op.inputs) if reads is None else reads)
    written, written_bytes = (output_elements, output_bytes) if writes is None else size_of_all(writes)
    return Cost(
        mult_adds=mult_adds,
        element_wise_ops=element_wise_ops,
        memory_access=read_elements + written,
        read_bytes=read_bytes,
        write_bytes=written_bytes,
        activations=activations,
        activation_bytes=output_bytes,
    )


def size_of_all(touched: Iterable[Touched]) -> tuple[int, int]:
    """Elements, and the bytes that they take."""
    total_elements = total_bytes = 0
    for elements, tensor in touched:
        total_elements += elements
        total_bytes += elements * ITEM_BYTES[tensor.dtype]
    return total_elements, total_bytes
