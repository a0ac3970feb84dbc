"""How a network is executed: what a prediction needs to know besides the network itself."""

from __future__ import annotations

from dataclasses import dataclass

from costlab.latency.devices import Device


@dataclass(frozen=True)
class ExecutionConfig:
    """A device, and how the network runs on it."""

    device: Device
    batch: int | None = None  # None: the batch of the trace
    dtype: str | None = None  # None: the dtype of the trace
    amp: bool = False  # under torch.autocast
    fusion: str = "none"  # a view of costlab.core.fusion
    channels_last: bool = False
