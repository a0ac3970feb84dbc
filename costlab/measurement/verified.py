"""On which devices measurements were compared with predictions; those for all others are marked as unverified."""

from collections.abc import Mapping
from types import MappingProxyType

from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.devices import find_device

TIMM = "throughput of timm's networks, as timm publishes it (docs/latency.md)"
H100 = "forward passes and training steps of 21 networks (docs/latency.md)"
NEUSIGHT = "forward passes of transformers, as published with NeuSight (docs/latency.md)"

# What was measured, by device.
MEASURED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("rtx3090", "rtx4090", "i9-10940x", "i7-12700h"), TIMM),
        "h100": H100,
        **dict.fromkeys(("a100-40gb", "v100-pcie", "t4", "p100-pcie", "mi100", "mi250"), NEUSIGHT),
    }
)
CALIBRATED = "parameters of its own, fitted on it"
NOTHING = "nothing was measured on it"


def measured_on(device: Device) -> str | None:
    """What was measured on a device; None if nothing was.

    A device with fitted parameters of its own, such as `costlab calibrate` writes, was measured.
    """
    fitted = {"eager", "compiled"} & device.efficiency.keys()
    return MEASURED.get(device.name, CALIBRATED if fitted else None)


def is_verified(name: str) -> bool:
    """Whether measurements exist for the named device; assumed if the device file no longer exists."""
    if name in MEASURED:
        return True
    try:
        return measured_on(find_device(name)) is not None
    except CostlabError:
        return True


def mark(name: str | None) -> str:
    """What to write behind a device: ", unverified", or nothing."""
    return ", unverified" if name and not is_verified(name) else ""
