"""`--input`, `--batch`, `--resolution` and `--dtype`: from text to tensors without data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.tracing.tensors import moved

SHAPE = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>-?\d{1,30}(?:[,x]-?\d{1,30})*)?(?::(?P<dtype>\w+))?")
LARGEST = 1 << 48  # elements
LARGEST_IN_MEMORY = 1 << 30  # of tensors whose values are there: all but floating-point ones


def parse(specs: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`1,3,224,224`, `1,128:int64` or `name=1,128:int64` as positional and keyword inputs."""
    args, kwargs = [], {}
    for spec in specs:
        match = SHAPE.fullmatch(spec.replace(" ", ""))
        if not match or not match["shape"]:
            raise CostlabError(f"--input {spec!r} is no shape: write 1,3,224,224 or 1,128:int64 or name=1,128:int64")
        sizes = tuple(int(s) for s in re.split("[,x]", match["shape"]))
        tensor = make(f"--input {spec!r}", sizes, dtype_of(match["dtype"] or "float32"))
        if match["name"]:
            kwargs[match["name"]] = tensor
        else:
            args.append(tensor)
    return tuple(args), kwargs


def make(spec: str, sizes: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Floating-point tensors have no data; others are zeros, which are valid tokens, indices and masks."""
    if min(sizes, default=1) < 1:
        raise CostlabError(f"{spec}: sizes are 1 or more")
    real = not (dtype.is_floating_point or dtype.is_complex)
    elements = prod(sizes)
    if elements > (LARGEST_IN_MEMORY if real else LARGEST):
        holds = "are kept where values matter" if real else "any device holds"
        raise CostlabError(f"{spec} has {elements:,} elements: more than {holds}")
    if not real:
        return torch.empty(tuple(sizes), dtype=dtype, device="meta")
    try:
        return torch.zeros(tuple(sizes), dtype=dtype)
    except NotImplementedError:
        raise CostlabError(f"{spec}: no input can be made of that type") from None
    except RuntimeError:
        raise CostlabError(f"{spec} does not fit in memory") from None


def dtype_of(name: str) -> torch.dtype:
    dtype = getattr(
        torch, {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "half": "float16"}.get(name, name), None
    )
    if not isinstance(dtype, torch.dtype):
        raise CostlabError(f"{name!r} is no dtype: float32, float16, bfloat16, int64, bool, ...")
    return dtype


def adjusted(value: Any, batch: int | None, resolution: int | None, dtype: torch.dtype | None) -> Any:
    """`value` with every tensor in it at that batch, resolution and floating-point dtype."""
    options = {"--batch": batch, "--resolution": resolution}
    for option, number in options.items():
        if number is not None and number < 1:
            raise CostlabError(f"{option} is 1 or more; {number} is not")
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

    unlisted: Callable[[Any], Any] = lambda v: [change(t) for t in v for _ in range(batch or 1)]  # noqa: E731
    images = isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], list)
    return (unlisted(value[0]),) if images else moved(value, change)
