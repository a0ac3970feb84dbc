"""Reading profiles from files, and writing files atomically."""

import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from costlab.core.profile import Profile
from costlab.errors import CostlabError

PROFILE_LIMIT = 512 << 20  # bytes of a saved profile: some 500,000 operators


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file, of which no more than `limit` bytes are ever read.

    Raises CostlabError if the file cannot be read or is larger; the message names it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # a null character in a path is a ValueError
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
    if len(content) > limit:
        raise CostlabError(f"{path} is too large: more than {limit:,} bytes")
    return content


def read_text(path: Path, limit: int, *, encoding: str = "utf-8", longest_line: int | None = None) -> str:
    """The text of a file of at most `limit` bytes. Raises CostlabError; the message names the file.

    Lines have at most `longest_line` characters: a dotted key of TOML is one line, and takes memory by its square.
    """
    try:
        text = io.TextIOWrapper(io.BytesIO(read_bytes(path, limit)), encoding=encoding).read()
    except UnicodeDecodeError as error:
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
    if longest_line is not None and max(map(len, text.splitlines()), default=0) > longest_line:
        raise CostlabError(f"{path} has a line of more than {longest_line:,} characters")
    return text


def read_profile(path: Path) -> Profile:
    """The profile saved in a file.

    Raises CostlabError if the file cannot be read or holds no profile; the message names the file.
    """
    text = read_text(path, PROFILE_LIMIT)
    try:
        return Profile.from_json(text)
    except CostlabError as error:
        raise CostlabError(f"{path}: {error}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file as `atomic_write` does."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces `path` when the body ends; if the body fails, `path` keeps its old content.

    Raises CostlabError if the file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    temporary = path.with_name(f".costlab-{secrets.token_hex(8)}")
    try:
        if path.exists() and not path.is_file():  # a pipe or device cannot be replaced; a folder fails here
            with path.open("wb") as file:
                yield file
            return
        try:
            with temporary.open("xb") as file:
                yield file
            if path.exists():
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CostlabError(f"{path} cannot be written: {os_error_reason(error)}") from None


def os_error_reason(error: OSError | ValueError) -> str:
    """Why a file could not be opened, read or decoded, in a few words."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, ValueError):
        return "its name contains a null character"
    return (error.strerror or str(error)).lower()
