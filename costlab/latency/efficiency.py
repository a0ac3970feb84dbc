"""The parameters of a device: those of the software (`costlab.latency.parameters`), and what its file overrides."""

from collections.abc import Mapping
from typing import Any

from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.latency.parameters import parameters_of

MODES = ("eager", "compiled")


def shared_efficiency(device_type: str, mode: str) -> dict[str, float]:
    """The values of all parameters for a type of device, "eager" or "compiled"."""
    return {name: float(getattr(parameter, mode)) for name, parameter in parameters_of(device_type).items()}


def efficiency_of(device: Device, mode: str) -> dict[str, float]:
    """The parameters of a device in "eager" or "compiled" mode: its own, else those of its reference, else the shared.

    A CPU without parameters of its own for "compiled" has those for "eager".

    Raises CostlabError if the device file names an unknown parameter or an unknown reference.
    """
    shared = shared_efficiency(device.type, mode)
    if mode not in device.efficiency and device.efficiency.get("reference"):
        return efficiency_of(find_device(str(device.efficiency["reference"])), mode)
    own = device.efficiency.get(mode)
    if own is None and device.type == "cpu":  # one set of shared parameters serves both modes
        own = device.efficiency.get("eager")
    return {**shared, **overrides(device, {} if own is None else own, shared)}


def overrides(device: Device, table: Any, known: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a device file for one mode. Raises CostlabError for an invalid one."""
    unknown = sorted(set(table) - known.keys()) if isinstance(table, Mapping) else ["efficiency"]
    if unknown:
        raise CostlabError(f"device {device.name}: unknown parameter {unknown[0]!r}; docs/latency.md lists them")
    for name, value in table.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        least = 0.0 if name == "half_norms" else 1e-30
        if not number or value < least:
            words = "of 0 or more" if name == "half_norms" else "above 0"
            raise CostlabError(f"device {device.name}: parameter {name} must be a number {words}, got {value!r:.60}")
    return {name: float(value) for name, value in table.items()}
