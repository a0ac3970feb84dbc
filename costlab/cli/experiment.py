"""`costlab experiment NAME`: ShuffleNet V2's experiments on this machine, beside the paper's figures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.measure import INTERRUPTED, progress_bar
from costlab.cli.screen import console_for, drawn, put
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.experiments.results import Record

QUICK_ROUNDS, QUICK_TURN = 3, 0.001
PICTURES = (".svg", ".png", ".pdf")
OF_A_RUN = ("device", "widths", "batch", "threads", "rounds", "quick")  # say nothing of a saved result


class Widths(StrEnum):
    GPU = "gpu"
    ARM = "arm"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def experiment(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="g1, g2, g3, g4, kernel, networks; or a result that was saved, FILE.json.",
            show_default=False,
        ),
    ],
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Where to run: cpu, cuda, cuda:1 or mps.")] = "cpu",
    widths: Annotated[
        Widths | None,
        typer.Option(help="The channels of the paper for its GPU or its ARM.", show_default="arm on a CPU, else gpu"),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images in a batch.", show_default="1; networks on a GPU: 8, as in the paper"),
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of the CPU.")] = 1,
    rounds: Annotated[int, typer.Option(metavar="N", help="Times that every network has its turn.")] = 30,
    quick: Annotated[bool, typer.Option("--quick", help="A few short rounds: to see that it works.")] = False,
    predict_for: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Predict for it as well: a name of `costlab devices`, or a FILE.toml."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="json holds every raw time.")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it as well: FILE.svg, .png or .pdf.")] = None,
) -> int:
    """Repeat an experiment of ShuffleNet V2 on this machine, beside the paper's figures.

    g1 to g4 are its Tables 1 to 4, networks its Table 8; kernel compares sizes of kernels. Ctrl-C shows the rounds that
    are complete.
    """
    for path in (output, plot):
        if path is not None and not path.parent.is_dir():  # before minutes are spent
            raise CostlabError(f"{path} cannot be written: there is no folder {path.parent}")
    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise CostlabError(f"{plot} is no picture that can be drawn: its name ends in {', '.join(PICTURES)}")
    if name.endswith(".json"):
        given = [option for option in OF_A_RUN if asked(context, option)]
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise CostlabError(f"{name} is a result that was saved: it is shown as it is, without {option}")
        from costlab.experiments.results import read_record

        record = read_record(Path(name))
        if predict_for is not None:
            from costlab.experiments.running import with_predictions

            record = with_predictions(record, predict_for)
    else:
        from costlab.experiments.designs import experiment_named
        from costlab.latency.devices import find_device

        experiment_named(name)
        if predict_for is not None:
            find_device(predict_for)
        with progress_bar() as show:
            from costlab.experiments.running import TURN, run_experiment

            record = run_experiment(
                name,
                device=device,
                widths=widths.value if widths else None,
                batch=batch,
                threads=threads,
                rounds=QUICK_ROUNDS if quick and not asked(context, "rounds") else rounds,
                turn=QUICK_TURN if quick else TURN,
                predict_for=predict_for,
                progress=show,
            )
    show_record(record, form, output)
    if plot is not None:
        from costlab.experiments.pictures import write_picture

        write_picture(record, plot)
    return INTERRUPTED if record.interrupted and not name.endswith(".json") else 0


def asked(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def show_record(record: Record, form: Format, output: Path | None) -> None:
    from costlab.experiments import report as experiments

    if form is Format.JSON:
        put(record.to_json(), output)
    elif form is Format.MARKDOWN:
        put(experiments.markdown(record), output)
    else:
        console = console_for(output)
        put(drawn(console, experiments.text(record, console.width, console.options.ascii_only)), output)
