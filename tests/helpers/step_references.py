"""FlopCounterMode over forward and backward, with its count of a convolution's weight gradient put right."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from costlab.tracing.modules import tensors_in


def convolution_backward_flops(
    grad: list[int], x: list[int], w: list[int], *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    """FLOPs of both gradients of a convolution; FlopCounterMode counts the second too high by the groups."""
    transposed, mask = rest[4], rest[7]
    return conv_flop_count(x, w, grad, transposed=transposed) * sum(mask[:2])


MAPPING = {torch.ops.aten.convolution_backward: convolution_backward_flops}


def on_meta(value: Any) -> Any:
    """A tensor on the meta device that requires a gradient if this one does; anything else itself."""
    return value.detach().to("meta").requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value


def counted(model: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> FlopCounterMode:
    """What FlopCounterMode counts for forward and backward of a network on meta, attention by the math path."""
    counter = FlopCounterMode(display=False, custom_mapping=MAPPING)
    model = model.to("meta").train()
    named = {key: on_meta(value) for key, value in (kwargs or {}).items()}
    with counter, sdpa_kernel(SDPBackend.MATH):
        result = model(*map(on_meta, args), **named)
        outputs = {id(t): t for t in tensors_in(result) if t.requires_grad}.values()
        total = [output.sum() for output in outputs]
        torch.autograd.backward(total)
    return counter
