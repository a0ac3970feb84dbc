"""`costlab choose`: pretrained networks inside budgets, by accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from costlab.cli.options import FORMAT, FUSION_HELP, Amp, ChannelsLast, Output, check_top, flag, option
from costlab.cli.screen import check_picture, counting, put, report_in
from costlab.core.graph import Fusion
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.choosing.result import Choice


def choose(
    device: Annotated[str, option("Predict for this device (`costlab devices` lists them).", "NAME")],
    budget: Annotated[
        list[str] | None, option("Only networks with latency<=2ms, params<=20M, ... (repeatable).", "CONDITION")
    ] = None,
    batch: Annotated[int, option("Set the number of images at a time; latency is of all of them.", "N")] = 1,
    amp: Amp = False,
    compiled: Annotated[bool, flag("--compile", "Predict for torch.compile.")] = False,
    fusion: Annotated[Fusion, option(FUSION_HELP)] = "none",
    channels_last: ChannelsLast = False,
    sort: Annotated[str, option("Sort by top1, top5, predicted_seconds, mult_adds, params, ...", "COLUMN")] = "top1",
    pattern: Annotated[
        str | None, option("Only networks whose name matches, such as 'mobilenet*'.", "PATTERN", "--filter")
    ] = None,
    margin: Annotated[float, option("Set how sure a budget of time is to hold, 0.5 to 0.99.", "P")] = 0.7,
    table: Annotated[Path | None, option("Choose from a CSV file with columns model, top1.", "FILE", "--from")] = None,
    top: Annotated[int, option("Show the N best; 0 for all.", "N")] = 20,
    form: Annotated[Literal["text", "json", "csv", "markdown"], FORMAT] = "text",
    output: Output = None,
    plot: Annotated[Path | None, option("Also plot accuracy over time: .png, .svg or .pdf.", "FILE")] = None,
) -> None:
    """Choose among timm's pretrained networks: the most accurate that meet budgets on a device.

    The first question traces all of them, which takes minutes; later ones take about a second.
    """
    from costlab.choosing._choose import choose as chosen
    from costlab.reports import choice as report

    check_top(top)
    check_picture(plot)
    if compiled and fusion not in ("none", "pointwise"):
        raise CostlabError(f"--compile fuses by itself: leave --fusion {fusion} out")
    with counting("tracing networks (once)") as show:
        choice = chosen(
            device=device,
            budgets=budget or (),
            batch=batch,
            amp=amp,
            fusion="pointwise" if compiled else fusion,
            channels_last=channels_last,
            sort=sort,
            filter=pattern,
            margin=margin,
            table=table,
            progress=show,
        )
    put(report_in(form, output, report, choice, top or None), output)
    if plot is not None:
        draw(choice, plot)


def draw(choice: Choice, path: Path) -> None:
    """Save a picture of all networks, the frontier named. Raises CostlabError."""
    from costlab import plots
    from costlab.cli.plot import save

    rows = [
        {"name": n.model, "predicted_seconds": n.predicted_seconds, "top1": n.top1}
        for n in (choice.networks or choice.considered)
    ]
    save(lambda: plots.pareto(rows, x="predicted_seconds", y="top1", larger=["top1"]), path)
