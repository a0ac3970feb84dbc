"""What `costlab.choose` returns."""

from dataclasses import asdict, dataclass
from typing import Any

from costlab.formatting.notebook import ShownInNotebooks


@dataclass(frozen=True)
class Network:
    """A network with its accuracy and costs."""

    model: str
    image_size: int | None
    top1: float
    top5: float | None
    predicted_seconds: float  # of the whole batch
    mult_adds: int  # of one image
    params: int
    peak_activation_bytes: int  # of one image


@dataclass(frozen=True)
class Choice(ShownInNotebooks):
    """The networks inside the budgets, best first."""

    device: str
    verified: bool  # whether anything was measured on it
    batch: int
    setup: str  # "float16 autocast, compiled"
    budgets: tuple[str, ...]
    margin: float
    source: str  # where the accuracies are from, and their date
    networks: tuple[Network, ...]  # inside the budgets
    considered: tuple[Network, ...]  # all that the filters left
    frontier: tuple[Network, ...]  # networks inside that none beats in top-1 and predicted time
    failed: dict[str, str]  # networks without costs, with the reason
    nearest: Network | None  # where no network is inside the budgets

    def data(self, top: int | None = None) -> dict[str, Any]:
        """The JSON form (docs/json.md)."""
        rest = {k: v for k, v in vars(self).items() if k not in ("networks", "considered", "nearest", "frontier")}
        return {
            **rest,
            "networks": [asdict(network) for network in self.networks[:top]],
            "considered": len(self.considered),
            "frontier": [network.model for network in self.frontier],
            "nearest": asdict(self.nearest) if self.nearest else None,
        }
