"""The arguments of one call of an operator, sorted into tensors and attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from costlab.tracing.operators import DEVICE_ARGUMENTS, Operator, json_value
from costlab.tracing.tensor_table import TensorRecord, TensorTable


@dataclass(slots=True)
class Arguments:
    """Tensor arguments by name, plain attributes, and a signature of whatever the result's shapes depend on."""

    inputs: list[tuple[str, TensorRecord]] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    signature: list[Any] = field(default_factory=list)
    device: torch.device | None = None  # that results are to report; None for that of the model

    def written(self, operator: Operator) -> list[TensorRecord]:
        """The tensors that the operator writes in place."""
        if not operator.written:
            return []
        return [record for name, record in self.inputs if name.partition(".")[0] in operator.written]


def bind(
    func: Any,
    operator: Operator,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    table: TensorTable,
) -> Arguments:
    """Sort the arguments of a call."""
    bound = Arguments(attrs=dict(operator.defaults), signature=[func])
    for name, arg in zip(operator.arguments, args, strict=False):
        _bind_one(bound, operator, name, arg, table)
    for name, arg in kwargs.items():
        bound.signature.append(name)
        _bind_one(bound, operator, name, arg, table)
    return bound


def _bind_one(bound: Arguments, operator: Operator, name: str, arg: Any, table: TensorTable) -> None:
    """Add one argument to those of an operator: a tensor to its inputs, anything else to its attributes."""
    if isinstance(arg, torch.Tensor):
        known = table.record(arg)
        bound.inputs.append((name, known))
        bound.signature.append(known.spec)
    elif isinstance(arg, (list, tuple)):
        bound.signature.append(len(arg))
        tensors = 0
        for position, item in enumerate(arg):
            if isinstance(item, torch.Tensor):
                tensors += 1
                known = table.record(item)
                bound.inputs.append((f"{name}.{position}", known))
                bound.signature.append(known.spec)
            elif isinstance(item, torch.ScriptObject):
                tensors += _bind_packed(bound, name, item, table)
            else:
                bound.signature.append(item)
        if not tensors:
            bound.attrs[name] = json_value(arg)
    elif isinstance(arg, torch.ScriptObject):
        _bind_packed(bound, name, arg, table)
    else:
        if isinstance(arg, torch.device) and arg.type != "meta":
            bound.device = arg
        bound.signature += (type(arg), arg)
        if name not in DEVICE_ARGUMENTS:
            bound.attrs[name] = [arg] if name in operator.lists and isinstance(arg, int) else json_value(arg)


def _bind_packed(bound: Arguments, name: str, packed: torch.ScriptObject, table: TensorTable) -> int:
    """Add the weights and biases inside the packed parameters of a quantised layer; returns how many there are."""
    records = table.packed(packed)
    bound.signature.append(hash(packed))
    for record in records:
        part = "weight" if record.tensor.is_quantized else "bias"
        number = sum(other.startswith(f"{name}.") for other, _ in bound.inputs)
        bound.inputs.append((f"{name}.{number}" if name == "params" else part, record))
    return len(records)
