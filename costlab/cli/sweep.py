"""`costlab sweep FACTORY`: every network of a design space, on this machine or a cluster, as a table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.exits import INTERRUPTED
from costlab.cli.options import (
    FUSION_HELP,
    INPUT_HELP,
    Amp,
    ChannelsLast,
    TrainingOptions,
    argument,
    check_top,
    flag,
    option,
    split_arguments,
)
from costlab.cli.screen import put, render
from costlab.core.graph import Fusion
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.sweeps.results import Sweep
    from costlab.sweeps.space import Space

SKIPPED_SHOWN = 5  # lines of a journal in a message


@dataclass(frozen=True)
class SpaceOptions:
    """The design space, and what to find out about each network."""

    argument: Annotated[
        list[str] | None,
        option(
            "Set values of an argument: one, a list 128,160 or a range 0.25:1.0:0.05 (repeatable).",
            "KEY=VALUES",
            "-a",
            "--argument",
        ),
    ] = None
    input: Annotated[list[str] | None, option(INPUT_HELP, "SPEC")] = None
    batch: Annotated[str | None, option("Set batch sizes of the inputs.", "VALUES")] = None
    resolution: Annotated[str | None, option("Set heights and widths of images.", "VALUES")] = None
    dtype: Annotated[str | None, option("Set floating-point types.", "VALUES")] = None
    device: Annotated[list[str] | None, option("Predict latency on this device (repeatable).", "NAME")] = None
    fusion: Annotated[Fusion | None, option(FUSION_HELP)] = None
    amp: Amp = False
    channels_last: ChannelsLast = False
    sample: Annotated[int | None, option("Take a random sample of N networks.", "N")] = None
    seed: Annotated[int | None, option("Set the seed of the sample. Default: 0.", "S")] = None
    part: Annotated[str | None, option("Take only the K-th of N equal parts of the space.", "K/N")] = None
    where: Annotated[str | None, option('Keep only these rows: "mult_adds<=150M and params<4M".', "CONDITION")] = None
    timeout: Annotated[float | None, option("Set the time limit per network. Default: 300.", "SECONDS")] = None

    def space(self, factory: str, trained: TrainingOptions) -> Space:
        """The design space of a factory, or of a space.toml with these options instead of its own."""
        from costlab.sweeps.space import space_of

        asked = {
            name.replace("_", "-"): value
            for name, value in vars(self).items()
            if value is not None and value is not False
        }
        if trained.mode != "eval":
            asked |= {"mode": trained.mode, "training": trained.training()}
        else:
            trained.training()
        asked["arguments"] = split_arguments(asked.pop("argument", None), ": write all values with commas between them")
        is_file = factory.endswith(".toml") and not factory.startswith("hf:")
        return space_of(Path(factory) if is_file else {"factory": factory}, asked)


@dataclass(frozen=True)
class RunOptions:
    """Where the networks are profiled, and where their rows are kept."""

    jobs: Annotated[int | None, option("Use N processes. Default: one per core.", "N", "-j", "--jobs")] = None
    cluster: Annotated[str | None, option("Run on a Dask cluster: tcp:// or tls://host:8786.", "ADDRESS")] = None
    tls_ca: Annotated[Path | None, option("Trust the certificates of this CA (PEM), for tls://.", "FILE")] = None
    tls_cert: Annotated[Path | None, option("Present this certificate (PEM), for tls://.", "FILE")] = None
    tls_key: Annotated[Path | None, option("Use the private key in FILE (PEM), for tls://.", "FILE")] = None
    retry: Annotated[bool, flag("--retry", "Retry networks that failed before.")] = False

    @property
    def tls(self) -> dict[str, Path] | None:
        """The TLS files that are given, by what they are for."""
        files = {"ca": self.tls_ca, "cert": self.tls_cert, "key": self.tls_key}
        return {name: path for name, path in files.items() if path is not None} or None


def sweep(
    factory: Annotated[
        str,
        argument(
            "zoo:NAME, torchvision:NAME, timm:NAME, package.module:factory, path/to/file.py:factory, or a"
            " space.toml that describes the whole space.",
            "FACTORY",
        ),
    ],
    options: SpaceOptions,
    trained: TrainingOptions,
    run: RunOptions,
    top: Annotated[int, option("Show N rows; 0 for all.", "N")] = 20,
    sort: Annotated[
        str | None,
        option("Show the rows with the smallest COLUMN, or largest -COLUMN. Default: the fastest.", "COLUMN"),
    ] = None,
    output: Annotated[
        Path | None, option("Write all rows: .csv, .jsonl or .parquet.", "FILE", "-o", "--output")
    ] = None,
    journal: Annotated[
        Path | None, option("Save rows to FILE as they finish. Default: beside the output, or in the cache.", "FILE")
    ] = None,
) -> int:
    """Profile every network of a design space.

    A stopped sweep continues when the same command is run again. A network that fails is a row with its error.
    """
    from costlab.sweeps._sweep import sweep as profile_all
    from costlab.sweeps.tables import check_format

    check_top(top)
    space = options.space(factory, trained)
    if output is not None:
        check_format(output)
    place = journal or default_journal(space, output)
    if place is not None and output is not None and os.path.realpath(place) == os.path.realpath(output):
        raise CostlabError(f"--journal and --output are both {output}: use two files")
    try:
        rows = profile_all(
            space, journal=place, jobs=run.jobs, cluster=run.cluster, tls=run.tls, retry=run.retry, progress=True
        )
        if output is not None:
            rows.save(output)
    except KeyboardInterrupt:
        kept = f"finished rows are in {place}; run the same command again to continue"
        typer.echo(f"interrupted: {kept if place else 'nothing is saved without an --output'}", err=True)
        return INTERRUPTED
    put(rendered(rows, top, sort))
    typer.echo(verdict(rows, place, output), err=True)
    if rows.state.rows == rows.state.failed:
        raise CostlabError(f"none of the {rows.state.rows} networks can be profiled; the first: {rows.first_error}")
    return 0


def default_journal(space: Space, output: Path | None) -> Path | None:
    """Where rows are saved as they finish: beside the output, else in the user's cache, if there is one."""
    if output is not None:
        return output.with_suffix(".journal.jsonl")
    from platformdirs import user_cache_path

    folder = user_cache_path("costlab") / "sweeps"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / f"{space.digest}.journal.jsonl"


