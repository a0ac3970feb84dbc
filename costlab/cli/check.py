"""`costlab check MODEL`: our mult-adds beside those of other counters, every difference explained."""

from typing import Annotated, Literal

import typer

from costlab.cli.exits import FINDINGS
from costlab.cli.options import Format, ModelOptions, Output, argument, option, reject_saved_profile
from costlab.cli.screen import put, report_in, working


def check(
    model: Annotated[str, argument("A model as `costlab report` takes it, except a saved profile.", "MODEL")],
    network: ModelOptions,
    convention: Annotated[
        Literal["fvcore", "thop", "ptflops"] | None,
        option("Add a column: what this tool would print, by its published rules."),
    ] = None,
    form: Format = "text",
    output: Output = None,
) -> int:
    """Check MODEL's mult-adds and activations against fvcore and torch; exit 1 if a difference has no explanation.

    fvcore really computes, on the CPU and with random weights.
    """
    reject_saved_profile(model, "checked against other counters")
    from costlab.crosscheck import report
    from costlab.crosscheck.activations import compare_activations
    from costlab.crosscheck.differences import compare_counters
    from costlab.crosscheck.emulation import count_like
    from costlab.models import load_model
    from costlab.tracing._profile import profile

    with working(f"checking {model}"):
        loaded = load_model(network.spec(model))
        traced = profile(loaded.model, loaded.inputs, **loaded.origin)
        result = compare_counters(loaded.model, loaded.inputs.args, loaded.inputs.kwargs, traced)
        written = compare_activations(traced, result.readings, result.differences)
    column = count_like(traced, convention) if convention else None
    put(report_in(form, output, report, result, written, column), output)
    typer.echo(report.verdict(result, written), err=True)
    return FINDINGS if result.unexplained or written.unexplained else 0
