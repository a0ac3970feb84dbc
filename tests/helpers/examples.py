"""Small networks whose profiles are difficult for reports and files."""

from __future__ import annotations

import functools

import torch
from torch import nn

from costlab.core.profile import Profile
from costlab.tracing._profile import profile

HOSTILE = "=cmd|'/C calc'!A0 [red]x[/red] <b>`|` *a* __b__ @c #1 \x1b[31m\u202e\r\n\ud800"


class Tiny(nn.Module):
    """mult-adds 2 * 8 * 16 * 16 * 3 * 3 * 3 + 2 * 5 * 8; parameters 8 * 3 * 3 * 3 + 8, and 5 * 8 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(8, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.conv(x)).mean((2, 3)))


class Hostile(nn.Module):
    """Names that mean something to every format, and an operator that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module(HOSTILE, nn.Linear(3, 4))
        self.tail = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(self.tail(getattr(self, HOSTILE)(x)))


class Guessed(nn.Module):
    """The size of its result rests on values."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x)
        return self.fc(x[x.sum(1) > 0])


class Wasteful(nn.Module):
    """A tied parameter, one that nobody reads, one first read as a view, and a module never called."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.out = nn.Linear(4, 10)
        self.out.weight = self.embed.weight
        self.mix = nn.Parameter(torch.zeros(4, 4))
        self.spare = nn.Parameter(torch.zeros(7))
        self.idle = nn.Sequential(nn.Linear(3, 3), nn.Identity())

    def forward(self, tokens: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.embed(tokens) @ self.mix.t()
        return {"logits": self.out(x) * scale, "hidden": x}


@functools.cache
def examples() -> dict[str, Profile]:
    """Their profiles, and those of networks that hardly do anything."""
    tokens = torch.zeros(2, 6, dtype=torch.long)
    return {
        "tiny": profile(Tiny(), (2, 3, 16, 16), name="tiny", provider="zoo", arguments={"width": 0.5, "sizes": [1]}),
        "train": profile(Tiny(), (2, 3, 16, 16), mode="train"),
        "hostile": profile(Hostile(), (5, 3), name=HOSTILE, arguments={HOSTILE: HOSTILE}),
        "guessed": profile(Guessed(), (6, 4)),
        "wasteful": profile(Wasteful(), [tokens], {"scale": (1,)}),
        "relu": profile(nn.ReLU(), (2, 3)),
        "nothing": profile(nn.Identity(), (2, 3)),
        "only uncounted": profile(Wasteful(), [tokens], {"scale": (1,)}, rules={}),
    }


NAMES = ("tiny", "train", "hostile", "guessed", "wasteful", "relu", "nothing", "only uncounted")
