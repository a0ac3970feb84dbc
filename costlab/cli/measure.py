"""`costlab measure MODEL`: the wall time of a network on this machine, whole and operator by operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from costlab.cli.exits import INTERRUPTED
from costlab.cli.options import (
    Loss,
    Model,
    ModelOptions,
    Output,
    RunOn,
    Threads,
    check_top,
    flag,
    option,
    reject_saved_profile,
    training_given,
)
from costlab.cli.screen import check_folder, measuring, put, render
from costlab.core.graph import Mode
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.latency.device import Device
    from costlab.measurement.result import Measurement
    from costlab.models import Loaded


@dataclass(frozen=True)
class RunOptions:
    """How a network runs on this machine, and for how long."""

    device: RunOn = "cpu"
    threads: Threads = None
    channels_last: Annotated[bool, flag("--channels-last", "Use the channels-last layout for weights and images.")] = (
        False
    )
    amp: Annotated[bool, flag("--amp", "Run under torch.autocast.")] = False
    compiled: Annotated[bool, flag("--compile", "Run under torch.compile; no times of operators.")] = False
    mode: Annotated[Mode, option("Run inference, a forward pass in train mode, or a whole training step.")] = "eval"
    optimizer: Annotated[str | None, option("Set the optimizer of a training step.", "NAME", show_default="sgd")] = None
    loss: Loss = None
    ops: Annotated[bool, flag("--ops/--no-ops", "Time the operators as well.")] = True
    min_seconds: Annotated[float, option("Spend S seconds on the whole, and S on the operators.", "S")] = 1.0


def measure(
    model: Model,
    network: ModelOptions,
    run: RunOptions,
    predict_for: Annotated[str | None, option("Print the prediction for this device below.", "NAME")] = None,
    by: Annotated[Literal["kind", "module", "op", "kernel"], option("Set what a row is; kernel needs a GPU.")] = "kind",
    top: Annotated[int, option("Show N rows of the text; 0 for all.", "N")] = 20,
    form: Annotated[
        Literal["text", "json", "html"],
        option("Set the output format; json has every raw time, html every operator and kernel.", None, "--format"),
    ] = "text",
    output: Output = None,
) -> int:
    """Measure one forward pass or training step of MODEL on this machine, in total and per operator.

    Networks from a library get random weights. Ctrl-C shows what was measured so far.
    """
    from costlab.latency.devices import find_device
    from costlab.reports import timings

    check_top(top)
    reject_saved_profile(model, "measured")
    check_folder(output)
    check_together(run, by, form, predict_for)
    spec = replace(network.spec(model), mode=run.mode, training=training_given(run))
    device = find_device(predict_for) if predict_for is not None else None
    with measuring() as show:
        from costlab.measurement._measure import measure as measure_network
        from costlab.measurement.workload import find_torch_device
        from costlab.models import load_model
        from costlab.models._profile_of import training_options

        find_torch_device(run.device)
        training = training_options(spec)
        loaded = load_model(spec, weights=True)
        measurement = measure_network(
            loaded.model,
            loaded.inputs,
            device=run.device,
            amp=run.amp,
            channels_last=run.channels_last,
            compile=run.compiled,
            mode=run.mode,
            threads=run.threads,
            ops=run.ops,
            min_seconds=run.min_seconds,
            progress=show,
            **training,
            **loaded.origin,
        )
    page = render(
        form,
        output,
        text=lambda *room: timings.page(measurement, by, top or None).text(*room),
        json=measurement.to_json,
        html=lambda: timings.document(measurement),
    )
    put(page + (prediction_line(loaded, run, device, measurement) if device else ""), output)
    return INTERRUPTED if measurement.interrupted else 0


def check_together(run: RunOptions, by: str, form: str, predict_for: str | None) -> None:
    """Raise CostlabError for options that exclude one another."""
    if by == "kernel" and run.device == "cpu":
        raise CostlabError("--by kernel needs a GPU (--device cuda); use --by kind, module or op")
    if predict_for is not None and form != "text":
        raise CostlabError("--predict-for needs --format text; `costlab report --device` has predictions in JSON")
    if predict_for is not None and run.mode != "eval":
        raise CostlabError("--predict-for needs --mode eval")


def prediction_line(loaded: Loaded, run: RunOptions, device: Device, measurement: Measurement) -> str:
    """What is predicted for the same run, beside the measured whole."""
    from costlab.formatting import units
    from costlab.formatting.escaping import visible
    from costlab.latency._predict import predict_with
    from costlab.latency.execution import ExecutionConfig
    from costlab.tracing._profile import profile

    fusion = "pointwise" if run.compiled else "none"
    config = ExecutionConfig(device, amp=run.amp, fusion=fusion, channels_last=run.channels_last)
    prediction = predict_with(profile(loaded.model, loaded.inputs), config)
    ratio = units.factor(prediction.seconds / measurement.whole.median)
    seconds = units.seconds(prediction.seconds)
    return f"predicted for {visible(prediction.device)}: {seconds}, {ratio} of the measured whole\n"
