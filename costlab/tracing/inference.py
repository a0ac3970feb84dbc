"""Results of operators on tensors without values: from own shape rules or torch's meta kernels once, then cached."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from costlab.tracing.operators import Operator
from costlab.tracing.shapes import SHAPES
from costlab.tracing.tensors import CPU, META, QUANTISED, all_tensors, moved, on_meta, real_zeros, storage_key

LIMIT = 1 << 22  # elements: larger tensors are not computed for real
CACHE_SIZE = 200_000

Spec = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]  # shape, stride, dtype


class Outputs(NamedTuple):
    """How to make the results of an operator."""

    # How to make each result: numbers are kept, None stands for an argument that is returned. No tuple if results
    # share memory with arguments: then torch makes them.
    fresh: tuple[Spec | float | None, ...] | None
    sequence: type | None  # list or tuple; None for a single result


CACHE: dict[tuple[Any, ...], Outputs] = {}  # by operator signature


def infer_outputs(
    func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], signature: tuple[Any, ...]
) -> Outputs:
    """The results of an operator; `signature` contains everything that they depend on."""
    try:
        outputs = CACHE.get(signature)
    except TypeError:  # an attribute that cannot be hashed
        signature, outputs = (), None
    if outputs is None:
        outputs, lasting = ask_torch(func, operator, args, kwargs)
        if len(CACHE) >= CACHE_SIZE:
            CACHE.clear()
        if signature and lasting:
            CACHE[signature] = outputs
    return outputs


def ask_torch(func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Outputs, bool]:
    """The results by a shape rule, the meta kernel, or a run on zeros if there is neither.

    Also returns whether they last: a run on zeros may have used values that are only known this time.
    """
    lasting = not quantised(func, args, kwargs)
    reason: Exception | None = None
    if lasting:
        shadow = moved(list(args), on_meta), moved(kwargs, on_meta)
        try:
            known = SHAPES.get(func.name())
            result = known(*shadow[0], **shadow[1]) if known else NotImplemented
            if result is NotImplemented:
                result = func(*shadow[0], **shadow[1])
        except (NotImplementedError, RuntimeError, IndexError, TypeError, ValueError) as error:
            if operator.composite or sum(t.numel() for t in all_tensors((args, kwargs))) > 4 * LIMIT:
                raise
            lasting, reason = False, error
    if not lasting:
        shadow = moved(list(args), real_zeros), moved(kwargs, real_zeros)
        try:
            result = func(*shadow[0], **{k: CPU if v == META else v for k, v in shadow[1].items()})
        except Exception as error:
            raise error from reason
    shared = {storage_key(t) for t in all_tensors(shadow)}
    return outputs_of(result, () if operator.reshapes_in_place else operator.returned, shared), lasting


def outputs_of(result: Any, returned: tuple[str | None, ...], shared: set[int]) -> Outputs:
    """How to make this result again.

    Args:
        returned: for each result, the written argument that it is.
        shared: the storages of the arguments.
    """
    results = result if isinstance(result, (list, tuple)) else [result]
    sequence = type(result) if isinstance(result, (list, tuple)) else None
    specs: list[Spec | float | None] = []
    for position, tensor in enumerate(results):
        if any(returned[position : position + 1]):
            specs.append(None)
        elif not isinstance(tensor, torch.Tensor):
            specs.append(tensor)
        elif storage_key(tensor) in shared:
            return Outputs(None, sequence)
        else:
            specs.append((tuple(tensor.shape), tensor.stride(), tensor.dtype))
    return Outputs(tuple(specs), sequence)


def quantised(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operator reads or returns quantised tensors, which the meta device does not support."""
    tensors = all_tensors((args, kwargs))
    return func.name().startswith("aten::quantize_per_") or any(t.dtype in QUANTISED for t in tensors)
