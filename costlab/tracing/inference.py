"""Results of operators on tensors without values: from own shape rules or torch's meta kernels once, then repeated."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch

from costlab.tracing.backward_shapes import BACKWARD_SHAPES
from costlab.tracing.calls import Call
from costlab.tracing.cpu_layouts import laid_out
from costlab.tracing.shapes import SHAPES
from costlab.tracing.specs import Spec, spec_of
from costlab.tracing.tensors import (
    CPU,
    META,
    QUANTISED,
    all_tensors,
    moved,
    on_meta,
    real_zeros,
    storage_key,
    with_device,
)

LIMIT = 1 << 22  # elements: larger tensors are not computed for real


# The truth value of one operand that decides the result.
ABSORBING = {"bitwise_and": False, "logical_and": False, "mul": False, "bitwise_or": True, "logical_or": True}


class Fresh(NamedTuple):
    """A result with memory of its own."""

    spec: Spec

    def made(self, call: Call) -> torch.Tensor:
        """The result, without values."""
        return self.spec.placeholder()


class View(NamedTuple):
    """A result in the memory of an argument."""

    base: int  # position of the argument among the tensors
    spec: Spec
    offset: int  # elements from the first one of the argument

    def made(self, call: Call) -> torch.Tensor:
        """The view of this call's argument."""
        base = call.records[self.base].tensor
        return base.as_strided(self.spec.shape, self.spec.stride, base.storage_offset() + self.offset)


class Written(NamedTuple):
    """A result that is an argument, which the operator writes."""

    position: int  # of the argument among the tensors

    def made(self, call: Call) -> torch.Tensor:
        """The argument."""
        return call.records[self.position].tensor


class Value(NamedTuple):
    """A result that is no tensor."""

    value: Any

    def made(self, call: Call) -> Any:
        """The same every time."""
        return self.value


class Outputs(NamedTuple):
    """How to make the results of an operator."""

    results: Sequence[Fresh | View | Written | Value] | None  # None: torch makes them each time
    sequence: type | None  # list or tuple; None for a single result


def infer(call: Call) -> Any:
    """The results of a call, without values."""
    outputs = outputs_of(call)
    if outputs.results is None:
        return call.run()
    made = [result.made(call) for result in outputs.results]
    for record in call.written:
        record.storage.abstract = True
    return made[0] if outputs.sequence is None else outputs.sequence(made)


def outputs_of(call: Call) -> Outputs:
    """How to make the results of a call and of all that have its signature."""
    outputs = call.signature.outputs
    if outputs is None:
        outputs, lasting = ask_torch(call)
        if lasting:
            call.signature.outputs = outputs
    return outputs


def ask_torch(call: Call) -> tuple[Outputs, bool]:
    """How to make the results, by a shape rule, the meta kernel, or a run on zeros if there is neither.

    Also returns whether this lasts: a run on zeros may have used values that are only known this time.
    """
    overload = call.operator.overload
    lasting = not quantised(call)
    reason: Exception | None = None
    if lasting:
        args, kwargs = moved(list(call.args), on_meta), moved(call.kwargs, on_meta)
        try:
            known = SHAPES.get(overload.name()) or BACKWARD_SHAPES.get(overload.name())
            result = known(*args, **kwargs) if known else NotImplemented
            if result is NotImplemented:
                result = overload(*args, **kwargs)
            result = laid_out(overload.name(), result, args)
        except (NotImplementedError, RuntimeError, IndexError, TypeError, ValueError) as error:
            # No meta kernel, or one that needs values: a run on zeros answers, or raises from this error.
            size = sum(t.numel() for t in all_tensors((call.args, call.kwargs)))
            if call.operator.composite or size > 4 * LIMIT:
                raise
            lasting, reason = False, error
    if not lasting:
        args, kwargs = moved(list(call.args), real_zeros), moved(call.kwargs, real_zeros)
        try:
            result = overload(*args, **{k: CPU if v == META else v for k, v in kwargs.items()})
        except Exception as error:
            raise error from reason
    return recipe(call, result, all_tensors((args, kwargs)), lasting), lasting


