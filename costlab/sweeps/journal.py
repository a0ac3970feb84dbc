"""A journal: a line of JSON for every finished row, only ever added to, so that whatever stops a sweep loses none."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from costlab.core.files import os_error_reason
from costlab.errors import CostlabError

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two sweeps apart
    fcntl = None  # type: ignore[assignment]

BEGINNING = b'{"key": "'  # of every line
SYNC_SECONDS = 1.0  # a power cut loses no more


class Entry(NamedTuple):
    """A row in a journal."""

    offset: int  # bytes from the beginning
    key: str
    failed: bool


class Journal:
    """An open journal. Rows are found again by their offset."""

    def __init__(self, writer: IO[bytes], reader: IO[bytes], name: str) -> None:
        self.writer = writer  # without a buffer, which would keep what a full disk did not take
        self.reader = reader
        self.name = name
        self.end = 0  # of the last whole line
        self.synced = time.monotonic()

    def entries(self) -> Iterator[Entry]:
        """Every row, in the order of the file; what a crash left of a last line is cut off.

        Raises:
            CostlabError: the file is not a journal.
        """
        self.reader.seek(0)
        offset, torn = 0, None
        for number, line in enumerate(self.reader, 1):
            if offset == 0 and not line.startswith(BEGINNING[: len(line)]):
                raise CostlabError(f"{self.name} is not a sweep journal: remove it, or choose another file")
            entry = entry_of(line)
            if entry is None:
                torn = torn or (number, offset)
            elif torn:
                raise CostlabError(f"{self.name} is not a sweep journal: line {torn[0]} is not a row")
            else:
                yield Entry(offset, *entry)
            offset += len(line)
        self.end = torn[1] if torn else offset
        if torn:
            self.writer.truncate(self.end)
            self.reader.seek(0, os.SEEK_END)  # forget what was read

    def append(self, lines: Sequence[str]) -> list[int]:
        """Add whole lines; where each begins. Raises CostlabError where they cannot be written, and leaves none."""
        encoded = [line.encode() for line in lines]
        offsets, end = [], self.end
        for line in encoded:
            offsets.append(end)
            end += len(line)
        try:
            self.writer.seek(self.end)
            write_all(self.writer, b"".join(encoded))
            if time.monotonic() - self.synced > SYNC_SECONDS:
                self.sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                self.writer.truncate(self.end)
            raise CostlabError(
                f"{self.name} cannot be written: {os_error_reason(error)}; its rows are safe, and the same command"
                " continues from there"
            ) from None
        self.end = end
        return offsets

    def sync(self) -> None:
        os.fsync(self.writer.fileno())
        self.synced = time.monotonic()

    def row(self, offset: int) -> dict[str, Any]:
        """The row at an offset."""
        self.reader.seek(offset)
        row: dict[str, Any] = json.loads(self.reader.readline())
        del row["key"], row["seconds"]
        return row


def write_all(file: IO[bytes], data: bytes) -> None:
    """Files without a buffer may write less than they are given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def entry_of(line: bytes) -> tuple[str, bool] | None:
    """Key and failure of a line; None if it is not a row."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
        return row["key"], row["error"] is not None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[Journal]:
    """The journal in a file, made where there is none; without a path one that is gone with the program.

    The file is locked for the time of the body, and can be read from afterwards.

    Raises:
        CostlabError: it cannot be written, or another sweep writes to it.
    """
    try:
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix="costlab-", suffix=".jsonl")
        else:
            descriptor, name = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), str(path)
        journal = Journal(os.fdopen(descriptor, "r+b", 0), open(name, "rb"), name)  # noqa: SIM115 - read afterwards
        if path is None:
            with contextlib.suppress(OSError):  # Windows keeps what is open
                os.unlink(name)
    except OSError as error:
        raise CostlabError(f"{path or 'a temporary file'} cannot be written: {os_error_reason(error)}") from None
    try:
        locked(journal)
        yield journal
    finally:
        with contextlib.suppress(OSError):
            journal.sync()
        journal.writer.close()  # and with it the lock


def locked(journal: Journal) -> None:
    """Keep others from writing. Raises CostlabError where another one does."""
    if not fcntl:
        return
    try:
        fcntl.flock(journal.writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CostlabError(f"another sweep is writing {journal.name}: wait for it, or name another file") from None
    except OSError:  # a file system without locks
        return
