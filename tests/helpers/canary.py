"""The canary: a total that differs with values that nobody gave must be an estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab.core.profile import Profile
from costlab.tracing._profile import profile
from costlab.tracing.inputs import Inputs
from costlab.tracing.tensors import moved

SEEDS = (None, 0)  # zeros, and small random numbers


class Reader(nn.Module):
    """A layer, and a function that reads integers which decide what the layer sees."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(8, 8), function

    def forward(self, x: Tensor, i: Tensor) -> Any:
        return self.function(self.layer, x, i)


READERS = {
    "mask": lambda f, x, i: f(x[i > 1]),
    "nonzero": lambda f, x, i: f(x[(i > 1).nonzero(as_tuple=True)]),
    "where": lambda f, x, i: f(x[torch.where(i == 2)]),
    "lengths": lambda f, x, i: f(x[:, : int((i > 0).sum(1).max())]),
    "branch": lambda f, x, i: f(x) if i[0, 0] > 1 else x,
    "loop": lambda f, x, i: [f(x) for _ in range(int(i.max()))],
    "range": lambda f, x, i: [f(x) for _ in range(i[0, 0])],
    "tolist": lambda f, x, i: [f(x[:, :n]) for n in i[0].tolist()],
    "numpy": lambda f, x, i: [f(x[:, :n]) for n in i[0].numpy()],
    "iterate": lambda f, x, i: [f(x[:, :n]) for n in i[0]],
    "unique": lambda f, x, i: f(x[:, : len(i.unique())]),
    "segments": lambda f, x, i: [f(x[i == k]) for k in i.unique()],
    "masked_select": lambda f, x, i: f(x.masked_select(i[..., None] > 1).view(-1, 8)),
    "repeat": lambda f, x, i: f(x[0].repeat_interleave(i[0], 0)),
    "bincount": lambda f, x, i: f(x[:, : len(torch.bincount(i.flatten()))]),
    "split": lambda f, x, i: [f(p) for p in x[0].split(torch.bincount(i[0] % 2, minlength=2).tolist())],
    "any": lambda f, x, i: f(x) if (i > 2).any() else x,
    "equal": lambda f, x, i: f(x) if torch.equal(i, torch.zeros_like(i)) else x,
    "while": lambda f, x, i: until_below(f, x, int(i.sum())),
    "sorted": lambda f, x, i: f(x[:, : int(i.sort().values[0, -1])]),
    "cumsum": lambda f, x, i: f(x[:, : int(i.cumsum(1)[0, 2])]),
    "argmax": lambda f, x, i: f(x[:, : int(i.argmax(1)[0]) + 1]),
    "scatter": lambda f, x, i: f(x[0][torch.zeros(6, dtype=torch.bool).scatter(0, i[0], True)]),
    "packed": lambda f, x, i: packed(f, x, i),
    "sparse": lambda f, x, i: f(torch.sparse.mm(i.float().to_sparse(), x[0])),
    "embedding": lambda f, x, i: f(F.embedding(i, torch.zeros(9, 8))),
    "gather": lambda f, x, i: f(x.gather(1, i[..., None].expand(-1, -1, 8))),
    "one hot": lambda f, x, i: f(F.one_hot(i, 8).float()),
    "index": lambda f, x, i: f(x[0][i]),
    "add": lambda f, x, i: f(torch.zeros(9, 8).index_add(0, i[0], x[0])),
    "attention mask": lambda f, x, i: F.scaled_dot_product_attention(f(x), x, x, attn_mask=(i > 0)[:, None]),
}


def until_below(layer: Any, x: Tensor, steps: int) -> Tensor:
    """Halve a number until it is 0."""
    while steps > 0:
        x, steps = layer(x), steps // 2
    return x


def packed(layer: Any, x: Tensor, i: Tensor) -> Tensor:
    """Rows without their padding."""
    lengths = (i > 0).sum(1).clamp(min=1)
    rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    result: Tensor = layer(rows.data)
    return result


def readers(functions: Mapping[str, Any] = READERS) -> Iterator[tuple[str, nn.Module, Inputs]]:
    """A network of each function."""
    for name, function in functions.items():
        integers = torch.empty(2, 6, dtype=torch.long, device="meta")
        yield name, Reader(function), Inputs((torch.empty(2, 6, 8, device="meta"), integers))


def with_values(inputs: Inputs, seed: int | None) -> Inputs:
    """The inputs with made-up integers and truth values; other numbers have no values in a trace."""
    generator = torch.Generator().manual_seed(seed or 0)

    def valued(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() or tensor.is_complex():
            return tensor
        if seed is None:
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        return torch.randint(0, 5, tensor.shape, generator=generator).to(tensor.dtype)

    return Inputs(*moved((inputs.args, dict(inputs.kwargs)), valued))


def canary(model: nn.Module, inputs: Inputs) -> str | None:
    """What is wrong with a network: its total changes with made-up values, and is not marked; None if nothing is."""
    unknown = moved((inputs.args, dict(inputs.kwargs)), lambda t: torch.empty_like(t, device="meta"))
    result = profile(model, Inputs(*unknown))
    if result.estimated:
        return None
    totals = [total_of(model, with_values(inputs, seed)) for seed in SEEDS]
    if totals == [result.total] * len(SEEDS):
        return None
    return f"{result.total.mult_adds:,} mult-adds, not marked, but with values {totals}"


def total_of(model: nn.Module, inputs: Inputs) -> Any:
    """The total, or why there is none."""
    try:
        traced: Profile = profile(model, inputs)
    except Exception as error:  # made-up values may be wrong ones
        return str(error)
    return traced.total
