"""`costlab sweep FACTORY`: every network of a design space, on this machine or a cluster, as a table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.options import Amp, ChannelsLast, Fusion, Inputs
from costlab.cli.screen import console_for, drawn, put
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.sweeps.results import State, Sweep
    from costlab.sweeps.space import Space

INTERRUPTED = 130  # exit code of Ctrl-C, as shells give it


def sweep(
    factory: Annotated[
        str,
        typer.Argument(
            metavar="FACTORY",
            help="zoo:NAME, torchvision:NAME, timm:NAME, package.module:factory, path/to/file.py:factory, or a"
            " space.toml that describes the whole space.",
            show_default=False,
        ),
    ],
    argument: Annotated[
        list[str] | None,
        typer.Option(
            "-a",
            "--argument",
            metavar="KEY=VALUES",
            help="Values of an argument: one, a list 128,160,192 or a range 0.25:1.0:0.05 (repeatable).",
        ),
    ] = None,
    inputs: Inputs = None,
    batch: Annotated[str | None, typer.Option(metavar="VALUES", help="Batch sizes of the inputs.")] = None,
    resolution: Annotated[str | None, typer.Option(metavar="VALUES", help="Heights and widths of images.")] = None,
    dtype: Annotated[str | None, typer.Option(metavar="VALUES", help="Floating-point types.")] = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", metavar="NAME", help="Predict latency on this device (repeatable).")
    ] = None,
    fusion: Annotated[Fusion | None, typer.Option(help="What runs as one operator, for the prediction.")] = None,
    amp: Amp = False,
    channels_last: ChannelsLast = False,
    sample: Annotated[
        int | None, typer.Option(metavar="N", help="Take N networks of the space, drawn at random.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Which sample; 0 by default.")] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Only the K-th of N equal parts: many machines need no cluster."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help='Keep these rows, as "mult_adds<=150M and params<4M".'),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Give up on a network after so long; 300 by default.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", metavar="N", help="Processes; by default one for each core.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on a Dask cluster, tcp://host:8786.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try networks again that failed before.")] = False,
    top: Annotated[int, typer.Option(metavar="N", help="Rows to show; 0 for all of them.")] = 20,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Show the rows with the least of it, or the most of -COLUMN; by default the fastest."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write all rows: .csv, .jsonl or .parquet.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where rows are kept as they come; by default FILE.journal.jsonl beside the output, or in the cache.",
        ),
    ] = None,
) -> int:
    """Find out what every network of a design space costs.

    A sweep that was stopped goes on where it was when the same command is given again. A network that fails is a row
    with its error.
    """
    from costlab.sweeps.results import check_format
    from costlab.sweeps.running import sweep as run
    from costlab.sweeps.space import space_of

    if top < 0:
        raise CostlabError(f"--top is a number of rows, 0 or more; {top} is not")
    asked = {
        "arguments": values(argument),
        "input": inputs,
        "batch": batch,
        "resolution": resolution,
        "dtype": dtype,
        "device": device,
        "fusion": fusion and fusion.value,
        "amp": amp or None,
        "channels-last": channels_last or None,
        "sample": sample,
        "seed": seed,
        "part": part,
        "where": where,
        "timeout": timeout,
    }
    options = {key: value for key, value in asked.items() if value is not None}
    is_file = factory.endswith(".toml") and not factory.startswith("hf:")
    space = space_of(Path(factory) if is_file else {"factory": factory}, options)
    if output is not None:
        check_format(output)
    place = journal or journal_of(space, output)
    try:
        with progress_bar() as show:
            rows = run(space, journal=place, jobs=jobs, cluster=cluster, retry=retry, progress=show)
            if output is not None:
                rows.save(output)
    except KeyboardInterrupt:
        kept = f"finished rows are in {place}; the same command goes on from there"
        typer.echo(f"interrupted: {kept if place else 'nothing is kept without an --output'}", err=True)
        return INTERRUPTED
    put(rendered(rows, top, sort), None)
    typer.echo(verdict(rows, place, output), err=True)
    if rows.state.rows == rows.state.failed:
        raise CostlabError(f"none of the {rows.state.rows} networks can be made; the first: {rows.first_error}")
    return 0


def values(given: Sequence[str] | None) -> dict[str, str]:
    """`-a width=0.25:1.0:0.05 -a resolution=128,160` by argument. Raises CostlabError."""
    result: dict[str, str] = {}
    for argument in given or ():
        key, equals, text = argument.partition("=")
        if not equals or not key.isidentifier():
            raise CostlabError(f"-a {argument!r} is no argument: write -a key=values")
        if key in result:
            raise CostlabError(f"-a {key} is given twice: write all of its values with commas between them")
        result[key] = text
    return result


def journal_of(space: Space, output: Path | None) -> Path | None:
    """Where the rows of a sweep are kept as they come: beside its output, else in the user's cache, if there is one."""
    if output is not None:
        return output.with_suffix(".journal.jsonl")
    from platformdirs import user_cache_path

    folder = user_cache_path("costlab") / "sweeps"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / f"{space.digest}.journal.jsonl"


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[State], None]]:
    """A bar with the rate, the time that remains and the failures, where there is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from costlab.formatting import units

    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as bar:
        task = bar.add_task("")

        def show(state: State) -> None:
            bar.update(task, total=state.rows, completed=state.rows - state.left)
            elapsed = bar.tasks[0].elapsed
            rate = f"{units.rate(state.computed / elapsed)}/s" if state.computed and elapsed else ""
            bar.update(
                task, description=f"{rate} {f'{units.exact(state.failed)} failed' if state.failed else ''}".strip()
            )

        yield show


def rendered(rows: Sweep, top: int, sort: str | None) -> str:
    """The rows that were asked for, as text."""
    from costlab.sweeps import report as sweeps
    from costlab.sweeps.rows import JUDGED, columns_of_axes, seconds_of

    key = sort or next(iter(seconds_of(rows.space.devices)), "mult_adds")
    shown = rows.top(top or len(rows), key.removeprefix("-"), largest=key.startswith("-"))
    axes = [column for name, column in columns_of_axes(rows.space).items() if len(rows.space.axes[name]) > 1]
    console = console_for(None)
    return drawn(console, sweeps.text(shown, axes, JUDGED, console.width, console.options.ascii_only)) if shown else ""


def verdict(rows: Sweep, journal: Path | None, output: Path | None) -> str:
    """One line on how it went."""
    from costlab.formatting import units
    from costlab.formatting.escaping import visible

    state = rows.state
    parts = [f"{units.exact(state.rows)} network{'s' if state.rows != 1 else ''}"]
    if state.known:
        parts.append(f"{units.exact(state.known)} of them from {visible(str(journal))}")
    if state.failed:
        parts.append(f"{units.exact(state.failed)} failed")
    if rows.space.where:
        parts.append(f"{units.exact(len(rows))} kept")
    if output is not None:
        parts.append(f"written to {visible(str(output))}")
    return ", ".join(parts)
