"""What a checkpoint says of its weights: the header of a safetensors or GGUF file, never its tensors."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from costlab.core.files import read_text
from costlab.errors import CostlabError

LARGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself
LARGEST_GGUF_HEADER = 256_000_000  # bytes; a vocabulary of a million words has some 30 million
MOST_TENSORS, MOST_DIMENSIONS, MOST_STRINGS = 1_000_000, 8, 4_000_000
BITS = {  # of safetensors' types
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "C64": 64,
}  # fmt: skip
GGML_TYPES = {  # number: name, elements of a block, bytes of a block (ggml.h and ggml-common.h)
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its type
GGUF_STRING, GGUF_ARRAY = 8, 9
DEEPEST_ARRAY = 4


@dataclass(frozen=True)
class Checkpoint:
    """The weights that a checkpoint holds."""

    name: str
    bytes: int  # of all tensors
    elements: int | None  # None where the file does not say
    types: dict[str, int]  # bytes by type
    matrix_bits: float | None  # of one weight of its matrices, scales included


def read_checkpoint(path: Path) -> Checkpoint:
    """The sizes of a checkpoint: a `.safetensors` or `.gguf` file, or `model.safetensors.index.json`.

    Raises CostlabError if the file is missing, of another format, or its header does not agree with itself.
    """
    if path.is_dir():
        raise CostlabError(
            f"{path} is a folder: name a .safetensors or .gguf file or model.safetensors.index.json in it"
        )
    if not path.is_file():
        raise CostlabError(f"{path} does not exist")
    try:
        if path.suffix == ".json":
            return index(path)
        with path.open("rb") as file:
            return gguf(path, file) if path.suffix == ".gguf" else safetensors(path, file)
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {error.strerror}") from None


def index(path: Path) -> Checkpoint:
    """The index of a checkpoint in several safetensors files."""
    try:
        total = json.loads(read_text(path, LARGEST_HEADER))["metadata"]["total_size"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CostlabError(f"{path} is not an index of safetensors files: it has no metadata.total_size") from None
    total = int(total) if isinstance(total, float) and total.is_integer() else total
    if type(total) is not int or not 0 <= total < 2**63:
        raise CostlabError(f"{path}: total_size is {str(total)[:40]!r}, not a number of bytes")
    return Checkpoint(path.name, total, None, {}, None)


def safetensors(path: Path, file: BinaryIO) -> Checkpoint:
    """The header of a safetensors file: its length in eight bytes, then JSON."""
    size = path.stat().st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= min(LARGEST_HEADER, size - 8):
        raise CostlabError(f"{path} is not a safetensors file: its header would be {length:,} bytes long")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise CostlabError(f"{path} is not a safetensors file: its header is not a JSON object")
    rows = [
        safetensors_row(path, name, entry, size - 8 - length)
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    return summed(path, rows)


class Row(NamedTuple):
    """A tensor of a header."""

    kind: str
    shape: tuple[int, ...]
    bytes: int
    begin: int  # of its data, after the header


def safetensors_row(path: Path, name: str, entry: Any, room: int) -> Row:
    """One tensor of a header. Raises CostlabError."""
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        sound = len(shape) <= MOST_DIMENSIONS and all(type(n) is int for n in (*shape, begin, end))
        sound = sound and all(0 <= n < 2**63 for n in shape) and 0 <= begin <= end <= room
        sound = sound and prod(shape) * BITS[kind] == 8 * (end - begin)
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise CostlabError(f"{path}: the header's entry for {name[:80]!r} is broken or lies outside the file")
    return Row(kind, tuple(shape), end - begin, begin)


class Header:
    """A file of which no more than a header is read."""

    def __init__(self, path: Path, file: BinaryIO, limit: int) -> None:
        self.path, self.file, self.limit = path, file, limit

    def number(self, form: str) -> int:
        """The next number, as `struct` writes its type."""
        count = struct.calcsize(form)
        self._room(count)
        value: int = struct.unpack(form, self.file.read(count))[0]
        return value

    def skip(self, count: int) -> None:
        """Move on by so many bytes."""
        self._room(count)
        self.file.seek(count, 1)

    def skip_string(self) -> None:
        """Move behind a string: its length, then its bytes."""
        self.skip(self.number("<Q"))

    def broken(self, why: str) -> CostlabError:
        """The error of a file that is not what it should be."""
        return CostlabError(f"{self.path} is not a readable GGUF file: {why}")

    def _room(self, count: int) -> None:
        if self.file.tell() + count > self.limit:
            raise self.broken(f"its header ends beyond {self.limit:,} bytes")


def gguf(path: Path, file: BinaryIO) -> Checkpoint:
    """The header of a GGUF file, version 2 or 3: metadata, then the tensors' names, shapes and types."""
    size = path.stat().st_size
    header = Header(path, file, min(size, LARGEST_GGUF_HEADER))
    if file.read(4) != b"GGUF":
        raise header.broken("it does not begin with GGUF")
    version, tensors, entries = header.number("<I"), header.number("<Q"), header.number("<Q")
    if version not in (2, 3) or max(tensors, entries) > MOST_TENSORS:
        raise header.broken(f"version {version}, {tensors:,} tensors, {entries:,} entries")
    for _ in range(entries):
        header.skip_string()
        skip_value(header, header.number("<I"))
    rows = [gguf_row(header) for _ in range(tensors)]
    if max((row.begin + row.bytes for row in rows), default=0) > size - file.tell():
        raise header.broken(f"its tensors end beyond the {size:,} bytes of the file")
    return summed(path, rows)


