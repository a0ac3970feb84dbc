"""`costlab report MODEL`: totals, and a table by module, kind or operator."""

from __future__ import annotations

import sys
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
from costlab.cli.screen import console_for, drawn, put, working
from costlab.core.profile import Profile
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.latency.prediction import Prediction


class By(StrEnum):
    MODULE = "module"
    KIND = "kind"
    OP = "op"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"


def report(
    model: Model,
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    train: Train = False,
    device: Target = None,
    fusion: Annotated[
        Fusion, typer.Option(help="What counts as one operator: batch norm folded, element-wise ones joined as well.")
    ] = Fusion.NONE,
    amp: Amp = False,
    channels_last: ChannelsLast = False,
    by: Annotated[By, typer.Option(help="What a row is.")] = By.MODULE,
    depth: Annotated[
        int | None,
        typer.Option(metavar="N", help="Cut module paths to N names; by default to what fits a screen, in csv not."),
    ] = None,
    top: Annotated[int | None, typer.Option(metavar="N", help="Keep the N dearest rows and add up the others.")] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COST", help="Dearest first in mult_adds, params, memory_access, ...")
    ] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="json and html always hold everything; json can be read again, html is for a browser."
        ),
    ] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where an operator has no cost rule.")] = False,
    no_cache: NoCache = False,
) -> None:
    """Report what MODEL costs in one forward pass."""
    from costlab.formatting.units import times
    from costlab.latency.devices import find_device
    from costlab.models import ModelSpec, profile_of
    from costlab.reports.tables import check_choice

    check_choice(by.value, depth, top, sort, device is not None)
    if device is None and (amp or channels_last):
        raise CostlabError("--amp and --channels-last go with a prediction: name a --device")
    if form is Format.HTML and output is None and sys.stdout.isatty():
        raise CostlabError("an html report is for a browser: name a file for it with -o report.html")
    on = find_device(device) if device is not None else None
    arguments = parsed(argument)
    with working(f"tracing {model}"):
        profile = profile_of(
            ModelSpec(
                model,
                arguments,
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
    shown = profile.fused(fusion.value)
    if form is Format.HTML:
        from costlab.guidelines import lint
        from costlab.reports import html

        with working(f"checking {model}"):
            page = html.report(shown, lint(profile, device=on), prediction, on)
        put(page, output)
    else:
        put(rendered(shown, prediction, form, by.value, depth, top, sort, output), output)
    if strict and profile.uncounted:
        raise CostlabError(f"--strict: no cost rule for {times(profile.uncounted)}; the totals leave them out")


def rendered(
    profile: Profile,
    prediction: Prediction | None,
    form: Format,
    by: str,
    depth: int | None,
    top: int | None,
    sort: str | None,
    output: Path | None,
) -> str:
    """The report in one of the formats."""
    from costlab.core.serialization import to_json
    from costlab.reports import csv, tables
    from costlab.reports import profile as report

    seconds = prediction.by_op if prediction else None
    if form is Format.JSON:
        return to_json(profile, prediction.summary if prediction else None, seconds)
    if depth is None and by == "module" and form in (Format.TEXT, Format.MARKDOWN):
        depth = tables.default_depth(profile)
    table = tables.table(
        profile,
        by,
        depth=depth,
        top=top,
        sort=sort,
        fold=form is not Format.CSV,
        seconds=seconds,
        predicted_seconds=prediction.seconds if prediction else None,
    )
    if form is Format.CSV:
        return csv.report(table)
    if form is Format.MARKDOWN:
        return report.markdown(profile, table, prediction)
    console = console_for(output)
    return drawn(console, report.text(profile, table, console.width, console.options.ascii_only, prediction))
