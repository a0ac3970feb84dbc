"""What a rewrite did to a network, as data: what it replaced, what it left, and what both networks cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from costlab.core.cost import Cost, total
from costlab.core.profile import CostRow, Profile


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution that a depthwise and a pointwise one took the place of."""

    path: str
    rank: int  # depthwise kernels for each input channel
    full_rank: int  # from here on the two can be exactly the one
    weight_error: float | None  # ||W - W'|| / ||W||, Frobenius norms; None where the weights are new
    mult_adds_before: int  # of one output position, all channels
    mult_adds_after: int
    aliases: tuple[str, ...] = ()  # other paths by which the network reaches it


@dataclass(frozen=True, slots=True)
class Left:
    """A convolution that stays as it is."""

    path: str
    reason: str


@dataclass(frozen=True)
class Change:
    """A rewritten network beside the one that it was made from."""

    rule: str  # "dac" or "depthwise-separable"
    layers: tuple[Layer, ...]
    left: tuple[Left, ...]
    base: Profile
    head: Profile
    output_error: float | None  # ||y - y'|| / ||y||; None where the weights are new or the networks cannot run
    compared_on: str = ""  # "random inputs, seed 0", or why the outputs could not be compared

    @cached_property
    def costs(self) -> dict[str, tuple[Cost, Cost]]:
        """What each layer cost before, and what takes its place costs now, by path."""
        base, head = self.base.by_module(), self.head.by_module()
        paths = {layer.path: (layer.path, *layer.aliases) for layer in self.layers}
        return {path: (below(base, all_paths), below(head, all_paths)) for path, all_paths in paths.items()}


def below(rows: Mapping[str, CostRow], paths: Collection[str]) -> Cost:
    """The cost of the modules at these paths and of everything inside them."""
    inside = tuple(f"{path}." if path else "" for path in paths)
    return total(row for path, row in rows.items() if path in paths or path.startswith(inside))
