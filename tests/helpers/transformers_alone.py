"""transformers without costlab's tracing: whether it builds and runs a network, and what torch's own counter counts.

Parameters, buffers and inputs are torch's fake tensors: they have shapes and a device, and no values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from costlab.tracing.inputs import Inputs

aten = torch.ops.aten


def grouped_mm_flop(left: Any, right: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """2 x rows x width x columns: each row meets the matrix of its own group."""
    assert (len(left), len(right)) == (2, 3)
    return 2 * int(left[0]) * int(left[1]) * int(right[2])


def attention_flop(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """What torch counts for attention on a GPU."""
    return int(sdpa_flop(query, key, value))


# Products that torch's counter has no formula for.
FORMULAS = {aten._grouped_mm: grouped_mm_flop, aten._scaled_dot_product_flash_attention_for_cpu: attention_flop}


def build_error(owner: Any, config: Any) -> str:
    """Why transformers cannot build a network on the meta device; empty if it can."""
    try:
        with torch.device("meta"):
            owner._from_config(config)
    except Exception as error:
        return described(error)
    return ""


def counted_alone(model: torch.nn.Module, inputs: Inputs) -> tuple[int | None, str]:
    """The mult-adds that torch counts in one forward pass, or why there is none; the model is of no use afterwards."""
    os.environ["TRANSFORMERS_DISABLE_TORCH_CHECK"] = "1"  # checks of values, which nothing has here
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    dtype = torch.bfloat16 if uses_grouped_mm(model) else None
    make_fake(model.eval(), mode, dtype)
    given = {name: fake(value, mode, dtype) for name, value in inputs.kwargs.items()}
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    try:
        with mode, torch.no_grad(), counter:
            model(**given)
    except Exception as error:
        return None, described(error)
    return counter.get_total_flops() // 2, ""


def uses_grouped_mm(model: torch.nn.Module) -> bool:
    """Whether experts are one operator, whose shape rule in torch knows bfloat16 alone."""
    return any(
        getattr(m.config, "_experts_implementation", None) == "grouped_mm"
        for m in model.modules()
        if hasattr(m, "config")
    )


def make_fake(model: torch.nn.Module, mode: FakeTensorMode, dtype: torch.dtype | None) -> None:
    """Put fake tensors in the place of parameters and buffers."""
    members: Mapping[int, torch.Tensor] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    made = members.setdefault(id(tensor), fake(tensor.detach(), mode, dtype))  # type: ignore[attr-defined]
                    tensors[name] = torch.nn.Parameter(made, False) if tensors is module._parameters else made


def fake(value: Any, mode: FakeTensorMode, dtype: torch.dtype | None) -> Any:
    """A tensor of the same shape on the CPU, floating-point ones of the given dtype; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    kept = value.dtype if dtype is None or not value.is_floating_point() else dtype
    with mode:
        return torch.empty(value.shape, dtype=kept)


def described(error: BaseException) -> str:
    """The type and the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:240] if lines else type(error).__name__
