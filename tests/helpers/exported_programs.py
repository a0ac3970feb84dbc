"""`.pt2` files for tests: saved by torch, then changed member by member."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Net(nn.Module):
    """A convolution, a batch norm, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Nested(nn.Module):
    """Nested inputs and outputs, a mutated buffer, a constant, a branch, and sizes computed from the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor, *, extra: dict[str, Any], flag: bool = True) -> dict[str, Any]:
        self.count += 1
        y = self.linear(x) + extra["more"][0] + torch.tensor([1.0] * 8)
        y = torch.cond(x.sum() > 0, lambda v: v * 2, lambda v: self.linear(v), (y,))
        return {"flat": y.reshape(x.shape[0] * 8), "rest": [self.count, None, flag]}


class Attention(nn.Module):
    """Every form of attention that torch has, over tied embeddings of a length that may change."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.heads = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.layer(self.embed(tokens))
        x = self.heads(x, x, x)[0][:, None]
        return self.out(nn.functional.scaled_dot_product_attention(x, x, x)[:, 0])


def save(
    path: Path,
    network: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    strict: bool = False,
) -> Path:
    """The file that torch.export.save writes for a network."""
    program = torch.export.export(network.eval(), args, kwargs, dynamic_shapes=dynamic_shapes, strict=strict)
    torch.export.save(program, path)
    return path


def save_net(path: Path) -> Path:
    """`Net`, exported for two images of 16x16."""
    return save(path, Net(), (torch.randn(2, 3, 16, 16),))


def save_nested(path: Path) -> Path:
    """`Nested`, exported for a batch of 3 that may change."""
    batch = torch.export.Dim("batch", max=64)
    inputs = (torch.randn(3, 8),), {"extra": {"more": [torch.randn(3, 8)]}, "flag": True}
    shapes = {"x": {0: batch}, "extra": {"more": [{0: batch}]}, "flag": None}
    return save(path, Nested(), *inputs, dynamic_shapes=shapes)


def save_attention(path: Path) -> Path:
    """`Attention`, exported for 2 sequences of 7 tokens, both of which may change."""
    shapes = {"tokens": {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("length", max=50)}}
    return save(path, Attention(), (torch.randint(0, 20, (2, 7)),), dynamic_shapes=shapes)


def members(source: Path) -> dict[str, bytes]:
    """The content of every member by name."""
    with zipfile.ZipFile(source) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(target: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """An archive of these members."""
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return target


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A copy of the archive with `change(name, content)` in place of each member's content."""
    return write(target, {name: change(name, content) for name, content in members(source).items()})


def edited(source: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """A copy of the archive after `change(document)` of its program's JSON."""

    def edit(name: str, content: bytes) -> bytes:
        if not name.endswith("/models/model.json"):
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return rewritten(source, target, edit)
