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


SHAPES: dict[str, Callable[..., Any]] = {"aten::_grouped_mm": grouped_mm}
