"""Profiles in the user's cache folder, for networks of a known version.

An entry is a hash and a compressed saved profile. Its name is a hash of everything that the profile depends on. If it
cannot be read, the network is traced again.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from costlab._version import __version__
from costlab.core import serialization
from costlab.core.files import atomic_write, os_error_reason
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.models.spec import ModelSpec

KEPT = 1000  # entries; beyond that the least recently used are removed
DIGEST = hashlib.sha256
SETTINGS = ("TIMM_", "TORCHVISION_", "TORCH_", "PYTORCH_")  # environment variables that change networks or kernels
LOGGING = ("TORCH_CPP_LOG_LEVEL",)  # these do not; the command line sets it
PACKAGES = ("torch", "torchvision", "timm")  # their versions determine the network of a name


class Usage(NamedTuple):
    """The size of the cache."""

    folder: Path
    entries: int
    size: int  # bytes


def folder() -> Path | None:
    """The folder of the entries; None if the user has no cache folder."""
    import platformdirs

    path = platformdirs.user_cache_path("costlab") / "profiles"
    return path if path.is_absolute() else None


def key_of(spec: ModelSpec) -> str:
    """The name of the entry for a network: a hash of everything that determines its profile."""
    facts = {
        "spec": asdict(spec),
        "packages": [installation(package) for package in PACKAGES],
        "costlab": [__version__, serialization.SCHEMA_VERSION, own_files()],
        "python": sys.version_info[:3],
        "environment": {
            name: value for name, value in os.environ.items() if name.startswith(SETTINGS) and name not in LOGGING
        },
    }
    return DIGEST(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def installation(package: str) -> list[str] | None:
    """Version and path of a package, without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return [version, str(spec.origin)]


def own_files() -> str:
    """A hash that changes with every edit of costlab itself."""
    found = []
    for where, _, files in os.walk(Path(__file__).parents[1]):
        for file in files:
            if file.endswith(".py"):
                state = os.stat(os.path.join(where, file))
                found.append((os.path.join(where, file), state.st_size, state.st_mtime_ns))
    return DIGEST(repr(sorted(found)).encode()).hexdigest()


def read(key: str) -> Profile | None:
    """The profile of a key; None if there is none, or it is damaged."""
    where = folder()
    if where is None:
        return None
    entry = where / key
    try:
        content = entry.read_bytes()
        size = DIGEST().digest_size
        if DIGEST(content[size:]).digest() != content[:size]:
            return None
        profile = Profile.from_json(zlib.decompress(content[size:]).decode())
    except (OSError, ValueError, zlib.error, CostlabError):
        return None
    with suppress(OSError):
        os.utime(entry)
    return profile


def keep(key: str, profile: Profile) -> None:
    """Save a profile under a key, if possible."""
    where = folder()
    if where is None:
        return
    content = zlib.compress(serialization.to_json(profile).encode(), 1)
    with suppress(OSError, CostlabError):
        where.mkdir(parents=True, exist_ok=True)
        with atomic_write(where / key) as file:
            file.write(DIGEST(content).digest() + content)
        oldest = sorted((age, path) for path, age, _ in entries(where))
        for _, path in oldest[:-KEPT]:
            path.unlink(missing_ok=True)


def entries(where: Path) -> Iterator[tuple[Path, int, int]]:
    """Path, time of last use and size of every file, including those of processes that died while writing."""
    with suppress(OSError), os.scandir(where) as found:
        for file in found:
            with suppress(OSError):
                state = file.stat()
                yield Path(file.path), state.st_mtime_ns, state.st_size


def usage() -> Usage | None:
    """The size of the cache; None if the user has no cache folder."""
    where = folder()
    if where is None:
        return None
    sizes = [size for _, _, size in entries(where)]
    return Usage(where, len(sizes), sum(sizes))


def clear() -> int:
    """Remove every entry, and return their number. Raises CostlabError if an entry cannot be removed."""
    where = folder()
    found = list(entries(where)) if where else []
    for path, _, _ in found:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CostlabError(f"{path} cannot be removed: {os_error_reason(error)}") from None
    return len(found)
