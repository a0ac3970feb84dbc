"""Operators that take functions: their branches and bodies are traced, a fused kernel becomes one operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from costlab.tracing.calls import bind
from costlab.tracing.operators import Operator
from costlab.tracing.tensors import all_tensors

if TYPE_CHECKING:
    from costlab.tracing.recorder import Recorder

Handler = Callable[..., Any]


def run(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a higher-order operator, with what it runs recorded."""
    handler = HANDLERS.get(func.name(), call_function)
    return handler(recorder, *args, **kwargs)


def in_network(recorder: Recorder, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the network under the recorder."""
    with recorder, recorder.working(busy=False):
        return function(*args)


def asked(recorder: Recorder, value: Any, expected: bool | None = None) -> bool:
    """The truth of a predicate, recorded as a question if it is a tensor."""
    if not isinstance(value, torch.Tensor):
        return bool(value)
    with recorder, recorder.expecting(expected):
        return bool(value)


# Control flow.


def cond(recorder: Recorder, pred: Any, true_fn: Handler, false_fn: Handler, operands: Sequence[Any] = ()) -> Any:
    """The branch that is taken; the more expensive one if that is unknown."""
    unknown = isinstance(pred, torch.Tensor) and recorder.is_abstract(pred)
    chosen = asked(recorder, pred)
    if not unknown:
        return in_network(recorder, true_fn if chosen else false_fn, *operands)
    branches = [lambda fn=fn: in_network(recorder, fn, *operands) for fn in (true_fn, false_fn)]
    result = recorder.operations.most_expensive(branches)
    for tensor in all_tensors(result):
        recorder.table.record(tensor).guessed = True
    return result


def while_loop(
    recorder: Recorder, cond_fn: Handler, body_fn: Handler, carried: Any, additional: Sequence[Any] = (), **_: Any
) -> Any:
    """The body until the condition is false; an unknown condition is true for a bounded number of rounds."""
    while asked(recorder, in_network(recorder, cond_fn, *carried, *additional), expected=True):
        carried = in_network(recorder, body_fn, *carried, *additional)
    return tuple(carried)


def scan(recorder: Recorder, combine: Handler, init: Any, xs: Any, additional: Sequence[Any] = ()) -> Any:
    """One step after the other along the first dimension: carries and stacked outputs."""
    carry, outputs = list(init), []
    for step in range(xs[0].shape[0]):
        result = in_network(recorder, lambda c=carry, i=step: combine(*c, *(x[i] for x in xs), *additional))
        carry, output = list(result[: len(carry)]), result[len(carry) :]
        outputs.append(output)
    stacked = in_network(recorder, lambda: [torch.stack(list(ys)) for ys in zip(*outputs, strict=True)])
    return [*carry, *stacked]


def associative_scan(recorder: Recorder, combine: Handler, xs: Any, additional: Sequence[Any] = ()) -> Any:
    """Every element is combined with the one before it: n - 1 combinations, at once."""

    def combined() -> list[torch.Tensor]:
        pairs = combine(*(x[:-1] for x in xs), *(x[1:] for x in xs), *additional)
        return [torch.cat([x[:1], y]) for x, y in zip(xs, pairs, strict=True)]

    return in_network(recorder, combined)


def map_over(recorder: Recorder, function: Handler, xs: Sequence[Any], additional: Sequence[Any] = ()) -> Any:
    """The function of each slice along the first dimension."""

    def mapped() -> list[torch.Tensor]:
        rows = [function(*(x[i] for x in xs), *additional) for i in range(xs[0].shape[0])]
        return [torch.stack(list(column)) for column in zip(*rows, strict=True)]

    return in_network(recorder, mapped)


def call_function(recorder: Recorder, *args: Any, **kwargs: Any) -> Any:
    """Whatever function is among the arguments, called on those after it: checkpoint, wrap, autocast regions."""
    position = next(i for i, arg in enumerate(args) if callable(arg))
    options = {k: v for k, v in kwargs.items() if isinstance(v, torch.Tensor)}
    return in_network(recorder, lambda: args[position](*args[position + 1 :], **options))


def out_dtype(recorder: Recorder, func: Any, dtype: torch.dtype, *args: Any) -> torch.Tensor:
    """A product with a result of another type."""
    return in_network(recorder, lambda: func(*args).to(dtype))


# Fused kernels.


def one_operator(
    recorder: Recorder, operator: Operator, args: tuple[Any, ...], results: Any, attrs: dict[str, Any] | None = None
) -> Any:
    """Record a call as one operator with the given results."""
    call = bind(operator, args, {}, recorder.table)
    call.attrs.update(attrs or {})
    return recorder.operations.add(call, results, True, any(record.guessed for record in call.records))


def flex_attention(
    recorder: Recorder,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    score_mod: Any,
    block_mask: tuple[Any, ...],
    *rest: Any,
    **named: Any,
) -> Any:
    """Attention in blocks: those that the block mask leaves out are not computed."""
    n, h, length, _ = query.shape
    output = query.new_empty((n, h, length, value.shape[-1]), device="meta")
    sums = [query.new_empty((n, h, length), dtype=torch.float32, device="meta") for _ in range(2)]
    scores, guessed = block_scores(recorder, block_mask, n, h, length, key.shape[-2])
    operator = Operator("flex_attention", ("query", "key", "value"))
    results = one_operator(recorder, operator, (query, key, value), (output, *sums), {"scores": scores})
    if guessed:
        recorder.operations.mark_as_estimate(results)
    return results


def block_scores(
    recorder: Recorder, block_mask: Sequence[Any], n: int, h: int, queries: int, keys: int
) -> tuple[int, bool]:
    """How many scores are computed under a block mask, and whether its values are unknown."""
    counts = [block_mask[i] for i in (2, 4) if len(block_mask) > i and isinstance(block_mask[i], torch.Tensor)]
    sizes = [number for number in block_mask if isinstance(number, int)][-2:]
    if not counts or len(sizes) < 2:
        return n * h * queries * keys, False
    if any(recorder.is_abstract(count) for count in counts):
        return n * h * queries * keys, True
    shape = counts[0].shape
    repeats = (n // shape[0]) * (h // shape[1])
    blocks = sum(int(count.sum()) for count in counts) * repeats
    rows, columns = min(sizes[0], queries), min(sizes[1], keys)
    return min(blocks * rows * columns, n * h * queries * keys), False


def triton_kernel(recorder: Recorder, *args: Any, **kwargs: Any) -> Any:
    """An opaque kernel: one operator by its name, which may write all of its tensors."""
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    kernel = kernel_side_table.get_kernel(kwargs["kernel_idx"])
    tensors = all_tensors(kwargs["kwargs"])
    name = getattr(getattr(kernel, "fn", kernel), "__name__", type(kernel).__name__)
    names = tuple(f"arg{i}" for i in range(len(tensors)))
    operator = Operator(f"triton::{name}", names, written=frozenset(names), returned=())
    one_operator(recorder, operator, tuple(tensors), None)
    for tensor in tensors:
        recorder.table.record(tensor).storage.abstract = True
    return {k: v for k, v in kwargs["kwargs"].items() if isinstance(v, torch.Tensor)}


HANDLERS: dict[str, Handler] = {
    "cond": cond,
    "while_loop": while_loop,
    "scan": scan,
    "associative_scan": associative_scan,
    "map_impl": map_over,
    "map": map_over,
    "out_dtype": out_dtype,
    "flex_attention": flex_attention,
    "triton_kernel_wrapper_mutation": triton_kernel,
    "triton_kernel_wrapper_functional": triton_kernel,
}
