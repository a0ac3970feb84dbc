"""The generated parts of docs/latency.md. Run as a program, it brings the table of parameters up to date."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from costlab.core.files import write_text
from costlab.errors import CostlabError
from costlab.formatting.table import markdown_row as row
from costlab.latency import devices
from costlab.latency.device import Device
from costlab.latency.devices import read_device
from costlab.latency.efficiency import MODES, efficiency_of
from costlab.latency.parameters import CPU, GPU, TRAINING, Parameter

PAGE = Path(__file__).parents[1] / "latency.md"
DATA = Path(devices.__file__).parent / "data"


def shipped(name: str) -> Device:
    """A device that comes with costlab, also where the user has one of that name."""
    return read_device(DATA / f"{name}.toml")


def fitted_tables() -> dict[str, dict[str, float]]:
    """Every table of efficiency that comes with costlab, by device and way of running: "rtx3090, eager"."""
    found = {}
    for device in map(read_device, sorted(DATA.glob("*.toml"))):
        for mode in MODES:
            if mode in device.efficiency:
                found[f"{device.name}, {mode}"] = dict(device.efficiency[mode])
    return found


def fingerprint(device: Device) -> str:
    """Digits that change with the numbers that predict forward passes for a device."""
    tables = {mode: {k: v for k, v in efficiency_of(device, mode).items() if k not in TRAINING} for mode in MODES}
    return sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:8]


def parameters() -> str:
    """The parameters of GPUs, of training and of CPUs: values, prior, range, unit and meaning."""
    own = {way: table for way, table in fitted_tables().items() if table}
    kinds = {"GPUs": GPU, "training on GPUs": TRAINING, "CPUs": CPU}
    return "\n\n".join(table(kind, parameters, own) for kind, parameters in kinds.items())


def table(kind: str, parameters: dict[str, Parameter], own: dict[str, dict[str, float]]) -> str:
    """The parameters of a type of device, with the numbers of the device files of that type."""
    own = {way: numbers for way, numbers in own.items() if numbers.keys() <= parameters.keys()}
    headings = [f"parameter of {kind}", "meaning", "unit", "eager", "compiled", "prior", "range", *own]
    rows = [
        row([
            f"`{name}`",
            parameter.meaning,
            parameter.unit,
            *(f"{value:.4g}" for value in (parameter.eager, parameter.compiled, parameter.prior)),
            f"{parameter.low:.4g} to {parameter.high:.4g}",
            *(f"{numbers[name]:.4g}" if name in numbers else "" for numbers in own.values()),
        ])
        for name, parameter in parameters.items()
    ]  # fmt: skip
    rules = ["---"] * 3 + ["---:"] * (len(headings) - 3)
    return "\n".join([row(headings), row(rules), *rows])


def page_with(page: str, **blocks: str) -> str:
    """The page with what stands between `<!-- NAME -->` and `<!-- /NAME -->` replaced. Raises CostlabError."""
    for name, content in blocks.items():
        opening, closing = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        if page.count(opening) != 1 or page.count(closing) != 1:
            raise CostlabError(f"the page should have one place for {name!r}: {opening.strip()} and {closing.strip()}")
        before, _, rest = page.partition(opening)
        page = before + opening + content + closing + f"\n{rest}".partition(closing)[2]
    return page


def write_page(path: Path = PAGE, **blocks: str) -> None:
    """Bring blocks of the page up to date, the table of parameters always. Raises CostlabError."""
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {error.strerror}") from None
    write_text(path, page_with(page, parameters=parameters(), **blocks))


if __name__ == "__main__":
    write_page()
