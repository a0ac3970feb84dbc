"""The result of a calibration as plain data, and whether it can be trusted. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costlab.formatting import units
from costlab.latency.device import Device

if TYPE_CHECKING:
    from costlab.measurement.fit import Errors

MOST_MEDIAN, MOST_NINETIETH = 0.25, 1.0  # errors of held-out operators above which a calibration is refused
BUSY_LOAD = 0.5  # load average per core above which a machine is not idle


@dataclass(frozen=True)
class Peak:
    """A peak measured with a large operator, beside the one on the datasheet."""

    name: str  # a dtype, or "bandwidth"
    measured: float  # FLOP/s of a matrix product, or bytes/s, read and written, of a copy
    datasheet: float | None  # None if this machine is not a known device


@dataclass(frozen=True)
class Calibration:
    """A device profile, and how well it predicts the measured times."""

    device: Device
    fitted: Errors  # of the first fit, on the operators it was fitted to
    held_out: Errors  # of the first fit, on the other operators; the profile is fitted to all
    blocks: int
    operators: int
    interrupted: bool  # stopped early
    peaks: tuple[Peak, ...] = ()
    noisy: int = 0  # blocks whose times spread widely
    load: float | None = None  # load average per core before the calibration

    @property
    def busy(self) -> str | None:
        """Signs that something else used the machine meanwhile, in words; None without any."""
        signs = []
        if self.load is not None and self.load > BUSY_LOAD:
            signs.append(f"the load average was {self.load:.1f} per core before it began")
        if self.noisy > self.blocks / 10:
            signs.append(f"the times of {self.noisy} of {self.blocks} networks spread widely")
        return " and ".join(signs) or None

    @property
    def problem(self) -> str | None:
        """Why the profile should not be used; None if its held-out operators are predicted well enough."""
        if self.held_out.median <= MOST_MEDIAN and self.held_out.ninetieth <= MOST_NINETIETH:
            return None
        found, most = (self.held_out.median, self.held_out.ninetieth), (MOST_MEDIAN, MOST_NINETIETH)
        (median, ninetieth), (least, last) = (map(units.percent, pair) for pair in (found, most))
        return (
            f"held-out operators are predicted with an error of {median} in the median and {ninetieth} at the 90th"
            f" percentile (at most {least} and {last})" + (f"; {self.busy}" if self.busy else "")
        )
