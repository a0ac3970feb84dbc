"""The arguments of one forward pass, and what users may write instead of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from costlab.errors import CostlabError, ForwardError

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")

# Arguments that steer what forward does with its data.
BESIDE_DATA = re.compile(r"mask|label|position|token_type|past_|cache|embeds|output|return|^use_")


@dataclass(frozen=True, eq=False)
class Inputs(Sequence[Any]):
    """The arguments of one forward pass, as `profile` and `measure` take them; `inputs.call(model)` runs it.

    Without keyword arguments it unpacks as its positional ones: `model(*inputs)`.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)  # arguments that a provider left out, with the reason
    tuples: Inputs | None = None  # the same with tuples of integers where shapes may be meant

    def call(self, model: torch.nn.Module) -> Any:
        """What the model returns for these inputs."""
        return model(*self.args, **self.kwargs)

    def __iter__(self) -> Iterator[Any]:
        if self.kwargs:
            raise CostlabError(f"inputs include keyword arguments ({', '.join(self.kwargs)}): use inputs.call(model)")
        return iter(self.args)

    def __len__(self) -> int:
        return len(self.args)

    def __getitem__(self, index: Any) -> Any:
        return self.args[index]


def as_inputs(inputs: Any = (), kwargs: Mapping[str, Any] | None = None) -> Inputs:
    """The arguments that a user means.

    Args:
        inputs: a shape, a list of shapes, a tensor, positional arguments, or `Inputs`.
        kwargs: keyword arguments; tensors or shapes.

    Raises:
        CostlabError: `inputs` is something else, or a shape has a size below 1.
    """
    import torch

    named = {key: tensor_of(value) for key, value in (kwargs or {}).items()}
    if isinstance(inputs, Inputs):
        return replace(inputs, kwargs={**inputs.kwargs, **named})
    if isinstance(inputs, (torch.Tensor, Mapping)) or is_shape(inputs):
        return Inputs((tensor_of(inputs),), named)
    if isinstance(inputs, (list, tuple)):
        return Inputs(tuple(map(tensor_of, inputs)), named)
    raise CostlabError(f"inputs must be shapes or tensors, got {type(inputs).__name__}")


def shape(*sizes: int, dtype: str | torch.dtype = "float32") -> torch.Tensor:
    """An input of this shape, without values: `shape(1, 3, 224, 224)`, `shape(1, 128, dtype="int64")`.

    A tuple says the same to `profile` and `measure`, unless forward takes a tuple there. `shape()` is a single number.

    Raises:
        CostlabError: a size is below 1, or the dtype is unknown.
    """
    import torch

    kind = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise CostlabError(f"unknown dtype {dtype!r}: use one such as 'float32', 'bfloat16' or 'int64'")
    if any(size < 1 for size in sizes):
        raise CostlabError(f"sizes must be 1 or more, got the shape {sizes}")
    return torch.empty(sizes, dtype=kind, device="meta")


def absent_tensors(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """Optional tensors of forward that are not among its arguments; masks, labels, positions and caches left out."""
    try:
        signature = inspect.signature(model.forward)
        given = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # forward of a scripted module
        return []
    return [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is None
        and given.get(name) is None
        and not BESIDE_DATA.search(name)
        and (parameter.annotation is parameter.empty or "Tensor" in str(parameter.annotation))
    ]


def with_tuples(inputs: Any, kwargs: Mapping[str, Any] | None) -> Inputs | None:
    """Another reading of the same arguments: tuples of integers after the first are not shapes. None without any."""
    if isinstance(inputs, Inputs):
        return inputs.tuples
    rest = inputs[1:] if isinstance(inputs, (list, tuple)) and not is_shape(inputs) else ()
    if not any(map(is_shape, (*rest, *(kwargs or {}).values()))):
        return None
    first = inputs[:1] if isinstance(inputs, (list, tuple)) and not is_shape(inputs) else [inputs]
    return Inputs((*map(tensor_of, first), *rest), dict(kwargs or {}))


def with_either_reading(inputs: Any, kwargs: Mapping[str, Any] | None, run: Callable[[Inputs], Result]) -> Result:
    """The result for what a user wrote as inputs; if forward fails, with tuples of integers that are not shapes.

    Raises ForwardError if forward fails on both; the error is that of the shapes.
    """
    call, other = as_inputs(inputs, kwargs), with_tuples(inputs, kwargs)
    try:
        return run(call)
    except ForwardError as error:
        if other is None:
            raise
        try:
            return run(other)
        except ForwardError:
            raise error from error.__cause__


def is_shape(value: Any) -> bool:
    """Whether a value is a sequence of whole numbers."""
    return isinstance(value, Sequence) and bool(value) and all(type(v) is int for v in value)


def tensor_of(value: Any) -> Any:
    """A tensor without data for a shape; everything else as it is."""
    import torch

    if not is_shape(value):
        return value
    if min(value) < 1:
        raise CostlabError(f"sizes must be 1 or more, got the shape {tuple(value)}")
    return torch.empty(value, device="meta")
