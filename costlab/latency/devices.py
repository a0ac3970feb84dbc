"""Devices: the peaks that makers publish, from files in which every number has its source (docs/devices.md)."""

import os
from importlib.resources import files
from pathlib import Path

from costlab.core.files import read_bytes, write_text
from costlab.errors import CostlabError
from costlab.latency.device import Device, nearest

LARGEST = 100_000  # maximum bytes of a device file


def user_folder() -> Path:
    """The folder of the user's own devices, each a file NAME.toml."""
    from platformdirs import user_config_path

    return user_config_path("costlab") / "devices"


def device_files() -> dict[str, Path]:
    """The file of every named device, by lower-case name; the user's files take precedence."""
    built_in = Path(str(files("costlab.latency"))) / "data"
    found = {path.stem.lower(): path for folder in (built_in, user_folder()) for path in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def list_devices() -> list[str]:
    """The names of all devices: costlab's and those in the user's folder."""
    return list(device_files())


def find_device(name: str | Path) -> Device:
    """Find a device by name (case-insensitive) or by the path of a `.toml` file.

    Raises:
        CostlabError: unknown device, or an invalid file.
    """
    if str(name).endswith(".toml"):
        return read_device(name)
    found = device_files()
    path = found.get(str(name).lower())
    if path is None:
        raise CostlabError(
            f"no device {str(name)!r}{nearest(str(name).lower(), found)}; `costlab devices` lists them;"
            " or give the path of a .toml file"
        )
    return read_device(path)


def read_device(path: str | Path) -> Device:
    """Read a device file; the device takes the name of the file.

    Raises CostlabError if the file cannot be read, or a key is invalid; the message says which and why.
    """
    from costlab.latency.device_format import parsed

    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise CostlabError(f"{path} is not a file")
    content = read_bytes(path, LARGEST)
    try:
        return parsed(content, path.stem)
    except CostlabError as error:
        raise CostlabError(f"{path}: {error}") from None


def write_device(device: Device, path: str | Path) -> None:
    """Write a device file that `read_device` reads back as an equal device, if the file has the device's name.

    Raises CostlabError if the file cannot be written, or the device is invalid.
    """
    from costlab.latency.device_format import parsed, text

    content = text(device)
    parsed(content.encode("utf-8"), device.name)
    write_text(Path(path), content)
