"""`costlab measure MODEL`: the wall time of a network on this machine, whole and operator by operator."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.options import Arguments, Batch, Dtype, Inputs, Model, Resolution, parsed
from costlab.cli.screen import console_for, drawn, put
from costlab.errors import CostlabError
from costlab.latency.devices import find_device

if TYPE_CHECKING:
    from costlab.latency.devices import Device
    from costlab.latency.prediction import Prediction
    from costlab.measurement.result import Measurement
    from costlab.models import Loaded

INTERRUPTED = 130  # exit code of Ctrl-C, as shells give it


class By(StrEnum):
    KIND = "kind"
    MODULE = "module"
    OP = "op"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def measure(
    model: Model,
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads of the CPU.", show_default="as torch has it")
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Weights and images in channels-last layout.")
    ] = False,
    amp: Annotated[bool, typer.Option("--amp", help="Run under torch.autocast.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Run under torch.compile: the whole alone, without operators.")
    ] = False,
    ops: Annotated[bool, typer.Option("--ops/--no-ops", help="Time the operators as well.")] = True,
    min_seconds: Annotated[
        float, typer.Option(metavar="S", help="Spend at least so long on the whole, and again on the operators.")
    ] = 1.0,
    predict_for: Annotated[
        str | None,
        typer.Option("--predict-for", metavar="NAME", help="Put the prediction for a device profile below the text."),
    ] = None,
    by: Annotated[By, typer.Option(help="What a row is.")] = By.KIND,
    top: Annotated[int, typer.Option(metavar="N", help="Rows to show as text; 0 for all of them.")] = 20,
    form: Annotated[Format, typer.Option("--format", help="json holds every raw time.")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
) -> int:
    """Measure how long MODEL takes for one forward pass on this machine, and each of its operators.

    A network that is named has random weights. Ctrl-C shows what was measured until then.
    """
    if top < 0:
        raise CostlabError(f"--top is a number of rows, 0 or more; {top} is not")
    if model.endswith(".json") and not model.startswith("hf:"):
        raise CostlabError(f"{model} is a saved profile: only a network can be measured")
    if output is not None and not output.parent.is_dir():  # before minutes are spent
        raise CostlabError(f"{output} cannot be written: there is no folder {output.parent}")
    arguments = parsed(argument)
    if predict_for is not None and form is Format.JSON:
        raise CostlabError("--predict-for goes with text: in JSON, `costlab report --device` holds predictions")
    profile_for = find_device(predict_for) if predict_for is not None else None
    with progress_bar() as show:
        from costlab.measurement._measure import measure as time_it
        from costlab.measurement.workload import find_torch_device
        from costlab.models import ModelSpec, load_model

        find_torch_device(device)
        spec = ModelSpec(model, arguments, tuple(inputs or ()), batch, resolution, dtype)
        loaded = load_model(spec, weights=True)
        measurement = time_it(
            loaded.model,
            loaded.inputs,
            device=device,
            amp=amp,
            channels_last=channels_last,
            compile=compiled,
            threads=threads,
            ops=ops,
            min_seconds=min_seconds,
            progress=show,
            **loaded.origin,
        )
    if form is Format.JSON:
        put(measurement.to_json(), output)
    else:
        from costlab.reports import timings

        console = console_for(output)
        shown = timings.text(measurement, by.value, top or None, console.width, console.options.ascii_only)
        text = drawn(console, shown)
        if profile_for is not None:
            text += below(predicted(loaded, profile_for, amp, channels_last, compiled), measurement)
        put(text, output)
    return INTERRUPTED if measurement.interrupted else 0


def predicted(loaded: Loaded, device: Device, amp: bool, channels_last: bool, compiled: bool) -> Prediction:
    """What is predicted for running the network in the same way."""
    from costlab.latency._predict import predict
    from costlab.tracing._profile import profile

    traced = profile(loaded.model, loaded.inputs, name=loaded.name)
    fusion = "pointwise" if compiled else "none"
    return predict(traced, device, amp=amp, channels_last=channels_last, fusion=fusion)


def below(prediction: Prediction, measurement: Measurement) -> str:
    """The prediction beside the measured whole."""
    from costlab.formatting import units
    from costlab.formatting.escaping import visible

    ratio = units.factor(prediction.seconds / measurement.whole.median)
    seconds = units.seconds(prediction.seconds)
    return f"predicted for {visible(prediction.device)}: {seconds}, {ratio} of the measured whole\n"


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal, drawn when it is told to: a thread that draws would disturb what is timed.

    What the body prints goes to stderr.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    quiet = not console.is_interactive
    with (
        contextlib.redirect_stdout(sys.stderr),
        Progress(*columns, console=console, transient=True, auto_refresh=False, disable=quiet) as bar,
    ):
        task = bar.add_task("preparing", total=1.0)
        yield lambda words, part: bar.update(task, description=words, completed=part, refresh=True)