def rendered(rows: Sweep, top: int, sort: str | None) -> str:
    """The first rows, as text."""
    from costlab.sweeps import report
    from costlab.sweeps.columns import time_columns

    key = sort or next(iter(time_columns(rows.space)), "mult_adds")
    shown = rows.top(top or len(rows), key.removeprefix("-"), largest=key.startswith("-"))
    if not shown:
        return ""
    return render("text", None, lambda width, ascii_only: report.text(shown, rows.space, width, ascii_only))


def verdict(rows: Sweep, journal: Path | None, output: Path | None) -> str:
    """One line on how it went."""
    from costlab.formatting import units
    from costlab.formatting.escaping import visible

    state = rows.state
    parts = [f"{units.exact(state.rows)} network{'s' if state.rows != 1 else ''}"]
    if state.known:
        parts.append(f"{units.exact(state.known)} of them from {visible(str(journal))}")
    if rows.journal.skipped:
        lines = ", ".join(map(str, sorted(rows.journal.skipped)[:SKIPPED_SHOWN]))
        parts.append(f"{len(rows.journal.skipped)} damaged lines of the journal ignored (line {lines})")
    if state.failed:
        parts.append(f"{units.exact(state.failed)} failed")
    if rows.space.where:
        parts.append(f"{units.exact(len(rows))} kept")
    if output is not None:
        parts.append(f"written to {visible(str(output))}")
    return ", ".join(parts)
