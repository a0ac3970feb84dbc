"""What a device can do at most, as its makers publish it: a file of numbers, each with its source (docs/devices.md)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from costlab.core.files import os_error_reason, write_text
from costlab.errors import CostlabError

DTYPES = ("float64", "float32", "tfloat32", "bfloat16", "float16", "float8", "int8")
NARROWER = DTYPES[2:]  # computed in float32 where a device has no units for them
LARGEST = 100_000  # bytes of a device file


@dataclass(frozen=True)
class Cache:
    """One level of caches."""

    level: str  # "L1", "L2" or "L3", from the units outwards; the L1 of a GPU is what it shares with shared memory
    bytes: int  # of one cache
    per: str  # "unit": every unit has one of its own, or "device": one for all, or all of them added up
    bandwidth: float | None = None  # bytes/s of all of them together


@dataclass(frozen=True)
class Device:
    """The peaks of one device. `sources` says where numbers are from: by path, "caches.L2.bytes" for instance."""

    name: str
    title: str
    type: str  # "cuda", "cpu" or "mps", as in torch
    architecture: str
    units: int  # streaming multiprocessors or cores
    clock: float  # Hz
    bandwidth: float  # bytes/s of main memory, the theoretical peak
    launch_seconds: float  # host time of one operator, run eagerly
    vector_flops: Mapping[str, float]  # FLOP/s of the ordinary units by dtype; one multiply-add is two
    matrix_flops: Mapping[str, float] = field(default_factory=dict)  # of the matrix units; dense, sums in float32
    memory: int | None = None  # bytes; None where it is not the device that decides
    caches: tuple[Cache, ...] = ()
    efficiency: Mapping[str, Any] = field(default_factory=dict)  # what was fitted: nested tables of numbers and words
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_gpu(self) -> bool:
        return self.type != "cpu"

    def peak_flops(self, dtype: str = "float32") -> float:
        """FLOP/s of the faster of matrix and vector units. A narrow type that has neither is computed in float32.

        Raises:
            CostlabError: no peak is known for the dtype.
        """
        peaks = [flops[dtype] for flops in (self.matrix_flops, self.vector_flops) if dtype in flops]
        if peaks:
            return max(peaks)
        if dtype in NARROWER:
            return self.peak_flops("float32")
        known = ", ".join(d for d in DTYPES if d in NARROWER or d in self.vector_flops or d in self.matrix_flops)
        raise CostlabError(f"{self.name} has no peak for {dtype!r}; there are {known}")

    def ridge_point(self, dtype: str = "float32") -> float:
        """`peak_flops / bandwidth` [FLOP/byte]: below it memory bounds an operator, above it arithmetic does."""
        return self.peak_flops(dtype) / self.bandwidth

    def cache_bytes(self, level: str) -> int:
        """Bytes of all caches of a level together; 0 where there is no such level."""
        counts = {"unit": self.units, "device": 1}
        return sum(cache.bytes * counts[cache.per] for cache in self.caches if cache.level == level)


def user_folder() -> Path:
    """Where users keep devices of their own, each as NAME.toml."""
    from platformdirs import user_config_path

    return user_config_path("costlab") / "devices"


def device_files() -> dict[str, Path]:
    """The file of every device that has a name, by name in lower case; a user's own hides costlab's."""
    built_in = Path(str(files("costlab.latency"))) / "data"
    found = {path.stem.lower(): path for folder in (built_in, user_folder()) for path in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def list_devices() -> list[str]:
    """The names that `find_device` knows: costlab's and those in the user's folder."""
    return list(device_files())


def find_device(name: str | Path) -> Device:
    """The device of a name, in upper or lower case, or of a path that ends in `.toml`.

    Raises:
        CostlabError: there is no such device, or its file does not describe one.
    """
    if str(name).endswith(".toml"):
        return read_device(name)
    found = device_files()
    path = found.get(str(name).lower())
    if path is None:
        raise CostlabError(
            f"no device {str(name)!r}{nearest(str(name).lower(), found)}; `costlab devices` lists them, and a path that"
            " ends in .toml names a file"
        )
    return read_device(path)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: which known name may be meant."""
    names = sorted(known)
    close = [full for full in names if name and full.startswith(name)][:4] or difflib.get_close_matches(
        name, names, n=1
    )
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def read_device(path: str | Path) -> Device:
    """The device that a file describes; it is named like the file.

    Raises:
        CostlabError: there is no such file, or it does not describe a device: which key, and why.
    """
    from costlab.latency.device_files import parsed

    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise CostlabError(f"{path} is no file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # a null character in a path is a ValueError
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
    if len(content) > LARGEST:
        raise CostlabError(f"{path} is larger than any device file, {LARGEST // 1000} kB")
    try:
        return parsed(content, path.stem)
    except CostlabError as error:
        raise CostlabError(f"{path}: {error}") from None


def write_device(device: Device, path: str | Path) -> None:
    """Write a device such that `read_device` gives an equal one where the file bears its name: whole or not at all.

    Raises:
        CostlabError: the file cannot be written, or could not be read again.
    """
    from costlab.latency.device_files import parsed, text

    content = text(device)
    parsed(content.encode("utf-8"), device.name)
    write_text(Path(path), content)
