"""A design space: a factory, the values of its arguments, and what to compute for each network."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from costlab.ci import configuration
from costlab.ci.configuration import TomlTable, first_error
from costlab.core.graph import Fusion, Mode
from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.sweeps.axes import Axis, parse_axis
from costlab.sweeps.versions import versions_of
from costlab.tracing.step.options import check_options

ROUNDS = 8


def shuffled(position: int, size: int, seed: int) -> int:
    """The number at a position of the permutation of 0 ... size - 1 given by `seed`.

    A sample is a prefix of it, so a larger sample contains every smaller one. A Feistel network permutes the numbers of
    as many bits; a result beyond the size is permuted again, fewer than four times on average (cycle walking: Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    while True:
        left, right = position >> half, position & ((1 << half) - 1)
        for turn in range(ROUNDS):
            left, right = right, left ^ scrambled(right, turn, half, seed)
        position = left << half | right
        if position < size:
            return position


def scrambled(value: int, turn: int, bits: int, seed: int) -> int:
    """Pseudo-random bits that depend on all arguments."""
    width = (bits + 7) // 8
    text = f"{seed}:{turn}:{value}".encode()
    return int.from_bytes(blake2b(text, digest_size=min(width, 64)).digest(), "big") & ((1 << bits) - 1)


INPUT_AXES = ("batch", "resolution", "dtype")  # change the inputs, like the options of these names
LARGEST = 100_000_000  # networks of a sweep
TIMEOUT = 300.0  # seconds per network

Names = Annotated[list[str], BeforeValidator(lambda names: [names] if isinstance(names, str) else names)]


class SpaceDocument(TomlTable):
    """A space as a TOML file or a mapping describes it."""

    factory: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)
    input: Names = Field(default_factory=list)
    batch: Any = None
    resolution: Any = None
    dtype: Any = None
    mode: Mode = "eval"
    training: dict[str, Any] = Field(default_factory=dict)
    device: Names = Field(default_factory=list)
    amp: bool = False
    fusion: Fusion = "none"
    channels_last: bool = False
    sample: int | None = Field(None, ge=1)
    seed: int = 0
    part: str | None = Field(None, pattern=r"^\d{1,9}/\d{1,9}$")
    where: str | None = None
    timeout: float = Field(TIMEOUT, gt=0, le=1e6)


@dataclass(frozen=True)
class Space:
    """Networks in the order of the axes, the last of which changes fastest, or in that of a sample."""

    factory: str
    arguments: Mapping[str, Axis]
    changes: Mapping[str, Axis]  # of the inputs: batch, resolution, dtype
    inputs: tuple[str, ...] = ()
    mode: Mode = "eval"
    training: Mapping[str, Any] = field(default_factory=dict)  # options of a training step, as in `ModelSpec`
    devices: tuple[Device, ...] = ()
    amp: bool = False
    fusion: str = "none"
    channels_last: bool = False
    sample: int | None = None
    seed: int = 0
    part: tuple[int, int] = (1, 1)  # (1, 3): the first of three equal parts
    where: str | None = None  # which rows are kept
    timeout: float = TIMEOUT

    def __getstate__(self) -> dict[str, Any]:
        """The fields without cached properties: a digest cannot be pickled."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def axes(self) -> dict[str, Axis]:
        """All axes, by name."""
        return {**self.arguments, **self.changes}

    @property
    def size(self) -> int:
        """The number of networks without sample and part."""
        return prod(map(len, self.axes.values()))

    def __len__(self) -> int:
        return len(self.range)

    @cached_property
    def range(self) -> range:
        """The positions of this part in the whole."""
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
        """The versions of libraries and the digest of the user's file."""
        return versions_of(self.factory)

    @cached_property
    def digest(self) -> str:
        """A name for the space, or for a part of it."""
        return self.digest_with([self.part, *([name, repr(axis)] for name, axis in self.axes.items())])

    def key(self, values: Mapping[str, Any]) -> str:
        """The key of a row in a journal: equal wherever and whenever the row would be the same."""
        return self.digest_with(values)

    def digest_with(self, data: Any) -> str:
        """A digest of what all rows have in common and of plain data."""
        digest = self.shared_digest.copy()
        digest.update(canonical(data).encode())
        return str(digest.hexdigest()[:32])

    @cached_property
    def shared_digest(self) -> Any:
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
        if self.mode != "eval":
            loss = self.training.get("loss")
            common["training"] = [self.mode, dict(self.training), versions_of(loss) if loss else {}]
        return hashlib.sha256(canonical(common).encode())


