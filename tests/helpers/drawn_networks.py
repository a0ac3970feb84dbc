"""Random networks, drawn by hypothesis."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

Values = list[Tensor]


CHANNELS, SIDE = 4, 6


class Step(nn.Module):
    """One step: takes the values made so far and adds one, or changes one in place."""

    def __init__(self, kind: str, first: int, second: int, shared: nn.Module) -> None:
        super().__init__()
        self.kind, self.first, self.second = kind, first, second
        if kind == "conv":
            self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=(1, 2, 4)[second % 3])
        elif kind == "linear":
            self.linear = nn.Linear(SIDE, SIDE)
        elif kind == "shared":
            self.layer = shared
        elif kind == "norm":
            self.norm = nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.Dropout(0.5))
        elif kind == "reduce":
            self.reduce = nn.Conv2d(2 * CHANNELS, CHANNELS, 1, bias=False)
        elif kind == "unused":
            self.unused = nn.Linear(3, 5)

    def forward(self, values: Values) -> Tensor:
        x, y = values[self.first % len(values)], values[self.second % len(values)]
        match self.kind:
            case "conv":
                return self.conv(x)
            case "linear":
                return self.linear(x)
            case "shared":
                return self.layer(x)
            case "norm":
                return self.norm(x)
            case "reduce":
                return self.reduce(torch.cat([x, y], 1))
            case "add":
                return x + y
            case "in place":
                return x.relu_()
            case "in place on a view":
                x[:, : 1 + self.second % 3].mul_(2)
                return x
            case "assigned":
                x[0] = y[1]
                return y
            case "view":
                return x.flatten(2).transpose(1, 2).transpose(1, 2).view_as(y)
            case "transposed":
                return x.transpose(2, 3)
            case "copied":
                return x.transpose(2, 3).contiguous()
            case "swapped":
                return torch.cat(x.chunk(2, 1)[::-1], 1)
            case "created":
                return y * torch.arange(SIDE, dtype=torch.float32)
            case "shape":
                return x.expand_as(y).reshape(2, -1).reshape(y.shape)
        return x


KINDS = (
    "conv linear shared norm reduce add view transposed copied swapped created shape unused",
    "in place,in place on a view,assigned",
)


STEP_KINDS = [*KINDS[0].split(), *KINDS[1].split(",")]


class Block(nn.Module):
    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, values: Values) -> tuple[Tensor, ...]:
        values = list(values)
        for step in self.steps:
            values.append(step(values))
        return tuple(values)


class Network(nn.Module):
    def __init__(self, program: list[tuple[str, int, int]]) -> None:
        super().__init__()
        shared = nn.Conv2d(CHANNELS, CHANNELS, 1)
        steps = [Step(*step, shared) for step in program]
        self.scale = nn.Parameter(torch.ones(CHANNELS, 1, 1))
        self.blocks = nn.Sequential(*(Block(steps[i : i + 3]) for i in range(0, len(steps), 3)))

    def forward(self, x: Tensor) -> dict[str, Any]:
        values = self.blocks([x * self.scale, x])
        return {"last": values[-1], "others": (values[len(values) // 2], values[0].sum())}


INPUT = (2, CHANNELS, SIDE, SIDE)


networks = st.lists(
    st.tuples(st.sampled_from(STEP_KINDS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12
).map(Network)