def recipe(call: Call, result: Any, tensors: list[torch.Tensor], views: bool) -> Outputs:
    """How to make this result of these arguments again.

    Args:
        views: a result may be a view of an argument; else torch makes those.
    """
    sequence = type(result) if isinstance(result, (list, tuple)) else None
    returned = () if call.operator.reshapes_in_place else call.operator.returned
    names = call.signature.names
    bases = {storage_key(tensor): (position, tensor) for position, tensor in enumerate(tensors)}
    results: list[Fresh | View | Written | Value] = []
    for position, tensor in enumerate([result] if sequence is None else result):
        written = returned[position] if position < len(returned) else None
        if written is not None:
            results.append(Written(names.index(written)) if written in names else Value(None))
        elif not isinstance(tensor, torch.Tensor):
            results.append(Value(tensor))
        elif storage_key(tensor) not in bases:
            results.append(Fresh(spec_of(tensor)))
        else:
            base, argument = bases[storage_key(tensor)]
            same = tensor.dtype == argument.dtype and not tensor.is_complex()
            if not (views and same) or call.operator.reshapes_in_place:
                return Outputs(None, sequence)
            results.append(View(base, spec_of(tensor), int(tensor.storage_offset())))
    return Outputs(tuple(results), sequence)


def is_too_large(call: Call) -> bool:
    """Whether computing an operator takes too much time or memory."""
    known = call.signature.too_large
    if known is None:
        known = call.signature.too_large = takes_too_much(call)
    return known


def takes_too_much(call: Call) -> bool:
    """The same, worked out from the sizes of the arguments and, if they leave it open, of the results."""
    if sum(record.elements for record in call.records) > LIMIT:
        return True
    bound = prod(max(record.elements, 1) for record in call.records)
    for value in call.signature.attrs.values():
        if bound > LIMIT:
            break
        sizes = value if isinstance(value, list) else [value]
        bound *= prod(max(abs(n), 1) for n in sizes if isinstance(n, int) and not isinstance(n, bool))
    if bound <= LIMIT or call.operator.guess:
        return False
    args, kwargs = call.args, call.kwargs
    if call.operator.has_device:
        call.args, call.kwargs = with_device(args, kwargs, META)
    try:
        outputs = outputs_of(call)
    except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
        return False  # running it fails as well, and that error is the one the user sees
    finally:
        call.args, call.kwargs = args, kwargs
    return any(type(result) is Fresh and prod(result.spec.shape) > 4 * LIMIT for result in outputs.results or ())


def quantised(call: Call) -> bool:
    """Whether an operator reads or returns quantised tensors, which the meta device does not support."""
    tensors = all_tensors((call.args, call.kwargs))
    return call.operator.overload.name().startswith("aten::quantize_per_") or any(t.dtype in QUANTISED for t in tensors)


def absorbed(call: Call) -> torch.Tensor | None:
    """The result of `a & 0`, `a * 0` or `a | true`, which is known whatever `a` is; None if it is not."""
    absorbing, records = ABSORBING[call.operator.kind], call.records
    if call.operator.written or len(records) != 2 or any(not is_whole(record.tensor) for record in records):
        return None
    known = next((record.tensor for record in records if not record.storage.abstract), None)
    left, right = records
    dtype = torch.promote_types(left.tensor.dtype, right.tensor.dtype)
    if known is None or (absorbing and dtype != torch.bool):
        return None
    if not bool(known.all() if absorbing else (known == 0).all()):
        return None
    return torch.full(torch.broadcast_shapes(left.shape, right.shape), int(absorbing), dtype=dtype)


def is_whole(tensor: torch.Tensor) -> bool:
    """Whether a tensor contains integers or truth values."""
    return not (tensor.is_floating_point() or tensor.is_complex())
