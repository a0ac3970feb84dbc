"""Small repositories with networks and a configuration, for tests of the linter in CI."""

from __future__ import annotations

from pathlib import Path

NETS = """import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, 1)

    def forward(self, x):
        return torch.relu(self.conv(x))


class Net(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.wide = Block(16, width)
        self.narrow = Block(width, 16)

    def forward(self, x):
        return self.narrow(self.wide(self.stem(x)))


NAME = "50%\\n::error::boom|`<b>&\\x1b[31m,x"


class Hostile(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.add_module(NAME, nn.Conv2d(16, 256, 1))

    def forward(self, x):
        return getattr(self, NAME)(self.stem(x))


def broken():
    raise RuntimeError("no weights")
"""
BLOCK_LINE, NET_LINE = 10, 21  # of the forward methods
CALL_LINE = 11  # of the convolution in a block

HEADER = '[project]\nname = "demo"\n'
NET = '\n[[tool.costlab.model]]\nname = "net"\ntarget = "nets.py:Net"\ninput = "1,3,32,32"\n'
NET_ENTRY = 4  # its line
BROKEN = '\n[[tool.costlab.model]]\nname = "broken"\ntarget = "nets.py:broken"\n'
HOSTILE = '\n[[tool.costlab.model]]\nname = "hostile"\ntarget = "nets.py:Hostile"\ninput = "1,3,32,32"\n'


def write_project(folder: Path, *tables: str) -> None:
    """A repository with `nets.py` and a pyproject.toml of these tables."""
    (folder / ".git").mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(NETS)
    (folder / "pyproject.toml").write_text(HEADER + "".join(tables))
