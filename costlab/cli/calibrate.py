"""`costlab calibrate`: the device profile of this machine, from small networks measured on it."""

from pathlib import Path
from typing import Annotated

import typer

from costlab.cli.options import RunOn, Threads, flag, option
from costlab.cli.screen import check_folder, measuring
from costlab.errors import CostlabError


def calibrate(
    device: RunOn = "cpu",
    threads: Threads = None,
    name: Annotated[str, option("Name the device, for --device.", "NAME")] = "here",
    quick: Annotated[bool, flag("--quick", "Measure only every fourth network, briefly.")] = False,
    force: Annotated[bool, flag("--force", "Write the profile even if it predicts badly.")] = False,
    output: Annotated[
        Path | None, option("Write to FILE.toml instead of your folder of devices.", "FILE", "-o", "--output")
    ] = None,
) -> None:
    """Fit a device profile to this machine, for `report --device here` and all other predictions.

    Measures about a hundred small networks for a few minutes, none of them a published one. Half of them judge a first
    fit; nothing is written if its errors are too large, as on a machine that is not idle. Ctrl-C fits what was measured
    so far.
    """
    from costlab.latency.devices import user_folder, write_device

    if not name.replace("-", "").replace("_", "").isalnum():
        raise CostlabError(f"--name must consist of letters, digits, - and _, got {name!r}")
    path = output or user_folder() / f"{name.lower()}.toml"
    if path.suffix != ".toml":
        raise CostlabError(f"{path}: the name of a device file must end in .toml")
    if output is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    check_folder(output)
    with measuring() as show:
        from costlab.measurement.calibration import calibrate as fit_device

        result = fit_device(device, threads=threads, name=path.stem, quick=quick, progress=show)
    from costlab.reports.devices import calibration

    for line in calibration(result):
        typer.echo(line)
    if result.problem and not force:
        raise CostlabError(f"{result.problem}; run it again on an idle machine, or keep the profile with --force")
    write_device(result.device, path)
    typer.echo(f"written to {path}" + (" (interrupted: from fewer networks)" if result.interrupted else ""))
