"""The zip of a `.pt2` file: read member by member, without a torch loader and without unpickling anything.

The layout is that of `torch/csrc/export/pt2_archive_constants.h` (torch 2.11 to 2.14). A zip can be written so that two
readers see different members. This one accepts only a zip that leaves no choice: one central directory at the very end,
local headers that agree with it, and no byte that belongs to no member.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from costlab.errors import CostlabError

JSON_LIMIT = 64 << 20  # bytes of one JSON member, unpacked
DIRECTORY_LIMIT = 32 << 20  # bytes of the central directory: some 300,000 members
RATIO_LIMIT = 200  # unpacked by packed bytes

NAME = r"[A-Za-z0-9_.-]{1,200}"
KNOWN = re.compile(
    rf"archive_format|archive_version|byteorder|version|\.format_version|\.storage_alignment|\.data/{NAME}"
    rf"|models/{NAME}\.json|data/sample_inputs/{NAME}\.pt|extra/[\x20-\x7e]{{1,400}}"
    rf"|data/weights/({NAME}_weights_config\.json|weight_\d{{1,9}})"
    rf"|data/constants/({NAME}_constants_config\.json|tensor_\d{{1,9}})"
)
REFUSED = {
    r"data/aotinductor/.*|.*\.so": "compiled code",
    r"data/constants/(custom|opaque)_obj_.*": "a pickled object",
    r"data/(weights|constants)/.*\.pt": "pickled weights",
    r"serialized_.*": "a program of torch 2.7 or older; load it in torch and save it again with torch.export.save",
    r".*\.pkl": "a pickle, which can run any code",
}

END, END64, LOCATOR64 = (struct.Struct(f"<{form}") for form in ("4s4H2LH", "4sQ2H2L4Q", "4sLQL"))
ENTRY, LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
STORED, DEFLATED = 0, 8
ENCRYPTED = 0x2041  # flags: encrypted in any way
DESCRIPTORS = {16: struct.Struct("<4sLLL"), 24: struct.Struct("<4sLQQ")}


class Member(NamedTuple):
    """A member of the archive."""

    name: str
    method: int  # STORED or DEFLATED
    packed: int  # bytes in the archive
    size: int  # bytes once unpacked
    header: int  # offset of its local header
    crc: int


class Archive:
    """The members of a `.pt2` file by their name below the archive's one folder; use as a context manager.

    Raises:
        CostlabError: the file is not a zip, is ambiguous, or holds anything but the known parts of a program.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("rb")
        try:
            self.members = self._members()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str, limit: int = JSON_LIMIT) -> bytes:
        """The content of a member of at most `limit` bytes. Raises CostlabError."""
        member = self.members.get(name)
        if member is None:
            raise self.error(f"is incomplete: {name} is missing")
        if member.size > limit:
            raise self.error(f"is too large: {name} has {member.size:,} bytes, the limit is {limit:,}")
        if member.size > RATIO_LIMIT * max(member.packed, 1024):
            raise self.error(f"is refused: {name} unpacks to {member.size // max(member.packed, 1):,} times its size")
        content = self._at(self._data_offset(member), member.packed)
        if member.method == DEFLATED:
            stream = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                content = stream.decompress(content, member.size + 1)
            except zlib.error as error:
                raise self.error(f"is corrupt: {name}: {error}") from None
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise self.error(f"is corrupt: the content of {name} does not match its checksum")
        return content

    def error(self, what: str) -> CostlabError:
        """An error about this file."""
        return CostlabError(f"{self.path} {what}")

    def _members(self) -> Mapping[str, Member]:
        start, end = self._directory()
        members = list(self._entries(self._at(start, end - start)))
        members.sort(key=lambda member: member.header)
        position = 0
        for member in members:
            position = self._end_of(member, position)
        if position != start:
            raise self.error("is refused: bytes before the central directory belong to no member")
        root = members[0].name.partition("/")[0] if members else ""
        found: dict[str, tuple[str, Member]] = {}
        for member in members:
            folder, _, name = member.name.partition("/")
            if folder != root:
                raise self.error(f"is refused: {member.name[:80]!r} is outside the folder {root[:80]!r}")
            self._check_name(name)
            found[name.lower()] = name, member
        if len(found) != len(members):
            raise self.error("is refused: it names a member twice")
        return dict(found.values())

    def _check_name(self, name: str) -> None:
        for pattern, what in REFUSED.items():
            if re.fullmatch(pattern, name, re.IGNORECASE):
                raise self.error(f"is refused: it holds {what} ({name})")
        if not KNOWN.fullmatch(name):
            raise self.error(f"is refused: {name[:80]!r} is not a known part of a torch.export program")

    def _directory(self) -> tuple[int, int]:
        """Offsets of the first byte of the central directory, and of the byte after it."""
        size = self._file.seek(0, 2)
        tail = max(size - END.size, 0)
        signature, disk, first_disk, here, entries, length, start, comment = END.unpack(self._at(tail, END.size))
        if signature != b"PK\5\6" or disk or first_disk or here != entries or comment:
            raise self.error("is not a torch.export program: it is not a zip with its directory at the end")
        end = tail
        locator = self._at(tail - LOCATOR64.size, LOCATOR64.size) if tail >= LOCATOR64.size else b""
        if locator.startswith(b"PK\6\7"):
            _, _, end, _ = LOCATOR64.unpack(locator)
            if end + END64.size + LOCATOR64.size != tail:
                raise self.error("is refused: its zip64 directory is not where it should be")
            signature, rest, _, _, disk, first_disk, here, entries, length, start = END64.unpack(
                self._at(end, END64.size)
            )
            if signature != b"PK\6\6" or rest != END64.size - 12 or disk or first_disk or here != entries:
                raise self.error("is corrupt: its zip64 directory")
        if start + length != end or length > DIRECTORY_LIMIT:
            raise self.error("is refused: its central directory has the wrong size or place")
        return start, end

    def _entries(self, directory: bytes) -> Iterator[Member]:
        position = 0
        while position < len(directory):
            if len(directory) - position < ENTRY.size:
                raise self.error("is corrupt: its central directory ends in the middle of an entry")
            fields = ENTRY.unpack_from(directory, position)
            signature, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size = fields[:13]
            header = fields[16]
            position += ENTRY.size
            name = directory[position : position + name_size]
            extra = directory[position + name_size : position + name_size + extra_size]
            position += name_size + extra_size + comment_size
            known = signature == b"PK\1\2" and not flags & ENCRYPTED and method in (STORED, DEFLATED)
            if not known or position > len(directory):
                raise self.error("is corrupt or encrypted: an entry of its central directory")
            size, packed, header = self._wide(extra, size, packed, header)
            if method == STORED and size != packed:
                raise self.error("is corrupt: a stored member has two sizes")
            try:
                yield Member(name.decode(), method, packed, size, header, crc)
            except UnicodeDecodeError:
                raise self.error(f"is refused: {name[:80]!r} is not a known part of a torch.export program") from None

    def _wide(self, extra: bytes, *numbers: int) -> list[int]:
        """Sizes and offset of an entry, those that do not fit 32 bits taken from its zip64 field."""
        wide = b""
        position = 0
        while position + 4 <= len(extra):
            tag, length = struct.unpack_from("<HH", extra, position)
            if tag == 1:
                wide = extra[position + 4 : position + 4 + length]
            position += 4 + length
        result = []
        for number in numbers:
            if number == 0xFFFFFFFF:
                if len(wide) < 8:
                    raise self.error("is corrupt: a zip64 field is missing")
                number, wide = int.from_bytes(wide[:8], "little"), wide[8:]
            result.append(number)
        return result

    def _end_of(self, member: Member, start: int) -> int:
        """The offset of the byte after a member, which must begin at `start`."""
        if member.header != start:
            raise self.error(f"is refused: {member.name[:80]!r} overlaps another member or leaves a gap before it")
        end = self._data_offset(member) + member.packed
        for length, form in DESCRIPTORS.items():
            descriptor = self._at(end, length)
            if form.unpack(descriptor) == (b"PK\7\x08", member.crc, member.packed, member.size):
                return end + length
        return end

    def _data_offset(self, member: Member) -> int:
        """Where the content of a member begins, once its local header is seen to agree with the directory."""
        fields = LOCAL.unpack(self._at(member.header, LOCAL.size))
        signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = fields
        name = self._at(member.header + LOCAL.size, name_size)
        sizes = {(member.packed, member.size, member.crc), (0xFFFFFFFF, 0xFFFFFFFF, member.crc)}
        if flags & 8:  # the descriptor after the content holds them
            sizes.add((0, 0, 0))
        if signature != b"PK\3\4" or name != member.name.encode() or method != member.method:
            raise self.error(f"is refused: the header of {member.name[:80]!r} contradicts the central directory")
        if (packed, size, crc) not in sizes:
            raise self.error(f"is refused: the sizes of {member.name[:80]!r} contradict the central directory")
        return member.header + LOCAL.size + name_size + extra_size

    def _at(self, offset: int, size: int) -> bytes:
        if offset >= 1 << 62:
            raise self.error("is corrupt: it ends too early")
        self._file.seek(offset)
        content = self._file.read(size)
        if len(content) != size:
            raise self.error("is corrupt: it ends too early")
        return content