def skip_value(header: Header, kind: int, depth: int = 0) -> None:
    """Move behind one value of the metadata. Raises CostlabError."""
    if kind in GGUF_SIZES:
        header.skip(GGUF_SIZES[kind])
    elif kind == GGUF_STRING:
        header.skip_string()
    elif kind == GGUF_ARRAY and depth < DEEPEST_ARRAY:
        inner, count = header.number("<I"), header.number("<Q")
        if inner in GGUF_SIZES:
            header.skip(GGUF_SIZES[inner] * count)
            return
        if count > MOST_STRINGS:
            raise header.broken(f"an array of {count:,} members")
        for _ in range(count):
            skip_value(header, inner, depth + 1)
    else:
        raise header.broken(f"it has a value of the unknown type {kind}")


def gguf_row(header: Header) -> Row:
    """Type, shape and bytes of one tensor of a GGUF header. Raises CostlabError."""
    header.skip_string()
    dimensions = header.number("<I")
    if dimensions > MOST_DIMENSIONS:
        raise header.broken(f"a tensor of {dimensions:,} dimensions")
    shape = tuple(header.number("<Q") for _ in range(dimensions))
    kind, begin = header.number("<I"), header.number("<Q")
    if kind not in GGML_TYPES:
        raise header.broken(f"a tensor has the unknown type {kind}")
    name, block, size = GGML_TYPES[kind]
    return Row(name, shape, -(-prod(shape) // block) * size, begin)


def summed(path: Path, rows: Sequence[Row]) -> Checkpoint:
    """The sizes of all tensors together. Raises CostlabError if two of them share data."""
    placed = sorted((row.begin, row.begin + row.bytes) for row in rows if row.bytes)
    if any(begin < end for (_, end), (begin, _) in pairwise(placed)):
        raise CostlabError(f"{path}: the header places two tensors over each other")
    types: dict[str, int] = {}
    for row in rows:
        types[row.kind] = types.get(row.kind, 0) + row.bytes
    matrices = [row for row in rows if len(row.shape) > 1]
    elements = sum(prod(row.shape) for row in matrices)
    bits = 8 * sum(row.bytes for row in matrices) / elements if elements else None
    total = sum(row.bytes for row in rows)
    return Checkpoint(path.name, total, sum(prod(row.shape) for row in rows), types, bits)
