"""What a rewrite did to a network, as data: what it replaced, what it kept, and the cost of both networks."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from costlab.core.cost import Cost, total
from costlab.core.profile import CostRow, Profile


@dataclass(frozen=True, slots=True)
class ReplacedConvolution:
    """A convolution replaced by a depthwise and a pointwise one."""

    path: str
    rank: int  # depthwise kernels per input channel
    full_rank: int  # from this rank on the pair can be exact
    weight_error: float | None  # ||W - W'|| / ||W||, Frobenius norms; None if the weights are new
    mult_adds_before: int  # per output position, all channels
    mult_adds_after: int
    aliases: tuple[str, ...] = ()  # other paths of the same module


@dataclass(frozen=True, slots=True)
class KeptConvolution:
    """A convolution that was not replaced."""

    path: str
    reason: str


@dataclass(frozen=True)
class RewriteComparison:
    """The profiles of a network before and after a rewrite, and how far the outputs differ."""

    rule: str  # "dac" or "depthwise-separable"
    layers: tuple[ReplacedConvolution, ...]
    left: tuple[KeptConvolution, ...]
    base: Profile
    head: Profile
    output_error: float | None  # ||y - y'|| / ||y||; None if the weights are new or the networks cannot run
    compared_on: str = ""  # "random inputs, seed 0", or why the outputs could not be compared

    @cached_property
    def costs(self) -> dict[str, tuple[Cost, Cost]]:
        """The cost of each replaced layer before and after, by path."""
        base, head = self.base.by_module(), self.head.by_module()
        paths = {layer.path: (layer.path, *layer.aliases) for layer in self.layers}
        return {path: (cost_inside(base, aliases), cost_inside(head, aliases)) for path, aliases in paths.items()}


def cost_inside(rows: Mapping[str, CostRow], paths: Collection[str]) -> Cost:
    """The cost of the modules at these paths, their submodules included."""
    prefixes = tuple(f"{path}." if path else "" for path in paths)
    return total(row for path, row in rows.items() if path in paths or path.startswith(prefixes))
