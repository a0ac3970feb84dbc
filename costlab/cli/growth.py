"""`costlab report MODEL --over batch=1,2,4`: how the costs of a network grow."""

from __future__ import annotations

from pathlib import Path

from costlab.cli.options import ExecutionOptions, TracedModelOptions, reject_saved_profile
from costlab.cli.screen import render, working
from costlab.errors import CostlabError


def growth_page(
    model: str, network: TracedModelOptions, execution: ExecutionOptions, over: str, form: str, output: Path | None
) -> str:
    """The report of a growth in one of its formats. Raises CostlabError."""
    from costlab.models import load_model
    from costlab.reports import growth as report
    from costlab.sweeps._scale import scale

    name, equals, values = over.partition("=")
    numbers = values.split(",")
    if not equals or not all(n.isdecimal() and len(n) < 10 for n in numbers):
        raise CostlabError(f"--over {over!r} is not a range: write --over batch=1,2,4, resolution=... or length=...")
    if form == "html":
        raise CostlabError("--over shows a table: use --format text, json, csv or markdown")
    reject_saved_profile(model, "traced at other sizes")
    execution.config()  # an option without the device that it needs is an error
    with working(f"tracing {model}"):
        loaded = load_model(network.spec(model))
        grown = scale(
            loaded.model,
            loaded.inputs,
            over={name: [int(n) for n in numbers]},
            device=execution.device,
            amp=execution.amp,
            fusion=execution.fusion,
            channels_last=execution.channels_last,
            name=loaded.name,
        )
    return render(
        form,
        output,
        text=lambda width, ascii_only: report.text(grown, width, ascii_only),
        json=lambda: report.document(grown),
        csv=lambda: report.csv(grown),
        markdown=lambda: report.markdown(grown),
    )
