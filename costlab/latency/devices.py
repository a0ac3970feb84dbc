"""Devices: the peaks that makers publish, from files in which every number has its source (docs/devices.md)."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from costlab.core.files import read_bytes, write_text
from costlab.errors import CostlabError

DTYPES = ("float64", "float32", "tfloat32", "bfloat16", "float16", "float8", "int8")
NARROWER = DTYPES[2:]  # computed in float32 on devices without units for them
LARGEST = 100_000  # maximum bytes of a device file


@dataclass(frozen=True)
class Cache:
    """One level of the cache hierarchy."""

    level: str  # "L1", "L2" or "L3"; the L1 of a GPU includes its shared memory
    bytes: int  # of one cache
    per: str  # "unit": one for each unit; "device": all together
    bandwidth: float | None = None  # bytes/s, all of them together


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
    caches: tuple[Cache, ...] = ()
    efficiency: Mapping[str, Any] = field(default_factory=dict)  # fitted parameters (costlab.latency.efficiency)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_gpu(self) -> bool:
        return self.type != "cpu"

    def peak_flops(self, dtype: str = "float32") -> float:
        """FLOP/s of the faster of matrix and vector units; a narrow type without units is computed in float32.

        Raises:
            CostlabError: the device has no peak for the dtype.
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


def user_folder() -> Path:
    """The folder of the user's own devices, each a file NAME.toml."""
    from platformdirs import user_config_path

    return user_config_path("costlab") / "devices"


def device_files() -> dict[str, Path]:
    """The file of every named device, by lower-case name; the user's files take precedence."""
    built_in = Path(str(files("costlab.latency"))) / "data"
    found = {path.stem.lower(): path for folder in (built_in, user_folder()) for path in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def list_devices() -> list[str]:
    """The names of all devices: costlab's and those in the user's folder."""
    return list(device_files())


def find_device(name: str | Path) -> Device:
    """Find a device by name (case-insensitive) or by the path of a `.toml` file.

    Raises:
        CostlabError: unknown device, or an invalid file.
    """
    if str(name).endswith(".toml"):
        return read_device(name)
    found = device_files()
    path = found.get(str(name).lower())
    if path is None:
        raise CostlabError(
            f"no device {str(name)!r}{nearest(str(name).lower(), found)}; `costlab devices` lists them;"
            " or give the path of a .toml file"
        )
    return read_device(path)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: "; did you mean ...?" with the most similar names."""
    names = sorted(known)
    close = [full for full in names if name and full.startswith(name)][:4] or difflib.get_close_matches(
        name, names, n=1
    )
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def read_device(path: str | Path) -> Device:
    """Read a device file; the device takes the name of the file.

    Raises:
        CostlabError: the file cannot be read, or which key is invalid and why.
    """
    from costlab.latency.device_format import parsed

    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise CostlabError(f"{path} is not a file")
    content = read_bytes(path, LARGEST)
    try:
        return parsed(content, path.stem)
    except CostlabError as error:
        raise CostlabError(f"{path}: {error}") from None


def write_device(device: Device, path: str | Path) -> None:
    """Write a device file that `read_device` reads back as an equal device, if the file has the device's name.

    Raises:
        CostlabError: the file cannot be written, or the device is invalid.
    """
    from costlab.latency.device_format import parsed, text

    content = text(device)
    parsed(content.encode("utf-8"), device.name)
    write_text(Path(path), content)
