"""`--input`, `--batch`, `--resolution` and `--dtype`: from text to tensors.

An input whose shape alone is known has no values. One that comes with values keeps them, so that they decide what a
network does with them: how many places a mask selects, which expert a token takes.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from costlab.core.parsing import parse_value
from costlab.errors import CostlabError
from costlab.tracing.inputs import Inputs, is_shape, tensor_of
from costlab.tracing.tensors import all_tensors, moved

SPEC = re.compile(
    r"(?:(?P<name>[A-Za-z_]\w*)=)?"
    r"(?:(?P<shape>-?\d{1,30}(?:[,x]-?\d{1,30})*)(?::(?P<dtype>\w+))?(?:=(?P<filled>\w+))?"
    r"|(?P<list>\[.*\])(?::(?P<list_dtype>\w+))?|value:(?P<value>.+)|(?P<file>.+\.npy)|(?P<object>.+\.py:\w+)"
    r"|(?P<word>\w+))",
    re.DOTALL,
)
FORMS = (
    "write 1,3,224,224 or 1,128:int64 or name=1,128:int64, values as name=arange or name=FILE.npy or name=[[1, 2]],"
    " anything else as name=value:(16, 16) or FILE.py:NAME"
)
LARGEST = 1 << 48  # elements
LARGEST_IN_MEMORY = 1 << 30  # elements of tensors that have values
LARGEST_FILE = 1 << 30  # bytes
LONGEST_LIST = 1 << 20  # characters


def parse(specs: Sequence[str], defaults: Inputs | None = None) -> Inputs:
    """Inputs as `--input` writes them.

    Args:
        specs: `[NAME=]SHAPE[:DTYPE][=VALUES]`, `[NAME=]FILE.npy`, `[NAME=][[1, 2]][:DTYPE]` or `NAME=VALUES`, where
            VALUES is one of zeros, ones, arange, random; `[NAME=]value:LITERAL` is a number, tuple, string, None;
            `[NAME=]FILE.py:NAME` is a Python object, or what a function returns: a list of positional arguments or a
            dict of keyword arguments, unless the input has a name.
        defaults: those of the network: their shapes are those of `NAME=VALUES`, and if no other form is used, the
            remaining ones stay as they are.

    Returns:
        The inputs; their `tuples` take shapes without a dtype, except the first, as tuples of integers.

    Raises:
        CostlabError: a specification cannot be read, its file neither, or it is larger than a limit.
    """
    named = dict(defaults.kwargs) if defaults else {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    plain: dict[int | str, tuple[int, ...]] = {}  # shapes that may be tuples, by position or name
    matches = [matched(spec) for spec in specs]
    for spec, match in zip(specs, matches, strict=True):
        what, name = f"--input {spec!r}", match["name"]
        value = value_of(what, match, named)
        if match["object"] and not name:
            more, others = arguments_in(value)
            for position, item in enumerate(more, len(args)):
                if is_shape(item) and (position or kwargs):
                    plain[position] = tuple(item)
                args.append(tensor_of(item))
            kwargs.update(others)
            continue
        if match["shape"] and not (match["dtype"] or match["filled"]) and (args or kwargs):
            plain[name or len(args)] = tuple(value.shape)
        if name:
            kwargs[name] = value
        else:
            args.append(value)
    if defaults is not None and all(match["word"] for match in matches):
        return replace(defaults, kwargs={**named, **kwargs})
    kwargs = {**{name: value for name, value in named.items() if isinstance(value, bool)}, **kwargs}
    other = Inputs(
        tuple(plain.get(position, value) for position, value in enumerate(args)),
        {name: plain.get(name, value) for name, value in kwargs.items()},
    )
    return Inputs(tuple(args), kwargs, tuples=other if plain else None)


def matched(spec: str) -> re.Match[str]:
    """The parts of a specification. Raises CostlabError."""
    spaced = "[" in spec or "value:" in spec or spec.endswith(".npy") or ".py:" in spec
    match = SPEC.fullmatch(spec.strip() if spaced else spec.replace(" ", ""))
    if not match or (match["word"] and (match["word"] not in VALUES or not match["name"])):
        raise CostlabError(f"--input {spec!r} is not a shape or a value: {FORMS}")
    return match


def arguments_in(value: Any) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments that a Python object stands for."""
    if isinstance(value, Inputs):
        return list(value.args), dict(value.kwargs)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return [], dict(value)
    return (list(value), {}) if isinstance(value, (list, tuple)) else ([value], {})


def value_of(what: str, match: re.Match[str], named: Mapping[str, Any]) -> Any:
    """The value of one specification: a tensor, or a Python object."""
    if match["value"]:
        return from_literal(what, match["value"])
    if match["object"]:
        from costlab.models.providers.user_code import errors_of, find_factory

        found = find_factory(match["object"])
        with errors_of(f"{match['object']} raises"):
            return found() if callable(found) else found
    if match["file"]:
        return from_file(what, Path(match["file"]))
    if match["list"]:
        return from_list(what, match["list"], match["list_dtype"])
    if match["shape"]:
        sizes, dtype = [int(s) for s in re.split("[,x]", match["shape"])], dtype_of(match["dtype"] or "float32")
        return filled(what, sizes, dtype, match["filled"]) if match["filled"] else make(what, sizes, dtype)
    default = named.get(match["name"])
    if not isinstance(default, torch.Tensor):
        raise CostlabError(f"{what}: no default input has that name: write {match['name']}=SHAPE:DTYPE={match['word']}")
    return filled(what, default.shape, default.dtype, match["word"])


