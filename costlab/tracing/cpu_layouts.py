"""Strides that torch's CPU kernels give to results, for operators whose meta kernels give others.

A network may take a `view` of what follows: what a CPU accepts must not fail in a trace.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
Form = torch.memory_format


def laid_out(name: str, result: Any, args: Sequence[Any]) -> Any:
    """The result of an operator on the meta device, with the strides that its CPU kernel would give it."""
    form_of = FORMS.get(name.removeprefix("aten::"))
    form = form_of(args) if form_of else None
    if form is None:
        return result
    first = result[0] if isinstance(result, tuple) else result
    first = torch.empty(first.shape, dtype=first.dtype, device="meta", memory_format=form)
    return (first, *result[1:]) if isinstance(result, tuple) else first


def of_input(args: Sequence[Any]) -> Form:
    """As torch reads the strides of the input."""
    return suggested(args[0])


def of_input_or_weight(args: Sequence[Any]) -> Form | None:
    """Channels are last if they are in one of the two; for images."""
    forms = [suggested(tensor) for tensor in args[:2] if tensor.dim() == 4]
    return max(forms, key=lambda form: form == torch.channels_last, default=None)


def suggested(tensor: torch.Tensor) -> Form:
    """The form that torch reads from strides: channels last if they grow in that order."""
    if tensor.dim() not in CHANNELS_LAST or not tensor.numel() or not tensor.stride(1):
        return torch.contiguous_format
    least = 0
    for dim in (1, *range(tensor.dim() - 1, 1, -1), 0):
        if tensor.stride(dim) < least or (dim == 0 and least == tensor.stride(1)):
            return torch.contiguous_format
        least = tensor.stride(dim) * tensor.shape[dim]
    return CHANNELS_LAST[tensor.dim()]


def of_dense_input(args: Sequence[Any]) -> Form:
    """Channels are last if nothing lies between them, whatever the strides of dimensions of 1 are."""
    form = CHANNELS_LAST.get(args[0].dim())
    last = form is not None and args[0].is_contiguous(memory_format=form) and not args[0].is_contiguous()
    return form if form is not None and last else torch.contiguous_format


def of_padding(args: Sequence[Any]) -> Form | None:
    """That of the input if its edges are repeated."""
    return of_input(args) if args[2:] and args[2] in ("reflect", "replicate") else None


FORMS: dict[str, Callable[[Sequence[Any]], Form | None]] = {
    **dict.fromkeys(
        "batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit.no_stats"
        " _native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update".split(),
        of_dense_input,
    ),
    **dict.fromkeys(
        "group_norm native_group_norm pixel_shuffle channel_shuffle native_channel_shuffle roll max_unpool2d"
        " reflection_pad2d reflection_pad3d replication_pad2d replication_pad3d".split(),
        of_input,
    ),
    **dict.fromkeys("conv2d convolution conv_transpose2d.input".split(), of_input_or_weight),
    **dict.fromkeys("log_sigmoid log_sigmoid_forward".split(), lambda args: torch.contiguous_format),
    "pad": of_padding,
}
