"""`costlab plot KIND MODEL`: a picture of a profile, of several, or of a table."""

from __future__ import annotations

import inspect
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

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
from costlab.cli.screen import working
from costlab.errors import CostlabError

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help=f"{MODEL_HELP} For pareto and distribution several, or a table (.csv, .jsonl, .parquet); for"
        " predicted-vs-measured a table.",
        show_default=False,
    ),
]


class Kind(StrEnum):
    BREAKDOWN = "breakdown"
    STAGES = "stages"
    TREEMAP = "treemap"
    MEMORY = "memory"
    GUIDELINES = "guidelines"
    GRAPH = "graph"
    ROOFLINE = "roofline"
    PARETO = "pareto"
    DISTRIBUTION = "distribution"
    PREDICTED_VS_MEASURED = "predicted-vs-measured"


SWEPT = (Kind.PARETO, Kind.DISTRIBUTION)  # of several MODELs, or of the rows of a table
OF_MANY = (*SWEPT, Kind.PREDICTED_VS_MEASURED)
FILES = (".csv", ".jsonl", ".parquet")
FORMATS = (".png", ".svg", ".pdf")
DPI = 150  # of a png: sharp in print at the size of a notebook
SETTINGS: Any = {
    "svg.hashsalt": "costlab",
    "pdf.fonttype": 42,
}  # the same file each time; in a pdf, words to search for
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def plot(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of {', '.join(Kind)}.", show_default=False)],
    model: Models,
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
    device: Target = None,
    fusion: Annotated[Fusion | None, typer.Option(help="What counts as one operator, where there is a device.")] = None,
    amp: Amp = False,
    channels_last: ChannelsLast = False,
    x: Annotated[
        str | None, typer.Option("-x", metavar="COLUMN", help="Across, for pareto and distribution: mult_adds, ...")
    ] = None,
    y: Annotated[str | None, typer.Option("-y", metavar="COLUMN", help="Upwards, for pareto: params, ...")] = None,
    larger: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="One of the two of which more is better (repeatable).")
    ] = None,
    no_cache: NoCache = False,
) -> None:
    """Draw what MODEL costs, several MODELs beside one another (pareto), or the rows of a table (FILE)."""
    from costlab import plots
    from costlab.core.metrics import sort_key
    from costlab.latency.devices import find_device
    from costlab.models import ModelSpec, profile_of
    from costlab.plots.rows import read_rows

    draw = getattr(plots, kind.replace("-", "_"))
    asked = {
        "module": module,
        "cost": cost,
        "device": device,
        "fusion": fusion and fusion.value,
        "amp": amp or None,
        "channels_last": channels_last or None,
        "x": x,
        "y": y,
        "larger": larger,
    }
    options: dict[str, Any] = {name: value for name, value in asked.items() if value}
    takes = inspect.signature(draw).parameters
    for name in options:
        if name not in takes:
            raise CostlabError(f"{option(name)} does not go with {kind}")
    if device is None and "device" in takes and takes["device"].default is inspect.Parameter.empty:
        raise CostlabError(f"{kind} is of a device: name one with --device (`costlab devices` lists them)")
    if device is None and {"fusion", "amp", "channels_last"} & options.keys():
        raise CostlabError("--fusion, --amp and --channels-last go with a prediction: name a --device")
    if device is not None:
        options["device"] = find_device(device)
    if cost is not None:
        sort_key(cost)
    if output.suffix.lower() not in FORMATS:
        raise CostlabError(f"{output} is no picture that costlab writes: give a name in {', '.join(FORMATS)}")
    if kind not in SWEPT and len(model) > 1:
        raise CostlabError(f"{kind} is of one MODEL; {len(model)} are given")
    tables = [target for target in model if is_table(kind, target)]
    given: dict[str, Any] = {"inputs": inputs, "batch": batch, "resolution": resolution, "dtype": dtype, "train": train}
    if len(tables) == len(model):
        unused = [name for name, value in {"argument": argument, **given, "device": device}.items() if value]
        if unused:
            raise CostlabError(f"{option(unused[0].removesuffix('s'))} goes with a MODEL, and there are tables alone")
    drawn: list[Any] = []
    for target in model:
        if target in tables:
            drawn += read_rows(target)
            continue
        with working(f"tracing {target}"):
            spec = ModelSpec(
                target,
                parsed(argument),
                tuple(inputs or ()),
                batch,
                resolution,
                dtype,
                "train" if train else "eval",
            )
            drawn.append(profile_of(spec, cached=not no_cache))
    with working("drawing"):
        save(lambda: draw(drawn if kind in OF_MANY else drawn[0], **options), output)


def is_table(kind: Kind, target: str) -> bool:
    """Whether a target is a file of rows; a .json is one for predicted-vs-measured alone, else a saved profile."""
    return kind is Kind.PREDICTED_VS_MEASURED or (kind in SWEPT and target.lower().endswith(FILES))


def option(name: str) -> str:
    """How an option is written."""
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def save(draw: Any, path: Path) -> None:
    """Draw without a screen, and write the picture whole or not at all."""
    import warnings

    import matplotlib
    from matplotlib import pyplot

    from costlab.core.files import atomic_write

    suffix = path.suffix.lower()
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands in its place
        pyplot.switch_backend("agg")
        figure = draw().figure
        try:
            with atomic_write(path) as file:
                figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=UNDATED.get(suffix))
        finally:
            pyplot.close(figure)