def from_file(what: str, path: Path) -> torch.Tensor:
    """The array in a .npy file."""
    import numpy

    try:
        array = numpy.load(path, mmap_mode="r", allow_pickle=False)
        if array.nbytes > LARGEST_FILE:
            raise CostlabError(f"{what} has {array.nbytes:,} bytes: at most {LARGEST_FILE:,} are read")
        return torch.from_numpy(numpy.array(array))
    except (OSError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise CostlabError(
            f"{what} cannot be read: {str(error).splitlines()[0][:200] if str(error) else error!r}"
        ) from None


def from_list(what: str, text: str, dtype: str | None) -> torch.Tensor:
    """A tensor written as a list."""
    if len(text) > LONGEST_LIST:
        raise CostlabError(f"{what[:60]}... has {len(text):,} characters: give more than {LONGEST_LIST:,} as FILE.npy")
    try:
        return torch.tensor(parse_value(text), dtype=dtype_of(dtype) if dtype else None)
    except (TypeError, ValueError, RuntimeError):
        raise CostlabError(f"{what} is not a list of numbers with equally long rows") from None


def from_literal(what: str, text: str) -> Any:
    """A Python literal."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise CostlabError(f"{what} is not a Python literal: write a number, tuple, string, True or None") from None


def random_values(sizes: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Floating-point numbers from 0 to 1, or integers 0 and 1; the same ones every time."""
    values = torch.rand(tuple(sizes), generator=torch.Generator().manual_seed(0))
    return values.to(dtype) if dtype.is_floating_point or dtype.is_complex else (values < 0.5).to(dtype)


VALUES: dict[str, Callable[[Sequence[int], torch.dtype], torch.Tensor]] = {
    "zeros": lambda sizes, dtype: torch.zeros(sizes, dtype=dtype),
    "ones": lambda sizes, dtype: torch.ones(sizes, dtype=dtype),
    "arange": lambda sizes, dtype: torch.arange(prod(sizes)).reshape(sizes).to(dtype),
    "random": random_values,
}


def filled(what: str, sizes: Sequence[int], dtype: torch.dtype, values: str) -> torch.Tensor:
    """A tensor with values."""
    if values not in VALUES:
        raise CostlabError(f"{what}: unknown values {values!r}: choose from {', '.join(VALUES)}")
    check_size(what, sizes, LARGEST_IN_MEMORY, "can have values")
    try:
        return VALUES[values](tuple(sizes), dtype)
    except NotImplementedError:  # torch cannot fill this dtype
        raise CostlabError(f"{what}: inputs of this type are not supported") from None
    except RuntimeError:
        raise CostlabError(f"{what} does not fit in memory") from None


def make(what: str, sizes: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor without values."""
    check_size(what, sizes, LARGEST, "any device can hold")
    return torch.empty(tuple(sizes), dtype=dtype, device="meta")


def check_size(what: str, sizes: Sequence[int], largest: int, holds: str) -> None:
    """Raises CostlabError if a shape is empty or has too many elements."""
    if min(sizes, default=1) < 1:
        raise CostlabError(f"{what}: sizes must be 1 or more")
    if prod(sizes) > largest:
        raise CostlabError(f"{what} has {prod(sizes):,} elements: more than {holds}")


def dtype_of(name: str) -> torch.dtype:
    """A dtype by its name or a usual abbreviation. Raises CostlabError."""
    dtype = getattr(
        torch, {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "half": "float16"}.get(name, name), None
    )
    if not isinstance(dtype, torch.dtype):
        raise CostlabError(f"{name!r} is not a dtype: choose from float32, float16, bfloat16, int64, bool, ...")
    return dtype


def adjusted(inputs: Inputs, batch: int | None, resolution: int | None, dtype: torch.dtype | None) -> Inputs:
    """The inputs with every tensor at that batch, resolution and floating-point dtype."""
    options = {"--batch": batch, "--resolution": resolution}
    for option, number in options.items():
        if number is not None and number < 1:
            raise CostlabError(f"{option} must be 1 or more, got {number}")
    asked = [f"{option} {number}" for option, number in options.items() if number is not None]

    single = any(tensor.shape[:1] == (1,) for tensor in all_tensors((inputs.args, inputs.kwargs)))

    def change(tensor: torch.Tensor) -> torch.Tensor:
        shape = list(tensor.shape)
        image = len(shape) >= 3 and tensor.is_floating_point()
        if batch is not None and shape and not (image and len(shape) == 3 and shape[0] != 1):
            shape[0] = batch * shape[0] if single else batch
        rows = list(shape)
        if resolution is not None and image:
            shape[-2:] = [resolution, resolution]
        wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        if shape == list(tensor.shape) and wanted == tensor.dtype:
            return tensor
        if tensor.is_meta or shape != rows:
            return make(" ".join(asked), shape, wanted)
        check_size(" ".join(asked), shape, LARGEST_IN_MEMORY, "can have values")
        copies = -(-shape[0] // tensor.shape[0]) if shape else 1
        return tensor.repeat(copies, *[1] * (len(shape) - 1))[: shape[0]].to(wanted) if shape else tensor.to(wanted)

    tuples = adjusted(inputs.tuples, batch, resolution, dtype) if inputs.tuples else None
    if len(inputs.args) == 1 and isinstance(inputs.args[0], list):  # of images, as detection networks take them
        images = [change(image) for image in inputs.args[0] for _ in range(batch or 1)]
        return Inputs((images,), moved(inputs.kwargs, change))
    return replace(inputs, args=moved(inputs.args, change), kwargs=moved(inputs.kwargs, change), tuples=tuples)
