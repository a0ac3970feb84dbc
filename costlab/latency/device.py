"""A device as numbers: the peaks that its maker publishes, and the source of each."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from costlab.errors import CostlabError

DTYPES = ("float64", "float32", "tfloat32", "bfloat16", "float16", "float8", "int8")
NARROWER = DTYPES[2:]  # computed in float32 on devices without units for them


@dataclass(frozen=True)
class Cache:
    """One level of the cache hierarchy."""

    level: str  # "L1", "L2" or "L3"; the L1 of a GPU includes its shared memory
    bytes: int  # of one cache
    per: str  # "unit": one for each unit; "device": all together
    bandwidth: float | None = None  # bytes/s, all of them together


@dataclass(frozen=True)
class Link:
    """The connection of one device to its peers in the same host."""

    bandwidth: float  # bytes/s in one direction
    latency: float  # seconds of an all-reduce of nothing


@dataclass(frozen=True)
class Device:
    """The peaks of one device. `sources` maps the path of a number, such as "caches.L2.bytes", to its source."""

    name: str
    title: str
    type: str  # "cuda", "cpu" or "mps", as in torch
    architecture: str
    units: int  # streaming multiprocessors or cores
    clock: float  # Hz
    bandwidth: float  # bytes/s of main memory, the theoretical peak
    launch_seconds: float  # CPU time to launch one operator in eager mode
    vector_flops: Mapping[str, float]  # FLOP/s of the vector units by dtype; a multiply-add counts 2
    matrix_flops: Mapping[str, float] = field(default_factory=dict)  # of the matrix units: dense, float32 sums
    memory: int | None = None  # bytes; None if the device does not determine it
    power: float | None = None  # watts of the whole board, its limit
    boost: float = 1.0  # clock that the board reaches under load over its datasheet's
    slowest_unit: float = 1.0  # speed of the slowest unit over the mean: work is split evenly between all
    caches: tuple[Cache, ...] = ()
    link: Link | None = None
    measured: str | None = None  # what was measured on it and compared with predictions
    efficiency: Mapping[str, Any] = field(default_factory=dict)  # fitted parameters (costlab.latency.efficiency)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_gpu(self) -> bool:
        return self.type != "cpu"

    @property
    def fitted(self) -> bool:
        """Whether parameters were fitted to measurements on it, as `costlab calibrate` and `--anchor` do."""
        return not {"eager", "compiled"}.isdisjoint(self.efficiency)

    @property
    def verified(self) -> bool:
        """Whether anything was measured on it; predictions for all others are marked."""
        return self.measured is not None or self.fitted

    def peak_flops(self, dtype: str = "float32") -> float:
        """FLOP/s of the faster of matrix and vector units; a narrow type without units is computed in float32.

        Raises CostlabError if the device has no peak for the dtype.
        """
        peaks = [flops[dtype] for flops in (self.matrix_flops, self.vector_flops) if dtype in flops]
        if peaks:
            return max(peaks)
        if dtype in NARROWER:
            return self.peak_flops("float32")
        known = ", ".join(d for d in DTYPES if d in NARROWER or d in self.vector_flops or d in self.matrix_flops)
        raise CostlabError(f"{self.name} has no peak for {dtype!r}; use one of {known}")

    def ridge_point(self, dtype: str = "float32") -> float:
        """`peak_flops / bandwidth` in FLOP/byte: operators below it are memory-bound, above it compute-bound."""
        return self.peak_flops(dtype) / self.bandwidth

    def cache_bytes(self, level: str) -> int:
        """Total bytes of the caches of a level; 0 if it has none."""
        counts = {"unit": self.units, "device": 1}
        return sum(cache.bytes * counts[cache.per] for cache in self.caches if cache.level == level)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: "; did you mean ...?" with the most similar names."""
    names = sorted(known)
    close = [full for full in names if name and full.startswith(name)][:4] or difflib.get_close_matches(
        name, names, n=1
    )
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
