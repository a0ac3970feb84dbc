"""`costlab export MODEL --to FORMAT`: a profile for the viewers of others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.options import (
    Amp,
    Arguments,
    Batch,
    ChannelsLast,
    Dtype,
    Fusion,
    Inputs,
    Model,
    NoCache,
    Resolution,
    Target,
    Train,
    parsed,
)
from costlab.cli.screen import put, working
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.measurement.result import Measurement


class Format(StrEnum):
    MODEL_EXPLORER = "model-explorer"
    MODEL_EXPLORER_DATA = "model-explorer-data"
    GRAPHML = "graphml"
    DOT = "dot"
    PERFETTO = "perfetto"


def export(
    model: Model,
    to: Annotated[
        Format, typer.Option("--to", help="What opens it; model-explorer-data colours the nodes of model-explorer.")
    ],
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    train: Train = False,
    device: Target = None,
    measured: Annotated[
        Path | None,
        typer.Option("--measured", metavar="FILE", help="Times that `costlab measure --format json` wrote."),
    ] = None,
    fusion: Annotated[
        Fusion, typer.Option(help="What counts as one operator: batch norm folded, element-wise ones joined as well.")
    ] = Fusion.NONE,
    amp: Amp = False,
    channels_last: ChannelsLast = False,
    cost: Annotated[
        str | None,
        typer.Option(
            metavar="COST", help="mult_adds (the default), memory_access, ..., for model-explorer-data and dot."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    no_cache: NoCache = False,
) -> None:
    """Write what MODEL costs for a viewer: Model Explorer, Graphviz (dot), Gephi or yEd (graphml), Perfetto."""
    from costlab import exporters as exporting
    from costlab.latency.devices import find_device
    from costlab.models import ModelSpec, profile_of

    if device is None and (amp or channels_last):
        raise CostlabError("--amp and --channels-last go with a prediction: name a --device")
    if cost is not None and to not in (Format.MODEL_EXPLORER_DATA, Format.DOT):
        raise CostlabError(f"--cost does not go with {to}, which holds them all")
    if to is Format.PERFETTO and device is None and measured is None:
        raise CostlabError("a trace is of time: name a --device to predict for, or a file with --measured")
    if measured is not None and fusion is not Fusion.NONE:
        raise CostlabError("--measured goes with --fusion none: operators were measured one by one")
    on = find_device(device) if device is not None else None
    measurement = measurement_in(measured) if measured is not None else None
    with working(f"tracing {model}"):
        profile = profile_of(
            ModelSpec(
                model,
                parsed(argument),
                tuple(inputs or ()),
                batch,
                resolution,
                dtype,
                "train" if train else "eval",
            ),
            cached=not no_cache,
        )
    prediction = None
    if on:
        from costlab.latency._predict import predict

        prediction = predict(profile, on, amp=amp, fusion=fusion.value, channels_last=channels_last)
    else:
        profile = profile.fused(fusion.value)
    put(
        exporting.export(profile, to.value, prediction=prediction, measurement=measurement, cost=cost or "mult_adds"),
        output,
    )


def measurement_in(path: Path) -> Measurement:
    """What was measured, from its file. Raises CostlabError."""
    from costlab.measurement.documents import read
    from costlab.measurement.result import Measurement

    return read(path, Measurement.from_json)
