"""`costlab devices`: the devices that latency can be predicted for; `costlab devices show NAME`: one in full."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.screen import console_for, drawn, put
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.latency.devices import Device


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def devices(
    show: Annotated[
        list[str] | None,
        typer.Argument(metavar="[show NAME...]", help="A name, or a path that ends in .toml.", show_default=False),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
) -> None:
    """List devices and their peaks, or show every number of one and where it is from."""
    from costlab.latency.devices import find_device

    if not show:
        listing(form, output)
        return
    verb, *names = show
    if verb != "show" or not names:
        asked = " ".join(names if verb == "show" else show) or "NAME"
        raise CostlabError(
            f"`costlab devices` lists devices, `costlab devices show {asked}` shows what is known of one"
        )
    chosen = [find_device(name) for name in names]
    put(rendered(chosen, form, output, in_full=True), output)


def listing(form: Format, output: Path | None) -> None:
    """All devices; one whose file cannot be read keeps none of the others from being listed."""
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


def rendered(chosen: Sequence[Device], form: Format, output: Path | None, in_full: bool) -> str:
    """Devices in one of the formats."""
    from costlab.reports import devices as report

    if form is Format.JSON:
        return report.document(chosen)
    if form is Format.MARKDOWN:
        return "\n".join(map(report.markdown_page, chosen)) if in_full else report.markdown(chosen)
    console = console_for(output)
    if in_full:
        return "\n".join(drawn(console, report.page(device)) for device in chosen)
    return drawn(console, report.text(chosen, console.width, console.options.ascii_only))
