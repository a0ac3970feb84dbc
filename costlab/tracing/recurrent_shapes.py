"""Results of recurrent layers and grouped products, whose meta kernels run every time step, or refuse real inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Result = Any  # a tensor, several, or NotImplemented


def grouped_mm(
    rows: torch.Tensor,
    matrices: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """[m, k] x [g, k, n] -> [m, n]; [g, m, k] x [k, n] -> [m, n]; other ranks keep the groups: [g, m, n]."""
    shape: tuple[int, ...] = (rows.shape[-2], matrices.shape[-1])
    if rows.dim() == matrices.dim():
        groups = rows.shape[0] if rows.dim() == 3 else offs.shape[0] if offs is not None else 1
        shape = (groups, *shape)
    return torch.empty(shape, dtype=out_dtype or rows.dtype, device="meta")


def packed_lstm(
    data: torch.Tensor,
    batch_sizes: torch.Tensor,
    hx: list[torch.Tensor],
    params: list[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> tuple[torch.Tensor, ...]:
    """Rows [l n, i] of a packed sequence -> [l n, d h], and the last states."""
    output = data.new_empty((data.shape[0], hx[0].shape[-1] * (2 if bidirectional else 1)))
    return output, *(torch.empty_like(h) for h in hx)


def packed_recurrent(
    data: torch.Tensor, batch_sizes: torch.Tensor, hx: torch.Tensor, *rest: Any
) -> tuple[torch.Tensor, ...]:
    """The same for layers with one state: GRU and RNN."""
    return packed_lstm(data, batch_sizes, [hx], *rest)


def lstm(
    input: torch.Tensor,
    hx: Sequence[torch.Tensor],
    params: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Result:
    """[l, n, i] (or [n, l, i]) -> [l, n, d h], and states [d layers, n, h]."""
    directions = 2 if bidirectional else 1
    batch = input.shape[0 if batch_first else 1] if input.dim() == 3 else -1
    tensors = (input, *hx, *params)
    fits = all(h.dim() == 3 and h.shape[:2] == (directions * num_layers, batch) for h in hx)
    if not (fits and len({t.dtype for t in tensors}) == 1 and params[0].shape[-1:] == input.shape[-1:] and batch > 0):
        return NotImplemented
    length = input.shape[1 if batch_first else 0]
    if length == 0 or not input.is_floating_point():
        return NotImplemented
    output = input.new_empty((length, batch, directions * hx[0].shape[-1]))
    states = (torch.empty(h.shape, dtype=h.dtype, device="meta") for h in hx)
    return output.transpose(0, 1) if batch_first else output, *states


def recurrent(input: torch.Tensor, hx: torch.Tensor, *rest: Any) -> Result:
    """The same for layers with one state: GRU and RNN."""
    return lstm(input, [hx], *rest)


ONE_STATE = ("gru", "rnn_tanh", "rnn_relu")

RECURRENT_SHAPES: dict[str, Callable[..., Result]] = {
    "aten::_grouped_mm": grouped_mm,
    "aten::lstm.input": lstm,
    "aten::lstm.data": packed_lstm,
    **{f"aten::{kind}.input": recurrent for kind in ONE_STATE},
    **{f"aten::{kind}.data": packed_recurrent for kind in ONE_STATE},
}
