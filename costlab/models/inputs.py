"""`--input`, `--batch`, `--resolution` and `--dtype`: from text to tensors without data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

import torch

from costlab.errors import CostlabError
from costlab.tracing.inputs import Inputs
from costlab.tracing.tensors import moved

SHAPE = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>-?\d{1,30}(?:[,x]-?\d{1,30})*)?(?::(?P<dtype>\w+))?")
LARGEST = 1 << 48  # elements
LARGEST_IN_MEMORY = 1 << 30  # elements of tensors with values: all but floating-point ones


def parse(specs: Sequence[str]) -> Inputs:
    """`1,3,224,224`, `1,128:int64` or `name=1,128:int64` as inputs."""
    args, kwargs = [], {}
    for spec in specs:
        match = SHAPE.fullmatch(spec.replace(" ", ""))
        if not match or not match["shape"]:
            raise CostlabError(f"--input {spec!r} is not a shape: write 1,3,224,224 or 1,128:int64 or name=1,128:int64")
        sizes = tuple(int(s) for s in re.split("[,x]", match["shape"]))
        tensor = make(f"--input {spec!r}", sizes, dtype_of(match["dtype"] or "float32"))
        if match["name"]:
            kwargs[match["name"]] = tensor
        else:
            args.append(tensor)
    return Inputs(tuple(args), kwargs)


def make(spec: str, sizes: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor without data if it is floating-point, else of zeros, which are valid tokens, indices and masks."""
    if min(sizes, default=1) < 1:
        raise CostlabError(f"{spec}: sizes must be 1 or more")
    real = not (dtype.is_floating_point or dtype.is_complex)
    elements = prod(sizes)
    if elements > (LARGEST_IN_MEMORY if real else LARGEST):
        limit = "fit in memory, where integers are kept" if real else "any device can hold"
        raise CostlabError(f"{spec} has {elements:,} elements: more than {limit}")
    if not real:
        return torch.empty(tuple(sizes), dtype=dtype, device="meta")
    try:
        return torch.zeros(tuple(sizes), dtype=dtype)
    except NotImplementedError:
        raise CostlabError(f"{spec}: inputs of this type are not supported") from None
    except RuntimeError:
        raise CostlabError(f"{spec} does not fit in memory") from None


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

    def change(tensor: torch.Tensor) -> torch.Tensor:
        shape = list(tensor.shape)
        image = len(shape) >= 3 and tensor.is_floating_point()
        if batch is not None and shape and not (image and len(shape) == 3):
            shape[0] = batch
        if resolution is not None and image:
            shape[-2:] = [resolution, resolution]
        wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        if shape == list(tensor.shape) and wanted == tensor.dtype:
            return tensor
        return make(" ".join(asked), shape, wanted)

    if len(inputs.args) == 1 and isinstance(inputs.args[0], list):  # of images, as detection networks take them
        images = [change(image) for image in inputs.args[0] for _ in range(batch or 1)]
        return Inputs((images,), moved(inputs.kwargs, change))
    return Inputs(moved(inputs.args, change), moved(inputs.kwargs, change))
