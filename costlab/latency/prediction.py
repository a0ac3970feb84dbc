"""A predicted latency as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.notebook import ShownInNotebooks

if TYPE_CHECKING:
    import networkx as nx


RUNS = {"none": "as traced", "bn": "batch norms folded", "pointwise": "torch.compile"}  # by fusion, in headers


@dataclass(frozen=True)
class Prediction(ShownInNotebooks):
    """The predicted latency of one forward pass or training step."""

    device: str
    batch: int | None  # None if no input has a batch dimension
    dtype: str | None  # None: as traced
    amp: bool
    fusion: str
    channels_last: bool
    seconds: float  # of the whole pass
    by_op: Mapping[str, float] = field(repr=False)  # seconds of each operator of the fused profile that moves data
    bound: Mapping[str, str] = field(repr=False)  # by operator: "memory", "issue", "matrix" or "launch"
    unknown: tuple[str, ...]  # operators without a cost rule, left out of the sum
    by_phase: Mapping[str, float] = field(default_factory=dict)  # seconds of the operators of a training step
    optimizer_form: str | None = None  # of a training step
    verified: bool = True  # whether anything was measured on the device
    gpu: bool = True  # whether a CPU launches the kernels of the device

    def __str__(self) -> str:
        """The predicted time, for what, and what is not in it."""
        left_out = f"; not predicted: {len(self.unknown)} operators" if self.unknown else ""
        return f"{units.seconds(self.seconds)} predicted on {self.setup}{left_out}"

    @property
    def overhead_seconds(self) -> float:
        """Time of the pass outside its operators: on a GPU, in which it waits for the CPU to launch kernels."""
        return self.seconds - sum(self.by_op.values())

    @property
    def setup(self) -> str:
        """The device and mode of the prediction, as text: `rtx3090, batch 8, float32, autocast, torch.compile`."""
        parts = {
            self.device: True,
            f"batch {self.batch}": self.batch is not None,
            self.dtype or "": self.dtype,
            "autocast": self.amp,
            "channels-last": self.channels_last,
            RUNS[self.fusion]: True,
            f"{self.optimizer_form} optimizer": self.optimizer_form is not None,
            "unverified": not self.verified,
        }
        return visible(", ".join(part for part, stated in parts.items() if stated))

    @property
    def summary(self) -> dict[str, Any]:
        """The prediction without its operators, as plain data."""
        step = {"predicted_seconds_by_phase": dict(self.by_phase)} if self.by_phase else {}
        return {
            "device": self.device,
            "verified": self.verified,
            "batch": self.batch,
            "dtype": self.dtype,
            "amp": self.amp,
            "fusion": self.fusion,
            "channels_last": self.channels_last,
            "predicted_seconds": self.seconds,
            "overhead_seconds": self.overhead_seconds,
            **step,
        }

    def join(self, profile: Profile) -> nx.DiGraph:
        """A copy of the fused profile's graph with `predicted_seconds` on every node; None without a cost rule."""
        graph = profile.fused(self.fusion).graph.copy()
        for name, node in graph.nodes.items():
            node["predicted_seconds"] = self.by_op.get(name, 0.0 if node["free"] else None)
        return graph