def space_of(source: Space | Mapping[str, Any] | str | Path, options: Mapping[str, Any] | None = None) -> Space:
    """The space described by a mapping or a TOML file, or the space itself.

    Args:
        source: its keys are `factory`, `arguments`, `input`, `batch`, `resolution`, `dtype`, `mode`, `training`,
            `device`, `amp`, `fusion`, `channels-last`, `sample`, `seed`, `part`, `where` and `timeout`
            (docs/sweeps.md).
        options: keys that override those of `source`; arguments are added to its arguments.

    Raises:
        CostlabError: it is not a valid space; the message names the key and what is wrong.
    """
    if isinstance(source, Space):
        return source
    prefix = ""
    if isinstance(source, (str, Path)):
        prefix = f"{source}: "
        source = read_document(Path(source))
    if not isinstance(source, Mapping):
        example = "{'factory': 'nets.py:build', 'arguments': {'width': [16, 32]}}"
        raise CostlabError(f"a space is a TOML file or a mapping such as {example}; got {type(source).__name__}")
    if callable(source.get("factory")):
        raise CostlabError("factory: name it, as in 'nets.py:build', so that other processes can import it")
    merged = {str(key).replace("_", "-"): value for key, value in {**source, **(options or {})}.items()}
    for name in ("arguments", "training"):
        if options and isinstance(source.get(name), Mapping):
            merged[name] = {**source[name], **options.get(name, {})}
    try:
        return build_space(SpaceDocument.model_validate(merged))
    except ValidationError as error:
        raise CostlabError(f"{prefix}{first_error(error)}") from None
    except CostlabError as error:
        raise CostlabError(f"{prefix}{error}") from None


def read_document(path: Path) -> dict[str, Any]:
    """The mapping in a TOML file; files of factory and devices are relative to its folder."""
    document, _ = configuration.read_toml(path)
    folder = path.resolve().parent
    for table, key in ((document, "factory"), (document.get("training"), "loss")):
        if isinstance(table, dict):
            file, colon, name = str(table.get(key, "")).rpartition(":")
            if colon and file.endswith(".py"):
                table[key] = f"{folder / file}:{name}"
    devices = document.get("device", [])
    names = [devices] if isinstance(devices, str) else devices
    if isinstance(names, list):
        document["device"] = [str(folder / n) if isinstance(n, str) and n.endswith(".toml") else n for n in names]
    return document


def build_space(document: SpaceDocument) -> Space:
    """The space of a document. Raises CostlabError."""
    for name in document.arguments:
        if not name.isidentifier():
            raise CostlabError(f"{name!r} is not a valid argument name")
    changes = {name: getattr(document, name) for name in INPUT_AXES if getattr(document, name) is not None}
    twice = next((name for name in changes if name in document.arguments), None)
    if twice:
        raise CostlabError(f"{twice} is both an argument and an input axis: give it once")
    if document.factory.endswith((".json", ".pt2")) and ":" not in document.factory:
        raise CostlabError(f"{document.factory} is one network: a sweep takes a factory, such as zoo:mobilenet_v1")
    part, parts = map(int, (document.part or "1/1").split("/"))
    if not 1 <= part <= parts:
        last = max(parts, 1)
        raise CostlabError(f"part {document.part} does not exist: write 1/{last} to {last}/{last}")
    devices = {device.name: device for device in map(find_device, document.device)}
    traced_amp = document.amp and document.mode == "step"
    if not devices and ((document.amp and not traced_amp) or document.channels_last or document.fusion != "none"):
        raise CostlabError("amp, fusion and channels-last need a prediction: name a device")
    if document.training and document.mode != "step":
        raise CostlabError('training needs mode = "step"')
    check_options(document.training)
    training = {**document.training, **({"amp": True} if traced_amp else {})}
    file, colon, name = document.factory.rpartition(":")
    if colon and file.endswith(".py"):
        if not Path(file).is_file():
            raise CostlabError(f"{file} does not exist")
        file = str(Path(file).resolve())
    options = ("mode", "fusion", "channels_last", "sample", "seed", "where", "timeout")
    space = Space(
        factory=f"{file}{colon}{name}",
        arguments={name: parse_axis(name, values) for name, values in document.arguments.items()},
        changes={name: parse_axis(name, values) for name, values in changes.items()},
        inputs=tuple(document.input),
        training=training,
        devices=tuple(devices.values()),
        amp=document.amp and not traced_amp,
        part=(part, parts),
        **{option: getattr(document, option) for option in options},
    )
    if space.range.stop - space.range.start > LARGEST:
        raise CostlabError(f"more than {LARGEST:,} networks: take a sample, or one of more parts")
    return space


def canonical(value: Any) -> str:
    """JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
