"""One call of an operator, and what it shares with every call whose arguments look the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from costlab.tracing.autocast import LOWERED, lower_precision
from costlab.tracing.operators import DEVICE_ARGUMENTS, Operator, json_value, specific_kind
from costlab.tracing.tensor_table import TensorRecord, TensorTable

if TYPE_CHECKING:
    from costlab.tracing.inference import Outputs

MOST = 50_000  # signatures that are remembered
PLAIN = frozenset((int, bool, type(None)))


@dataclass(slots=True, eq=False)
class Signature:
    """What follows from an operator, the specs of its tensor arguments and the values of all others."""

    names: tuple[str, ...]  # of the tensors among the arguments: "input", "tensors.0"
    attrs: dict[str, Any]  # the other arguments as plain data
    kind: str
    device: torch.device | None  # among the arguments; None for that of the model
    written: tuple[int, ...]  # which of the tensors the operator writes in place
    lower: torch.dtype | None  # what autocast cast some of the tensors to, but not all, if it was autocast
    outputs: Outputs | None = None  # once they are known
    too_large: bool | None = None  # once that is known


@dataclass(slots=True, eq=False)
class Call:
    """One call of an operator."""

    operator: Operator
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    records: list[TensorRecord]  # of the tensors among the arguments
    signature: Signature
    attrs: dict[str, Any]
    device: torch.device | None  # that results are to report; None for that of the model

    @property
    def inputs(self) -> list[tuple[str, TensorRecord]]:
        """The tensors among the arguments with their names."""
        return list(zip(self.signature.names, self.records, strict=True))

    @property
    def written(self) -> list[TensorRecord]:
        """The tensors that the operator writes in place."""
        positions = self.signature.written
        return [self.records[i] for i in positions] if positions else []

    def run(self) -> Any:
        """The result as torch gives it."""
        return self.operator.overload(*self.args, **self.kwargs)


SIGNATURES: dict[tuple[Any, ...], Signature] = {}


def bind(operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], table: TensorTable) -> Call:
    """The call of an operator with these arguments."""
    records: list[TensorRecord] = []
    key: list[Any] = [operator, torch.get_default_dtype()]
    for arg in args:
        kind = type(arg)
        if kind in PLAIN:
            key += (kind, arg)
        elif isinstance(arg, torch.Tensor):
            record = table.record(arg)
            records.append(record)
            key.append(record.spec)
        elif kind is list and arg and type(arg[0]) in (int, bool):  # there are no tensors in it
            key.append(tuple(arg))
        else:
            add_to_key(key, records, arg, table)
    for name, arg in kwargs.items():
        key.append(name)
        add_to_key(key, records, arg, table)
    try:
        signature = SIGNATURES.get(tuple(key))
    except TypeError:  # an argument that cannot be hashed
        signature = new_signature(operator, args, kwargs, records, table)
    if signature is None:
        if len(SIGNATURES) >= MOST:
            SIGNATURES.clear()
        signature = SIGNATURES[tuple(key)] = new_signature(operator, args, kwargs, records, table)
    return Call(operator, args, kwargs, records, signature, signature.attrs.copy(), signature.device)


def add_to_key(key: list[Any], records: list[TensorRecord], arg: Any, table: TensorTable) -> None:
    """Add what a signature depends on, and the records of the tensors in an argument."""
    if isinstance(arg, torch.Tensor):
        record = table.record(arg)
        records.append(record)
        key.append(record.spec)
    elif isinstance(arg, (list, tuple)):
        key.append(len(arg))
        for item in arg:
            if isinstance(item, (torch.Tensor, torch.ScriptObject)):
                add_to_key(key, records, item, table)
            else:
                key.append(item)
    elif isinstance(arg, torch.ScriptObject):  # the packed parameters of a quantised layer
        packed = table.packed(arg)
        records += packed
        key += (len(packed), *(record.spec for record in packed))
    else:
        key += (type(arg), str(arg) if type(arg) is float and not arg else arg)  # 0.0 and -0.0 are equal


def new_signature(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], records: list[TensorRecord], table: TensorTable
) -> Signature:
    """What follows from the arguments of a call, sorted into tensors and attributes."""
    names: list[str] = []
    attrs = dict(operator.defaults)
    device = None
    for name, arg in (*zip(operator.arguments, args, strict=False), *kwargs.items()):
        found = list(names_of_tensors(name, arg, table))
        names += found
        if isinstance(arg, torch.device) and arg.type != "meta":
            device = arg
        if not found and not isinstance(arg, torch.ScriptObject) and name not in DEVICE_ARGUMENTS:
            attrs[name] = [arg] if name in operator.lists and isinstance(arg, int) else json_value(arg)
    ranks = (len(record.spec.shape) for name, record in zip(names, records, strict=True) if name == "weight")
    return Signature(
        names=tuple(names),
        attrs=attrs,
        kind=specific_kind(operator.kind, attrs, next(ranks, 0)),
        device=device,
        written=tuple(i for i, name in enumerate(names) if name.partition(".")[0] in operator.written),
        lower=lower_precision(record.spec.dtype for record in records) if operator.kind in LOWERED else None,
    )


def names_of_tensors(name: str, arg: Any, table: TensorTable) -> Iterator[str]:
    """The names of the tensors in an argument, also of those in the packed parameters of quantised layers."""
    if isinstance(arg, torch.Tensor):
        yield name
        return
    packed = 0
    for position, item in enumerate(arg if isinstance(arg, (list, tuple)) else [arg]):
        if isinstance(item, torch.Tensor):
            yield f"{name}.{position}"
        elif isinstance(item, torch.ScriptObject):
            for record in table.packed(item):
                part = "weight" if record.tensor.is_quantized else "bias"
                yield f"{name}.{packed}" if name == "params" else part
                packed += 1
