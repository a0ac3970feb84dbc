"""Writes to memory that several elements of a tensor share are undone after a trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costlab

VIEWS = {
    "expanded": lambda x: x[:1].expand(3, 6),
    "overlapping windows": lambda x: x.reshape(-1).as_strided((3, 6), (2, 1)),
    "every other column": lambda x: x[:, ::2],
    "transposed": lambda x: x.t(),
}


@pytest.mark.filterwarnings("ignore:Use of")
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_write_to_a_view_of_a_buffer_is_undone(view):
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kept", torch.arange(18).reshape(3, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            part = view(self.kept)
            part[part > 2] = 0
            return x + part.sum()

    network = Writes()
    assert costlab.profile(network, (2, 2)).ops
    assert network.kept.tolist() == torch.arange(18).reshape(3, 6).tolist()
