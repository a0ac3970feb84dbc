"""The arguments of one call of an operator, sorted into tensors and attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from costlab.tracing.operators import DEVICE_ARGUMENTS, Operator, json_value
from costlab.tracing.tensor_table import TensorRecord


@dataclass(slots=True)
class Arguments:
    """Tensor arguments by name, plain attributes, and a signature of whatever the result's shapes depend on."""

    inputs: list[tuple[str, TensorRecord]] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    signature: list[Any] = field(default_factory=list)

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
    record: Callable[[torch.Tensor], TensorRecord],
) -> Arguments:
    """Sort the arguments of a call; `record` gives what is known of a tensor."""
    bound = Arguments(attrs=dict(operator.defaults), signature=[func])
    for name, arg in zip(operator.arguments, args, strict=False):
        _bind_one(bound, operator, name, arg, record)
    for name, arg in kwargs.items():
        bound.signature.append(name)
        _bind_one(bound, operator, name, arg, record)
    return bound


def _bind_one(
    bound: Arguments, operator: Operator, name: str, arg: Any, record: Callable[[torch.Tensor], TensorRecord]
) -> None:
    if isinstance(arg, torch.Tensor):
        known = record(arg)
        bound.inputs.append((name, known))
        bound.signature.append(known.spec)
    elif isinstance(arg, (list, tuple)):
        bound.signature.append(len(arg))
        tensors = 0
        for position, item in enumerate(arg):
            if isinstance(item, torch.Tensor):
                tensors += 1
                known = record(item)
                bound.inputs.append((f"{name}.{position}", known))
                bound.signature.append(known.spec)
            else:
                bound.signature.append(item)
        if not tensors:
            bound.attrs[name] = json_value(arg)
    else:
        bound.signature += (type(arg), arg)
        if name not in DEVICE_ARGUMENTS:
            bound.attrs[name] = [arg] if name in operator.lists and isinstance(arg, int) else json_value(arg)
