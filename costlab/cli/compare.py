"""`costlab compare BASE HEAD`: what a change costs, and whether it may."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from costlab.cli.options import (
    MODEL_HELP,
    Amp,
    Arguments,
    Batch,
    ChannelsLast,
    Dtype,
    Fusion,
    Inputs,
    NoCache,
    Resolution,
    Target,
    Train,
    parsed,
)
from costlab.cli.screen import console_for, drawn, put, working
from costlab.core.profile import Profile
from costlab.errors import CostlabError


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def compare(
    base: Annotated[str, typer.Argument(help=MODEL_HELP, show_default=False)],
    head: Annotated[str, typer.Argument(help="The same, for what it has become.", show_default=False)],
    argument: Arguments = None,
    base_argument: Annotated[
        list[str] | None, typer.Option("--base-argument", metavar="KEY=VALUE", help="As -a, for BASE alone.")
    ] = None,
    head_argument: Annotated[
        list[str] | None, typer.Option("--head-argument", metavar="KEY=VALUE", help="As -a, for HEAD alone.")
    ] = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    train: Train = False,
    device: Target = None,
    fusion: Annotated[
        Fusion, typer.Option(help="Predict with batch norm folded, or with element-wise operators joined as well.")
    ] = Fusion.NONE,
    amp: Amp = False,
    channels_last: ChannelsLast = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", metavar="CONDITION", help="Exit 1 where this is true: mult_adds>+1% (repeatable)."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", metavar="CONDITION", help="Exit 1 unless HEAD keeps this: params<=3.5M (repeatable)."),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="Modules to show; 0 for all of them.")] = 30,
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    no_cache: NoCache = False,
) -> int:
    """Compare what two models cost, module by module."""
    from costlab.comparison import compare as side_by_side
    from costlab.core.conditions import parse_criterion
    from costlab.core.metrics import PREDICTED
    from costlab.latency.devices import find_device
    from costlab.models import ModelSpec, profile_of
    from costlab.reports import comparison as shown

    forbidden = [parse_criterion(text) for text in fail_on or ()]
    wanted = [parse_criterion(text) for text in budget or ()]
    if device is None:
        given = {"--amp": amp, "--channels-last": channels_last, "--fusion": fusion is not Fusion.NONE}
        unused = [option for option, asked in given.items() if asked]
        timed = [c.text for c in (*forbidden, *wanted) if c.key == PREDICTED]
        if unused or timed:
            raise CostlabError(f"{(unused or timed)[0]} goes with a prediction: name a --device")
    on = find_device(device) if device is not None else None
    if top < 0:
        raise CostlabError(f"--top is a number of rows, 0 or more; {top} is not")
    common = parsed(argument)

    def profiled(target: str, own: list[str] | None) -> Profile:
        if target.endswith(".json") and not target.startswith("hf:"):
            return profile_of(ModelSpec(target, parsed(own)))
        with working(f"tracing {target}"):
            spec = ModelSpec(
                target,
                {**common, **parsed(own)},
                tuple(inputs or ()),
                batch,
                resolution,
                dtype,
                "train" if train else "eval",
            )
            return profile_of(spec, cached=not no_cache)

    compared = side_by_side(
        profiled(base, base_argument),
        profiled(head, head_argument),
        device=on,
        amp=amp,
        fusion=fusion.value,
        channels_last=channels_last,
    )
    verdicts = []
    for each, must_not in [*((c, True) for c in forbidden), *((c, False) for c in wanted)]:
        before, after = compared.totals(each.key)
        broken = each.holds(after, before or 0) is must_not
        verdicts.append(shown.ConditionResult(each, must_not, broken, tuple(compared.grown(each.key))))
    rows = top or None
    if form is Format.JSON:
        put(shown.document(compared, verdicts), output)
    elif form is Format.MARKDOWN:
        put(shown.markdown(compared, verdicts, rows), output)
    else:
        console = console_for(output)
        put(drawn(console, shown.text(compared, verdicts, rows, console.width, console.options.ascii_only)), output)
    count = sum(v.broken for v in verdicts)
    if count:
        typer.echo(f"{count} of {len(verdicts)} conditions broken", err=True)
    return int(count > 0)
