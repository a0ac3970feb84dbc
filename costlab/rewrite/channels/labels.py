"""Labels of channels: which are tied to each other, and why some cannot be removed.

A label is a number; the tensors of a network have labels along at most one axis, one for each index.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

Labels = np.ndarray  # int64, one for each index of an axis


class Axis(NamedTuple):
    """The labels along one axis of a tensor."""

    axis: int
    labels: Labels


class Operand(NamedTuple):
    """A tensor that an operator reads."""

    shape: tuple[int, ...]
    axis: Axis | None  # None: no axis of it shrinks
    weight: str | None  # the name of the parameter or buffer that it is, if it is one


class Step(NamedTuple):
    """One call of an operator, as the rules see it."""

    kind: str
    where: str  # path of the module, or "the network"
    attrs: Mapping[str, Any]
    operands: Mapping[str, Operand]
    shapes: Sequence[tuple[int, ...]]  # of its results
    rerun: Callable[[Callable[[str], torch.Tensor]], Sequence[torch.Tensor]]  # on other tensors, given by name


class Ties:
    """Labels, those that are tied to each other, and why some cannot be removed."""

    def __init__(self) -> None:
        self.count = 1
        self.pairs: list[tuple[Labels, Labels]] = []
        self.reasons: dict[str, int] = {"it is padded": 0}  # padding writes zeros
        self.weights: dict[tuple[str, int], Labels] = {}  # by name and axis of a parameter or buffer
        self.produced: dict[str, int] = {}  # weights whose channels begin there, and along which axis
        self.kept_weights: dict[str, str] = {}  # by name: why a weight keeps its shape
        self.mixed: list[Labels] = []  # channels that are summed over and that others depend on as well

    def new(self, count: int) -> Labels:
        """Labels that nothing has yet."""
        self.count += count
        return np.arange(self.count - count, self.count)

    def tie(self, some: Labels, others: Labels) -> None:
        """Remove labels only together with those at the same position."""
        self.pairs.append((some, np.broadcast_to(others, some.shape)))

    def tie_all(self, rows: Labels) -> None:
        """Remove the labels of a column [rows, columns] only together."""
        for row in rows[1:]:
            self.tie(row, rows[0])

    def reason(self, text: str) -> int:
        """The label of what cannot be removed for a reason."""
        if text not in self.reasons:
            self.reasons[text] = int(self.new(1)[0])
        return self.reasons[text]

    def keep(self, operand: Operand, text: str) -> None:
        """Never remove the channels of a tensor."""
        if operand.axis is not None:
            self.tie(operand.axis.labels, np.array(self.reason(text)))
        elif operand.weight is not None:
            self.kept_weights.setdefault(operand.weight, text)

    def weight(self, operand: Operand, axis: int) -> Labels:
        """The labels of a parameter or buffer along an axis."""
        assert operand.weight is not None
        key = operand.weight, axis
        if key not in self.weights:
            self.weights[key] = self.new(operand.shape[axis])
        return self.weights[key]

    def along(self, operand: Operand, axis: int, text: str) -> Labels:
        """The labels of a tensor along an axis; if there are none, those of what cannot be removed."""
        if operand.axis is not None and operand.axis.axis == axis:
            return operand.axis.labels
        self.keep(operand, text)
        return np.full(operand.shape[axis], self.reason(text))
