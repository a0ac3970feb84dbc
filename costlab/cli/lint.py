"""`costlab lint MODEL`: which guidelines a network keeps, and what each place that breaks one costs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from costlab.cli.options import Arguments, Batch, Dtype, Inputs, Model, Resolution, parsed
from costlab.cli.screen import console_for, drawn, put, working
from costlab.errors import CostlabError


class Fusion(StrEnum):
    NONE = "none"
    BN = "bn"
    POINTWISE = "pointwise"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def lint(
    model: Model,
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", metavar="RULES", help="Only these guidelines: G1,G2 or names (repeatable)."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="RULES", help="All guidelines but these (repeatable).")
    ] = None,
    fusion: Annotated[
        Fusion, typer.Option(help="What counts as one operator: batch norm folded, element-wise ones joined as well.")
    ] = Fusion.BN,
    top: Annotated[int, typer.Option(metavar="N", help="Findings to show as text; 0 for all of them.")] = 20,
    form: Annotated[Format, typer.Option("--format", help="How to write it; json has every finding.")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
) -> int:
    """Check MODEL against the guidelines; exit 1 where a finding is a warning or an error."""
    from costlab.guidelines import GUIDELINES
    from costlab.guidelines import lint as check
    from costlab.guidelines.linting import guideline_named
    from costlab.loading import profile_of
    from costlab.reports import findings
    from costlab.reports.header import title

    if top < 0:
        raise CostlabError(f"--top is a number of findings, 0 or more; {top} is not")
    chosen, left_out = names(select), names(ignore)
    for name in (*chosen, *left_out):
        guideline_named(name)
    with working(f"tracing {model}"):
        profile = profile_of(
            model, parsed(argument), inputs=inputs or (), batch=batch, resolution=resolution, dtype=dtype
        )
    result = check(profile, select=chosen if select else None, ignore=left_out, fusion=fusion.value)
    if form is Format.JSON:
        put(findings.document(result), output)
    else:
        console = console_for(output)
        called = {code: guideline.name for code, guideline in GUIDELINES.items()}
        shown = findings.text(result, title(profile), called, top or None, console.width, console.options.ascii_only)
        put(drawn(console, shown), output)
    typer.echo(findings.verdict_line(result), err=True)
    return int(any(result.summary.values()))


def names(given: list[str] | None) -> list[str]:
    """`--select G1,G2 --select G4` as names of guidelines."""
    return [name for text in given or () for name in text.split(",")]
