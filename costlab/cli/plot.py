"""`costlab plot KIND MODEL`: a picture of a profile."""

from __future__ import annotations

import inspect
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from costlab.cli.options import Arguments, Batch, Dtype, Inputs, Model, Resolution, Train, parsed
from costlab.cli.screen import working
from costlab.errors import CostlabError


class Kind(StrEnum):
    BREAKDOWN = "breakdown"
    STAGES = "stages"
    TREEMAP = "treemap"
    MEMORY = "memory"
    GUIDELINES = "guidelines"
    GRAPH = "graph"


FORMATS = (".png", ".svg", ".pdf")
DPI = 150  # of a png: sharp in print at the size of a notebook
SETTINGS: Any = {
    "svg.hashsalt": "costlab",
    "pdf.fonttype": 42,
}  # the same file each time; in a pdf, words to search for
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def plot(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of {', '.join(Kind)}.", show_default=False)],
    model: Model,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write it: .png, .svg or .pdf.")
    ],
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    train: Train = False,
    module: Annotated[
        str | None, typer.Option(metavar="PATH", help="The module to draw, for graph; by default the whole network.")
    ] = None,
    cost: Annotated[
        str | None, typer.Option(metavar="COST", help="mult_adds, params, memory_access, ..., for graph and treemap.")
    ] = None,
) -> None:
    """Draw what MODEL costs."""
    from costlab import plots
    from costlab.loading import profile_of
    from costlab.reports.tables import cost_named

    draw = getattr(plots, kind.value)
    options = {name: value for name, value in (("module", module), ("cost", cost)) if value is not None}
    for name in options:
        if name not in inspect.signature(draw).parameters:
            raise CostlabError(f"--{name} does not go with {kind.value}")
    if cost is not None:
        cost_named(cost)
    if output.suffix.lower() not in FORMATS:
        raise CostlabError(f"{output} is no picture that costlab writes: give a name in {', '.join(FORMATS)}")
    with working(f"tracing {model}"):
        profile = profile_of(
            model, parsed(argument), inputs=inputs or (), batch=batch, resolution=resolution, dtype=dtype, train=train
        )
    with working("drawing"):
        save(lambda: draw(profile, **options), output)


def save(draw: Any, path: Path) -> None:
    """Draw without a screen, and write the picture whole or not at all."""
    import warnings

    import matplotlib
    from matplotlib import pyplot

    from costlab.saving import whole

    suffix = path.suffix.lower()
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands in its place
        pyplot.switch_backend("agg")
        figure = draw().figure
        try:
            with whole(path) as file:
                figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=UNDATED.get(suffix))
        finally:
            pyplot.close(figure)
