"""Results of operators whose meta kernels refuse what their real kernels, or another device's, accept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


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


SHAPES: dict[str, Callable[..., Any]] = {
    "aten::_grouped_mm": grouped_mm,
    "aten::lstm.data": packed_lstm,
    **{f"aten::{kind}.data": packed_recurrent for kind in ("gru", "rnn_tanh", "rnn_relu")},
}
