"""What operators give on tensors without values: by own rules or torch's meta kernels once, then from memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from costlab.tracing.operators import Operator
from costlab.tracing.shapes import SHAPES
from costlab.tracing.tensors import CPU, META, QUANTISED, all_tensors, moved, on_meta, real_zeros, storage_key

LIMIT = 1 << 22  # elements: what is larger is not computed for real
KEPT = 200_000

Spec = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]  # shape, stride, dtype


class Answer(NamedTuple):
    """How to make the results of an operator signature seen before."""

    fresh: tuple[Spec | None, ...] | None  # None: results share memory with the arguments, so torch makes them
    sequence: type | None  # list or tuple; None for a single result


ANSWERS: dict[tuple[Any, ...], Answer] = {}


def answer_for(
    func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], key: tuple[Any, ...]
) -> Answer:
    """The answer to an operator signature; `key` holds whatever it depends on."""
    try:
        answer = ANSWERS.get(key)
    except TypeError:  # an attribute that cannot be hashed
        key, answer = (), None
    if answer is None:
        answer, lasting = infer(func, operator, args, kwargs)
        if len(ANSWERS) >= KEPT:
            ANSWERS.clear()
        if key and lasting:
            ANSWERS[key] = answer
    return answer


def infer(func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Answer, bool]:
    """Ask torch for the results of an operator: its meta kernel, or a run on zeros where there is none.

    Also says whether the answer lasts: a run on zeros may have looked at values that are known this time only.
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
    results = result if isinstance(result, (list, tuple)) else [result]
    sequence = type(result) if isinstance(result, (list, tuple)) else None
    given_back = () if operator.reshapes_in_place else operator.returned
    specs: list[Spec | None] = []
    for position, tensor in enumerate(results):
        if not isinstance(tensor, torch.Tensor) or any(given_back[position : position + 1]):
            specs.append(None)
        elif storage_key(tensor) in shared:
            return Answer(None, sequence), lasting
        else:
            specs.append((tuple(tensor.shape), tensor.stride(), tensor.dtype))
    return Answer(tuple(specs), sequence), lasting


def quantised(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether quantised tensors go in or come out, which the meta device does not have."""
    tensors = all_tensors((args, kwargs))
    return func.name().startswith("aten::quantize_per_") or any(t.dtype in QUANTISED for t in tensors)
