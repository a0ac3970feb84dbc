"""What a row depends on in addition to its arguments: versions of libraries, and the factory's file."""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from costlab._version import __version__
from costlab.core.files import os_error_reason
from costlab.errors import CostlabError

LIBRARIES = {"torchvision": ("torchvision",), "timm": ("timm", "torchvision"), "hf": ("transformers",)}
FILE = "file"  # the key of the digest of the user's own file


def versions_of(factory: str) -> dict[str, str]:
    """Versions of costlab, torch and the factory's provider; for own code a digest of its file, not its imports."""
    provider, colon, name = factory.rpartition(":")
    libraries = LIBRARIES.get(provider, LIBRARIES["timm"] if not colon else ())
    versions = {name: version for name in ("torch", *libraries) if (version := installed_version(name))}
    versions = {"costlab": __version__, **versions}
    if colon and provider not in (*LIBRARIES, "zoo"):
        versions[FILE] = digest_of(provider)
    if provider == "hf" and Path(name).exists():
        path = Path(name)
        versions[FILE] = digest_of(str(path / "config.json" if path.is_dir() else path))
    return versions


def installed_version(library: str) -> str | None:
    """The version without its build: 2.13.0 for 2.13.0+cpu; None if it is not installed."""
    try:
        return importlib.metadata.version(library).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def digest_of(location: str) -> str:
    """A digest of a file, or of the file of a module; "" if there is none. Raises CostlabError if it is unreadable."""
    path: str | None = location
    if not Path(location).is_file():
        try:
            spec = importlib.util.find_spec(location)
        except (ImportError, ValueError):
            spec = None
        path = spec.origin if spec else None
    if path is None or not Path(path).is_file():
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
