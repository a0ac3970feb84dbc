"""Further ways in which a network reads integers that decide what it computes, for the long run of the canary.

Each takes a layer of 8 to 8 features, activations [2, 6, 8] and integers [2, 6] from 0 to 4.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def by_length(f: Any, x: Tensor, i: Tensor) -> list[Tensor]:
    """Each sequence without its padding."""
    return [f(row[mask]) for row, mask in zip(x, i > 0, strict=True)]


def until_seen(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """Layers until a number is met."""
    for number in i.flatten():
        if number == 3:
            break
        x = f(x)
    return x


def matched(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """A choice among constants."""
    match int(i[0, 0]):
        case 0:
            return x
        case 1:
            return f(x)
        case _:
            return f(f(x))


def halving(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """A loop over bits."""
    bits = i.sum()
    while bits.item():
        x = f(x)
        bits = bits // 2
    return x


def written(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """Through a constant that the integers are written to."""
    table = torch.zeros(5, dtype=torch.long)
    table[i[0]] = 1
    return f(x[0][: int(table.sum())])


def copied(f: Any, x: Tensor, i: Tensor) -> list[Tensor]:
    """Through a buffer that they are copied to."""
    buffer = torch.zeros(2, 6, dtype=torch.long)
    buffer.copy_(i)
    return [f(x[:, :n]) for n in buffer[0].tolist()]


def caught(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """A failure that values decide."""
    try:
        return f(x[:, [0, 1, 2, 3][int(i.max())]])
    except IndexError:
        return x


def filtered(f: Any, x: Tensor, i: Tensor) -> list[Tensor]:
    """A comprehension with a condition."""
    return [f(row) for row, number in zip(x[0], i[0], strict=True) if number > 1]


def by_key(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """The length of a dictionary of numbers."""
    return f(x[:, : len({int(n): 0 for n in i[0]})])


def text(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """Numbers made text and read again."""
    return f(x[:, : int("".join(str(int(n)) for n in i[0][:1]))])


def kept_by_score(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """The best by a score that is made of integers."""
    scores = i.float().mean(0)
    return f(x[:, scores > scores.mean()])


def starts(f: Any, x: Tensor, i: Tensor) -> list[Tensor]:
    """Pieces between the places where a new sentence starts."""
    ends = [0, *torch.where(i[0] == 0)[0].tolist(), 6]
    return [f(x[0, a:b]) for a, b in itertools.pairwise(ends)]


def runs(f: Any, x: Tensor, i: Tensor) -> list[Tensor]:
    """Pieces of equal neighbours."""
    _, counts = i[0].unique_consecutive(return_counts=True)
    return [f(piece) for piece in x[0].split(counts.tolist())]


def windows(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """Sequences packed by their ends."""
    ends = F.pad(i[0].cumsum(0), (1, 0))
    size = int((ends[1:] - ends[:-1]).max())
    return f(x[0, :size])


def nested(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """A list of lists of numbers."""
    return f(x[:, : sum(sum(row) for row in i.tolist()) // 12])


def crop(f: Any, x: Tensor, i: Tensor) -> Tensor:
    """A box around what is not zero."""
    rows, columns = (i > 1).nonzero().unbind(1)
    return f(x[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])


DECIDE: dict[str, Any] = {
    "by length": by_length,
    "until seen": until_seen,
    "match": matched,
    "halving": halving,
    "written": written,
    "copied": copied,
    "caught": caught,
    "filtered": filtered,
    "dictionary": by_key,
    "text": text,
    "score": kept_by_score,
    "starts": starts,
    "runs": runs,
    "windows": windows,
    "nested": nested,
    "crop": crop,
    "argwhere": lambda f, x, i: f(x[torch.argwhere(i > 1).unbind(1)]),
    "not": lambda f, x, i: f(x[~(i > 1)]),
    "and": lambda f, x, i: f(x[(i > 1) & (i < 4)]),
    "xor": lambda f, x, i: f(x[(i > 1) ^ (i > 2)]),
    "isin": lambda f, x, i: f(x[torch.isin(i, torch.tensor([0, 3]))]),
    "triangle": lambda f, x, i: f(x[:, (i[0][:, None] > i[0]).tril().any(0)]),
    "take along": lambda f, x, i: f(x[:, : int(i.take_along_dim(i, 1)[0, 0])]),
    "gathered length": lambda f, x, i: f(x[:, : int(i.gather(1, i)[0, 0])]),
    "max of dim": lambda f, x, i: f(x[:, : i.max(1).values[0]]),
    "min": lambda f, x, i: f(x[:, : i.min()]),
    "prod": lambda f, x, i: f(x[:, : int(i.clamp(max=2)[0].prod())]),
    "mean": lambda f, x, i: f(x[:, : int(i.float().mean())]),
    "median": lambda f, x, i: f(x[:, : int(i.median())]),
    "mode": lambda f, x, i: f(x[:, : int(i.mode().values[0])]),
    "std": lambda f, x, i: f(x) if i.float().std() > 1 else x,
    "norm": lambda f, x, i: f(x) if i.float().norm() > 1 else x,
    "dot": lambda f, x, i: f(x[:, : int((i[0] * i[1]).sum() % 6)]),
    "matrix": lambda f, x, i: f(x[:, : int((i.float() @ i.float().mT)[0, 1]) % 6]),
    "shifted": lambda f, x, i: f(x[:, : int((i << 1)[0, 0])]),
    "power": lambda f, x, i: f(x[:, : int((i**2)[0, 1])]),
    "minus": lambda f, x, i: f(x[:, : int(5 - i[0, 0])]),
    "remainder": lambda f, x, i: f(x[:, : int(i[0, 1] % 3)]),
    "rounded": lambda f, x, i: f(x[:, : int((i.float() / 2).ceil()[0, 2])]),
    "clone": lambda f, x, i: f(x[:, : int(i.clone()[0, 1])]),
    "int": lambda f, x, i: f(x[:, : int(i.int()[0, 1])]),
    "byte": lambda f, x, i: f(x[i.to(torch.uint8) > 1]),
    "bool": lambda f, x, i: f(x[i.bool()]),
    "view": lambda f, x, i: f(x[:, : i.view(-1)[3]]),
    "detach": lambda f, x, i: f(x[:, : i.detach()[0, 2]]),
    "cpu": lambda f, x, i: f(x[:, : int(i.cpu()[0, 2])]),
    "stack": lambda f, x, i: f(x[:, : int(torch.stack([i, i]).max())]),
    "cat": lambda f, x, i: f(x[:, : int(torch.cat([i, torch.ones_like(i)]).sum() // 12)]),
    "pad": lambda f, x, i: f(x[:, : int(F.pad(i, (1, 1)).amax())]),
    "where of two": lambda f, x, i: f(x[:, : int(torch.where(i > 2, i, 0).max())]),
    "clamped": lambda f, x, i: f(x[:, : int(i.clamp(1, 3)[0, 0])]),
    "flip": lambda f, x, i: f(x[:, : int(i.flip(1)[0, 0])]),
    "roll": lambda f, x, i: f(x[:, : int(i.roll(1)[0, 0])]),
    "topk": lambda f, x, i: f(x[:, : int(i.topk(2, 1).values[0, 1])]),
    "argsort": lambda f, x, i: f(x[:, : int(i.argsort(1)[0, 0])]),
    "searchsorted": lambda f, x, i: f(x[:, : int(torch.searchsorted(torch.arange(5), i)[0, 0])]),
    "bucketize": lambda f, x, i: f(x[:, : int(torch.bucketize(i, torch.arange(5))[0, 0])]),
    "histogram": lambda f, x, i: f(x[:, : int(torch.histc(i.float(), 5, 0, 5)[0])]),
    "count": lambda f, x, i: f(x[:, : int(i.count_nonzero())]),
    "all": lambda f, x, i: f(x) if (i >= 1).all() else x,
    "equality of tensors": lambda f, x, i: f(x) if torch.equal(i[0], i[1]) else x,
    "allclose": lambda f, x, i: f(x) if torch.allclose(i[0].float(), i[1].float()) else x,
    "index of": lambda f, x, i: f(x[:, : i[0].tolist().index(i[0, 2].item())]),
    "set": lambda f, x, i: f(x[:, : len(set(i[0].tolist()))]),
    "sum of python": lambda f, x, i: f(x[:, : sum(i[0].tolist()) % 6]),
    "max of python": lambda f, x, i: f(x[:, : max(i[0].tolist())]),
    "numpy max": lambda f, x, i: f(x[:, : int(i.numpy().max())]),
    "numpy unique": lambda f, x, i: f(x[:, : len(set(i.numpy().ravel()))]),
    "zip": lambda f, x, i: [f(a[: int(n)]) for a, n in zip(x, i[:, 0], strict=True)],
    "enumerate": lambda f, x, i: [f(x[:, :k]) for k, n in enumerate(i[0]) if n],
    "unbind": lambda f, x, i: [f(x[:, : int(n)]) for n in i[0].unbind()],
    "index put": lambda f, x, i: f(x[0][torch.zeros(6, dtype=torch.bool).index_put((i[0],), torch.tensor(True))]),
    "index fill": lambda f, x, i: f(x[0][torch.zeros(6, dtype=torch.bool).index_fill(0, i[0], True)]),
    "masked fill": lambda f, x, i: f(x[0][torch.ones(6, dtype=torch.bool).masked_fill(i[0] > 1, False)]),
    "scatter add": lambda f, x, i: f(
        x[:, : int(torch.zeros(6, dtype=torch.long).scatter_add(0, i[0], i[0]).max() % 6)]
    ),
    "one hot sum": lambda f, x, i: f(x[:, : int(F.one_hot(i, 5).sum((0, 1)).max() % 6)]),
    "cummax": lambda f, x, i: f(x[:, : int(i.cummax(1).values[0, 2])]),
    "diff": lambda f, x, i: f(x[:, 1:][:, (i.diff() != 0)[0]]),
    "repeat interleave": lambda f, x, i: f(x.repeat_interleave(i[0], 1)),
    "split by": lambda f, x, i: [f(part) for part in x[0].repeat(4, 1)[: int(i[0].sum())].split(i[0].tolist())],
    "narrow": lambda f, x, i: f(x.narrow(1, 0, int(i[0, 0]))),
    "expand": lambda f, x, i: f(x[:1].expand(int(i[0, 0]) + 1, 6, 8)),
    "arange": lambda f, x, i: f(torch.arange(int(i[0, 0])).float()[:, None].expand(-1, 8)),
    "zeros": lambda f, x, i: f(torch.zeros(int(i[0, 1]), 8)),
    "full": lambda f, x, i: f(x.new_full((i[0, 1], 8), 1.0)),
    "reshape": lambda f, x, i: f(x[:, : 2 * int(i[0, 0] // 2)].reshape(-1, 8)),
    "interpolate": lambda f, x, i: f(F.interpolate(x.mT, size=int(i[0, 0]) + 1).mT),
    "pool": lambda f, x, i: f(F.adaptive_avg_pool1d(x.mT, int(i[0, 0]) + 1).mT),
    "multinomial": lambda f, x, i: f(x[:, : int(torch.multinomial(i[0].float() + 1, 1))]),
    "complex": lambda f, x, i: f(x[:, : int(torch.complex(i.float(), i.float()).abs()[0, 0])]),
    "set operation": lambda f, x, i: f(x[:, : int(torch.cat([i[0], i[1]]).unique().numel() % 6)]),
    "unique counts": lambda f, x, i: f(x[:, : int(i.unique(return_counts=True)[1].max() % 6)]),
    "item in a condition": lambda f, x, i: f(x) if i[0, 0].item() in (1, 2) else x,
    "cond": lambda f, x, i: torch.cond(i.sum() > 3, lambda x: f(x), lambda x: x * 1.0, (x,)),
    "nested tensor": lambda f, x, i: f(
        torch.nested.as_nested_tensor([a[: int(n)] for a, n in zip(x, i[:, 0], strict=True)], layout=torch.jagged)
    ),
    "sparse product": lambda f, x, i: f(torch.sparse.mm((i.mT @ i).float().to_sparse(), x[0])),
    "csr": lambda f, x, i: f((i.mT @ i).float().to_sparse_csr() @ x[0]),
    "tensor of numbers": lambda f, x, i: f(x[:, : int(torch.tensor(i[0].tolist()).max())]),
    "as tensor": lambda f, x, i: f(x[:, : int(torch.as_tensor(i[0].numpy()).max())]),
    "from numpy": lambda f, x, i: f(x[:, : int(torch.from_numpy(i.numpy().copy()).max())]),
    "scalar": lambda f, x, i: f(x[:, : int(torch.scalar_tensor(i[0, 0].item()))]),
    "no grad": lambda f, x, i: within(torch.no_grad(), lambda: f(x[i > 1])),
    "format": lambda f, x, i: f(x) if f"{i[0, 0].item()}" == "0" else x,
}
# Here values decide nothing that is counted.
DECIDE_NOTHING: dict[str, Any] = {
    "embedding bag": lambda f, x, i: f(F.embedding_bag(i, f.weight)),
    "take": lambda f, x, i: f(x.flatten().take(i.repeat(1, 4).view(-1, 8))),
    "position": lambda f, x, i: f(x + i[..., None]),
    "masked by": lambda f, x, i: f(x.masked_fill(i[..., None] > 1, 0.0)),
    "chosen by": lambda f, x, i: f(torch.where(i[..., None] > 1, x, 0.0)),
    "sorted by": lambda f, x, i: f(x.gather(1, i.argsort(1)[..., None].expand(-1, -1, 8))),
    "scattered": lambda f, x, i: f(torch.zeros(2, 6, 8).scatter(1, i[..., None].expand(-1, -1, 8), x)),
    "reduced": lambda f, x, i: f(torch.zeros(5, 8).scatter_reduce(0, i[0][:, None].expand(-1, 8), x[0], "mean")),
    "selected": lambda f, x, i: f(x.index_select(1, i[0])),
    "loss": lambda f, x, i: F.cross_entropy(f(x).mT, i),
}


def within(context: Any, function: Any) -> Any:
    """The result of a function within a context."""
    with context:
        return function()
