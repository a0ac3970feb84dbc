"""A journal: one line of JSON per finished row, append-only, so that no interruption of a sweep loses a row."""

import contextlib
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from costlab.core.files import os_error_reason
from costlab.core.validation import finite_float
from costlab.errors import CostlabError

try:
    import fcntl
except ImportError:  # Windows: journals are not locked
    fcntl = None  # type: ignore[assignment]

BEGINNING = b'{"key": "'  # of every line
LONGEST_LINE = 1 << 20  # bytes of a row
MOST_SKIPPED = 1000  # lines that are noted
SYNC_SECONDS = 1.0  # a power cut loses at most this much


class JournalEntry(NamedTuple):
    """A row in a journal."""

    offset: int  # bytes from the beginning
    line: int  # 1 is the first
    row: dict[str, Any]


class Journal:
    """An open journal. Rows are identified by their offset."""

    def __init__(self, writer: IO[bytes], reader: IO[bytes], name: str) -> None:
        self.writer = writer  # unbuffered: a buffer would keep what a full disk did not take
        self.reader = reader
        self.name = name
        self.end = 0  # of the last whole line
        self.skipped: list[int] = []  # lines that are not rows
        self.synced = time.monotonic()

    def entries(self) -> Iterator[JournalEntry]:
        """Every row, in the order of the file.

        The rest of a line torn by a crash is cut off at the end of the file; lines before it that are not rows are
        noted in `skipped`. Raises CostlabError if the file is not a journal.
        """
        self.reader.seek(0)
        start, offset, whole = 0, 0, True
        for number in itertools.count(1):
            line = self.reader.readline(LONGEST_LINE)
            if not line:
                break
            if offset == 0 and not line.startswith(BEGINNING[: len(line)]):
                raise CostlabError(f"{self.name} is not a sweep journal: remove it, or choose another file")
            start, offset, whole = offset, offset + len(line), line.endswith(b"\n")
            row = parse_line(line) if whole else None
            while not whole and (rest := self.reader.readline(LONGEST_LINE)):  # of a line that is too long
                offset, whole = offset + len(rest), rest.endswith(b"\n")
            if row is not None:
                yield JournalEntry(start, number, row)
            elif whole:
                self.skip(number)
        self.end = offset if whole else start
        if not whole:
            self.writer.truncate(self.end)
            self.reader.seek(0, os.SEEK_END)  # drop the buffer

    def skip(self, line: int) -> None:
        """Note a line that is not a row; of very many only the first."""
        if len(self.skipped) < MOST_SKIPPED:
            self.skipped.append(line)

    def append(self, lines: Sequence[str]) -> list[int]:
        """Add lines and return their offsets. Raises CostlabError if they cannot be written, and then adds none."""
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
        """Write to the disk."""
        os.fsync(self.writer.fileno())
        self.synced = time.monotonic()

    def row(self, offset: int) -> dict[str, Any]:
        """The row at an offset."""
        self.reader.seek(offset)
        row: dict[str, Any] = json.loads(self.reader.readline())
        del row["key"], row["seconds"]
        return row


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write all bytes; an unbuffered file may write fewer at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The row in a line; None if there is none."""
    try:
        row = json.loads(line, parse_float=finite_float, parse_constant=finite_float)
    except (ValueError, RecursionError):
        return None
    return row if type(row) is dict and type(row.get("key")) is str else None


@contextlib.contextmanager
def open_journal(path: Path | None) -> Iterator[Journal]:
    """The journal in a file, created if there is none; without a path a temporary one.

    The file is locked during the body and can still be read afterwards.

    Raises CostlabError if it cannot be written, or another sweep is writing to it.
    """
    try:
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix="costlab-", suffix=".jsonl")
        else:
            descriptor, name = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), str(path)
        journal = Journal(os.fdopen(descriptor, "r+b", 0), open(name, "rb"), name)  # noqa: SIM115 - read afterwards
        if path is None:
            with contextlib.suppress(OSError):  # Windows keeps open files
                os.unlink(name)
    except OSError as error:
        raise CostlabError(f"{path or 'a temporary file'} cannot be written: {os_error_reason(error)}") from None
    try:
        lock(journal)
        yield journal
    finally:
        with contextlib.suppress(OSError):
            journal.sync()
        journal.writer.close()  # releases the lock


def lock(journal: Journal) -> None:
    """Lock the file for other sweeps. Raises CostlabError if one has locked it."""
    if not fcntl:
        return
    try:
        fcntl.flock(journal.writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CostlabError(f"another sweep is writing {journal.name}: wait for it, or name another file") from None
    except OSError:  # a file system without locks
        return
