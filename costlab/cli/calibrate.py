"""`costlab calibrate`: the device profile of this machine, from small networks measured on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from costlab.errors import CostlabError


def calibrate(
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads of the CPU.", show_default="as torch has it")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What --device calls it from then on.")] = "here",
    quick: Annotated[bool, typer.Option("--quick", help="A few repeats of every fourth network, to try it.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write to FILE.toml instead of your folder of devices."),
    ] = None,
) -> None:
    """Fit a device profile to this machine, for `report --device here` and all other predictions.

    Measures about a hundred small networks for a few minutes, none of them a published one. Best on an idle machine.
    Ctrl-C fits what was measured until then.
    """
    from costlab.cli.measure import progress_bar
    from costlab.latency.devices import user_folder, write_device

    if not name.replace("-", "").replace("_", "").isalnum():
        raise CostlabError(f"a device is called by letters, digits, - and _; {name!r} is not")
    path = output or user_folder() / f"{name.lower()}.toml"
    if path.suffix != ".toml":
        raise CostlabError(f"{path}: a device file ends in .toml")
    if output is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.parent.is_dir():  # before minutes are spent
        raise CostlabError(f"{path} cannot be written: there is no folder {path.parent}")
    with progress_bar() as show:
        from costlab.measurement.calibration import calibrate as calibrated

        found = calibrated(device, threads=threads, name=path.stem, quick=quick, progress=show)
    write_device(found.device, path)
    from costlab.reports.devices import calibration

    for line in calibration(found.device, found.fitted, found.held_out, found.blocks, found.operators):
        typer.echo(line)
    typer.echo(f"written to {path}" + (" (interrupted: from fewer networks)" if found.interrupted else ""))
