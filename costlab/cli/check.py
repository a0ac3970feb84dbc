"""`costlab check MODEL`: our mult-adds beside those of other counters, every difference explained."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from costlab.cli.options import Arguments, Batch, Dtype, Inputs, Resolution, parsed
from costlab.cli.screen import console_for, drawn, put, working
from costlab.errors import CostlabError


class Convention(StrEnum):
    FVCORE = "fvcore"
    THOP = "thop"
    PTFLOPS = "ptflops"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def check(
    model: Annotated[
        str, typer.Argument(help="A model as `costlab report` takes it, save a saved profile.", show_default=False)
    ],
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    convention: Annotated[
        Convention | None, typer.Option(help="Add a column: what this tool would print, by its published rules.")
    ] = None,
    form: Annotated[Format, typer.Option("--format")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
) -> None:
    """Check MODEL's mult-adds against fvcore and torch; exit 1 where a difference has no explanation.

    fvcore computes for real, on the CPU and with random weights.
    """
    if model.endswith(".json") and not model.startswith("hf:"):
        raise CostlabError(f"{model} is a saved profile: to check it other counters need the network that it is of")
    from costlab.crosscheck import report as rendering
    from costlab.crosscheck.differences import compare_counters
    from costlab.crosscheck.emulation import count_like
    from costlab.models import ModelSpec, load_model
    from costlab.tracing._profile import profile

    with working(f"checking {model}"):
        loaded = load_model(ModelSpec(model, parsed(argument), tuple(inputs or ()), batch, resolution, dtype))
        traced = profile(loaded.model, loaded.inputs, **loaded.origin)
        result = compare_counters(loaded.model, loaded.inputs.args, loaded.inputs.kwargs, traced)
    column = count_like(traced, convention.value) if convention else None
    if form is Format.JSON:
        put(rendering.to_json(result, column), output)
    elif form is Format.MARKDOWN:
        put(rendering.markdown(result, column), output)
    else:
        console = console_for(output)
        put(drawn(console, rendering.text(result, column, console.width, console.options.ascii_only)), output)
    typer.echo(rendering.verdict(result), err=True)
    if result.unexplained:
        raise typer.Exit(1)
