"""`costlab experiment NAME`: ShuffleNet V2's experiments on this machine, beside the paper's figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from costlab.cli.exits import INTERRUPTED
from costlab.cli.options import Format, Output, RunOn, argument, flag, option
from costlab.cli.screen import check_folder, check_picture, measuring, put, render
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.experiments.results import Record

QUICK_ROUNDS, QUICK_TURN = 3, 0.001


@dataclass(frozen=True)
class RunOptions:
    """How an experiment runs; meaningless for a saved result."""

    device: RunOn = "cpu"
    widths: Annotated[
        Literal["gpu", "arm"] | None,
        option("Use the paper's channels for its GPU or its ARM.", show_default="arm on a CPU, otherwise gpu"),
    ] = None
    batch: Annotated[
        int | None, option("Set the batch size.", "N", show_default="1; networks on a GPU: 8, as in the paper")
    ] = None
    threads: Annotated[int, option("Set the number of CPU threads.", "N")] = 1
    rounds: Annotated[int, option("Time every network N times.", "N")] = 30
    quick: Annotated[bool, flag("--quick", "Run a few short rounds, to see that it works.")] = False


def experiment(
    context: typer.Context,
    name: Annotated[str, argument("g1, g2, g3, g4, kernel, networks, or a saved result FILE.json.", "NAME")],
    run: RunOptions,
    predict_for: Annotated[
        str | None, option("Also predict for this device (a name or a FILE.toml).", "DEVICE")
    ] = None,
    form: Format = "text",
    output: Output = None,
    plot: Annotated[Path | None, option("Also draw it: FILE.svg, .png or .pdf.", "FILE")] = None,
) -> int:
    """Repeat an experiment of ShuffleNet V2 on this machine, beside the paper's figures.

    g1 to g4 are Tables 1 to 4, networks is Table 8; kernel compares kernel sizes. Ctrl-C shows the complete
    rounds.
    """
    check_folder(output)
    check_picture(plot)
    saved = name.endswith(".json")
    if saved:
        unused = [option for option in RunOptions.__dataclass_fields__ if is_typed(context, option)]
        if unused:
            raise CostlabError(f"{name} is a saved result, shown as it is: leave out --{unused[0]}")
        record = read_record(Path(name), predict_for)
    else:
        record = run_experiment(name, run, is_typed(context, "rounds"), predict_for)
    show(record, form, output)
    if plot is not None:
        from costlab.experiments.pictures import write_picture

        write_picture(record, plot)
    return INTERRUPTED if record.interrupted and not saved else 0


def is_typed(context: typer.Context, option: str) -> bool:
    """Whether an option is on the command line."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def read_record(path: Path, predict_for: str | None) -> Record:
    """A saved result, with predictions for a device."""
    from costlab.experiments import results

    record = results.read_record(path)
    if predict_for is None:
        return record
    from costlab.experiments.running import with_predictions

    return with_predictions(record, predict_for)


def run_experiment(name: str, run: RunOptions, own_rounds: bool, predict_for: str | None) -> Record:
    """Run an experiment on this machine."""
    from costlab.experiments.designs import experiment_named
    from costlab.latency.devices import find_device

    experiment_named(name)
    if predict_for is not None:
        find_device(predict_for)
    with measuring() as progress:
        from costlab.experiments import running

        return running.run_experiment(
            name,
            device=run.device,
            widths=run.widths,
            batch=run.batch,
            threads=run.threads,
            rounds=QUICK_ROUNDS if run.quick and not own_rounds else run.rounds,
            turn=QUICK_TURN if run.quick else running.TURN,
            predict_for=predict_for,
            progress=progress,
        )


def show(record: Record, form: str, output: Path | None) -> None:
    """Write a result in one of the formats."""
    from costlab.experiments import report

    page = render(
        form,
        output,
        text=lambda width, ascii_only: report.text(record, width, ascii_only),
        json=record.to_json,
        markdown=lambda: report.markdown(record),
    )
    put(page, output)
