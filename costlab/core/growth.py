"""What `costlab.scale` returns."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from costlab.core.graph import Mode
from costlab.core.polynomials import Polynomial
from costlab.formatting.notebook import ShownInNotebooks

LINEAR = 0.5  # share of proportional growth above which launches no longer decide the time


@dataclass(frozen=True)
class Growth(ShownInNotebooks):
    """The costs of a network over one size of its inputs."""

    model: str
    axis: str  # "batch", "resolution" or "length"
    sizes: tuple[int, ...]
    totals: dict[str, tuple[int, ...]]  # by cost, at every size
    seconds: tuple[float, ...] | None  # predicted; None without a device
    device: str | None
    verified: bool  # whether anything was measured on it
    memory: int | None  # bytes of the device
    memory_bytes: tuple[int, ...]  # the peak of everything, at every size
    forms: dict[str, Polynomial | None]  # closed forms; None: there is none
    mode: Mode = "eval"

    @property
    def largest(self) -> int | None:
        """The largest of the sizes that fits into the device's memory; None if unknown, or none fits."""
        if self.memory is None:
            return None
        fitting = [n for n, needed in zip(self.sizes, self.memory_bytes, strict=True) if needed <= self.memory]
        return max(fitting, default=None)

    @property
    def knee(self) -> int | None:
        """The first size from which time grows at least half as fast as the size: launches no longer decide."""
        if self.seconds is None:
            return None
        pairs = list(zip(self.sizes, self.seconds, strict=True))
        for (size, seconds), (after, more) in pairwise(pairs):
            if (more - seconds) / seconds >= LINEAR * (after - size) / size:
                return size
        return None

    def data(self) -> dict[str, Any]:
        """The JSON form (docs/json.md)."""
        forms = {
            key: None
            if form is None
            else {"coefficients": [str(c) for c in form.coefficients], "domain": [form.first, form.last, form.step]}
            for key, form in self.forms.items()
        }
        plain = {key: value for key, value in vars(self).items() if key != "forms"}
        return {**plain, "forms": forms, "largest": self.largest, "knee": self.knee}
