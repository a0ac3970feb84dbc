"""A design space: a factory, the values of its arguments, and what to find out about each network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from costlab._version import __version__
from costlab.ci import configuration
from costlab.ci.configuration import TomlTable, first_error
from costlab.core.files import os_error_reason
from costlab.core.graph import Fusion
from costlab.errors import CostlabError
from costlab.latency.devices import Device, find_device
from costlab.sweeps.axes import Axis, axis_of
from costlab.sweeps.shuffling import shuffled

INPUT_AXES = ("batch", "resolution", "dtype")  # change the input, as the options of these names do
LIBRARIES = {"torchvision": ("torchvision",), "timm": ("timm", "torchvision"), "hf": ("transformers",)}
PATIENCE = 300.0  # seconds for one network

Names = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]


class Document(TomlTable):
    """A space as a TOML file or a mapping describes it."""

    factory: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)
    input: Names = Field(default_factory=list)
    batch: Any = None
    resolution: Any = None
    dtype: Any = None
    device: Names = Field(default_factory=list)
    amp: bool = False
    fusion: Fusion = "none"
    channels_last: bool = False
    sample: int | None = Field(None, ge=1)
    seed: int = 0
    part: str | None = Field(None, pattern=r"^\d{1,9}/\d{1,9}$")
    where: str | None = None
    timeout: float = Field(PATIENCE, gt=0, le=1e6)


@dataclass(frozen=True)
class Space:
    """Networks in an order: that of the axes, the last of which changes fastest, or that of a sample."""

    factory: str
    arguments: Mapping[str, Axis]
    changes: Mapping[str, Axis]  # of the input: batch, resolution, dtype
    inputs: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    amp: bool = False
    fusion: str = "none"
    channels_last: bool = False
    sample: int | None = None
    seed: int = 0
    part: tuple[int, int] = (1, 1)  # the first of how many parts of equal size
    where: str | None = None  # which rows are kept
    timeout: float = PATIENCE

    def __getstate__(self) -> dict[str, Any]:
        """Without what was worked out of it: digests stay where they are."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def axes(self) -> dict[str, Axis]:
        return {**self.arguments, **self.changes}

    @property
    def size(self) -> int:
        """Points of the whole space."""
        return prod(map(len, self.axes.values()))

    def __len__(self) -> int:
        return len(self.range)

    @cached_property
    def range(self) -> range:
        """Where this part lies in the whole."""
        whole = self.size if self.sample is None else min(self.sample, self.size)
        part, parts = self.part
        return range(whole * (part - 1) // parts, whole * part // parts)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """The values of every axis at one position."""
        index = self.range[position]
        if self.sample is not None:
            index = shuffled(index, self.size, self.seed)
        values = {}
        for name, axis in reversed(self.axes.items()):
            index, remainder = divmod(index, len(axis))
            values[name] = axis[remainder]
        return dict(reversed(values.items()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[position] for position in range(len(self)))

    @cached_property
    def versions(self) -> dict[str, str]:
        """What a row also depends on: the versions of libraries, and a digest of the user's file."""
        return versions_of(self.factory)

    @cached_property
    def digest(self) -> str:
        """A name for the space, or for a part of it."""
        digest = self.shared.copy()
        digest.update(canonical([self.part, *([name, repr(axis)] for name, axis in self.axes.items())]).encode())
        return str(digest.hexdigest()[:32])

    def key(self, values: Mapping[str, Any]) -> str:
        """What a row is known by in a journal: the same wherever and whenever the same would come out."""
        digest = self.shared.copy()
        digest.update(canonical(values).encode())
        return str(digest.hexdigest()[:32])

    @cached_property
    def shared(self) -> Any:
        """The digest of what all rows have in common."""
        file, colon, name = self.factory.rpartition(":")
        common = {
            "factory": f"{Path(file).name}:{name}" if colon and file.endswith(".py") else self.factory,
            "changes": list(self.changes),
            "inputs": self.inputs,
            "devices": [asdict(device) for device in self.devices],
            "running": [self.amp, self.fusion, self.channels_last],
            "versions": self.versions,
        }
        return hashlib.sha256(canonical(common).encode())


def space_of(given: Space | Mapping[str, Any] | str | Path, options: Mapping[str, Any] | None = None) -> Space:
    """The space of a mapping, of a TOML file, or a space itself.

    Args:
        given: keys are `factory`, `arguments`, `input`, `batch`, `resolution`, `dtype`, `device`, `amp`, `fusion`,
            `channels-last`, `sample`, `seed`, `part`, `where` and `timeout` (docs/sweeps.md).
        options: keys that come before those of `given`; arguments are added to its arguments.

    Raises:
        CostlabError: it describes none: which key, what is wrong.
    """
    if isinstance(given, Space):
        return given
    where = ""
    if isinstance(given, (str, Path)):
        where = f"{given}: "
        given = read(Path(given))
    if not isinstance(given, Mapping):
        raise CostlabError(f"a space is a mapping or a TOML file; got {type(given).__name__}")
    merged = {str(key).replace("_", "-"): value for key, value in {**given, **(options or {})}.items()}
    if options and isinstance(given.get("arguments"), Mapping):
        merged["arguments"] = {**given["arguments"], **options.get("arguments", {})}
    try:
        return checked(Document.model_validate(merged))
    except ValidationError as error:
        raise CostlabError(f"{where}{first_error(error)}") from None
    except CostlabError as error:
        raise CostlabError(f"{where}{error}") from None


def read(path: Path) -> dict[str, Any]:
    """The mapping in a TOML file; a factory or a device that is a file is found from the file's folder."""
    document, _ = configuration.read_toml(path)
    folder = path.resolve().parent
    file, colon, name = str(document.get("factory", "")).rpartition(":")
    if colon and file.endswith(".py"):
        document["factory"] = f"{folder / file}:{name}"
    devices = document.get("device", [])
    names = [devices] if isinstance(devices, str) else devices
    if isinstance(names, list):
        document["device"] = [str(folder / n) if isinstance(n, str) and n.endswith(".toml") else n for n in names]
    return document


def checked(document: Document) -> Space:
    for name in document.arguments:
        if not name.isidentifier():
            raise CostlabError(f"{name!r} is not a valid argument name")
    changes = {name: getattr(document, name) for name in INPUT_AXES if getattr(document, name) is not None}
    twice = next((name for name in changes if name in document.arguments), None)
    if twice:
        raise CostlabError(f"{twice} is both an argument and of the input: give it once")
    if document.factory.endswith((".json", ".pt2")) and ":" not in document.factory:
        raise CostlabError(f"{document.factory} is one network: a sweep takes a factory, as zoo:mobilenet_v1")
    part, parts = map(int, (document.part or "1/1").split("/"))
    if not 1 <= part <= parts:
        raise CostlabError(
            f"there is no part {document.part}: write 1/{max(parts, 1)} to {max(parts, 1)}/{max(parts, 1)}"
        )
    devices = {device.name: device for device in map(find_device, document.device)}
    if not devices and (document.amp or document.channels_last or document.fusion != "none"):
        raise CostlabError("amp, fusion and channels-last go with a prediction: name a device")
    file, colon, name = document.factory.rpartition(":")
    if colon and file.endswith(".py"):
        if not Path(file).is_file():
            raise CostlabError(f"{file} does not exist")
        file = str(Path(file).resolve())
    return Space(
        factory=f"{file}{colon}{name}",
        arguments={name: axis_of(name, value) for name, value in document.arguments.items()},
        changes={name: axis_of(name, value) for name, value in changes.items()},
        inputs=tuple(document.input),
        devices=tuple(devices.values()),
        amp=document.amp,
        fusion=document.fusion,
        channels_last=document.channels_last,
        sample=document.sample,
        seed=document.seed,
        part=(part, parts),
        where=document.where,
        timeout=document.timeout,
    )


def versions_of(factory: str) -> dict[str, str]:
    """Versions of costlab, torch and who provides the factory; of own code a digest of its file, not its imports."""
    provider, colon, name = factory.rpartition(":")
    libraries = LIBRARIES.get(provider, LIBRARIES["timm"] if not colon else ())
    found = {
        "costlab": __version__,
        **{name: version for name in ("torch", *libraries) if (version := installed(name))},
    }
    if colon and provider not in (*LIBRARIES, "zoo"):
        found["file"] = digest_of(provider)
    if provider == "hf" and Path(name).exists():
        path = Path(name)
        found["file"] = digest_of(str(path / "config.json" if path.is_dir() else path))
    return found


def installed(library: str) -> str | None:
    """The version without what it was built for: 2.13.0 of 2.13.0+cpu."""
    try:
        return importlib.metadata.version(library).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def digest_of(where: str) -> str:
    """Of the contents of a file, or of the file that a module is in; "" where there is none to be seen."""
    path: str | None = where
    if not Path(where).is_file():
        try:
            spec = importlib.util.find_spec(where)
        except (ImportError, ValueError):
            spec = None
        path = spec.origin if spec else None
    if path is None or not Path(path).is_file():
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None


def canonical(value: Any) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
