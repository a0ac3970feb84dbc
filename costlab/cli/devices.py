"""`costlab devices`: the devices that latency can be predicted for; `costlab devices show NAME`: one in full."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from costlab.cli.options import Format, Output, argument
from costlab.cli.screen import console_for, drawn, put, render
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.latency.device import Device


def devices(
    show: Annotated[list[str] | None, argument("A name, or the path of a .toml file.", "[show NAME...]")] = None,
    form: Format = "text",
    output: Output = None,
) -> None:
    """List devices and their peaks, or show every number of one and its source."""
    from costlab.latency.devices import find_device

    if not show:
        list_all(form, output)
        return
    verb, *names = show
    if verb != "show" or not names:
        asked = " ".join(names if verb == "show" else show) or "NAME"
        raise CostlabError(f"`costlab devices` lists devices; to see one in full, type `costlab devices show {asked}`")
    put(rendered([find_device(name) for name in names], form, output, in_full=True), output)


def list_all(form: str, output: Path | None) -> None:
    """List all devices; a file that cannot be read is reported after the others."""
    from costlab.latency.devices import find_device, list_devices

    chosen, errors = [], []
    for name in list_devices():
        try:
            chosen.append(find_device(name))
        except CostlabError as error:
            errors.append(error)
    put(rendered(chosen, form, output, in_full=False), output)
    if errors:
        raise errors[0]


def rendered(chosen: Sequence[Device], form: str, output: Path | None, in_full: bool) -> str:
    """Devices in one of the formats."""
    from costlab.reports import devices as report

    if form == "text" and in_full:
        console = console_for(output)
        return "\n".join(
            drawn(console, report.page(device, console.width, console.options.ascii_only)) for device in chosen
        )
    return render(
        form,
        output,
        text=lambda width, ascii_only: report.text(chosen, width, ascii_only),
        json=lambda: report.document(chosen),
        markdown=lambda: "\n".join(map(report.markdown_page, chosen)) if in_full else report.markdown(chosen),
    )
