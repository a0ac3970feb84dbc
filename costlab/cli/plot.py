"""`costlab plot KIND MODEL`: a picture of a profile, of several, or of a table."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from costlab.cli.options import MODEL_HELP, ExecutionOptions, NoCache, TracedModelOptions, argument, option, spec_to_run
from costlab.cli.screen import check_picture, working
from costlab.errors import CostlabError

Kind = Literal[
    "breakdown",
    "stages",
    "treemap",
    "memory",
    "guidelines",
    "graph",
    "roofline",
    "pareto",
    "distribution",
    "predicted-vs-measured",
]
KINDS: tuple[str, ...] = get_args(Kind)
OF_ROWS = ("pareto", "distribution")  # take several MODELs, or the rows of tables
OF_MANY = (*OF_ROWS, "predicted-vs-measured")
TABLES = (".csv", ".jsonl", ".parquet")
DPI = 150  # of a png: sharp in print at the size of a notebook
SETTINGS: Any = {"svg.hashsalt": "costlab", "pdf.fonttype": 42}  # the same file each time; searchable text in a pdf
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class PlotOptions:
    """The options of one kind of plot or another, by the names of the plots' arguments."""

    module: Annotated[str | None, option("Draw this module only (graph). Default: the whole network.", "PATH")] = None
    cost: Annotated[str | None, option("Show mult_adds, params, memory_access, ... (graph and treemap).", "COST")] = (
        None
    )
    x: Annotated[str | None, option("Set the x axis (pareto, distribution): mult_adds, ...", "COLUMN", "-x")] = None
    y: Annotated[str | None, option("Set the y axis (pareto): params, ...", "COLUMN", "-y")] = None
    larger: Annotated[list[str] | None, option("Prefer large values of this axis (repeatable).", "COLUMN")] = None


def plot(
    kind: Annotated[Kind, argument(f"One of {', '.join(KINDS)}.", "KIND")],
    model: Annotated[
        list[str],
        argument(
            f"{MODEL_HELP} pareto and distribution take several, or tables (.csv, .jsonl, .parquet);"
            " predicted-vs-measured takes a table.",
            "MODEL...",
        ),
    ],
    output: Annotated[Path, option("Write to FILE: .png, .svg or .pdf.", "FILE", "-o", "--output")],
    network: TracedModelOptions,
    execution: ExecutionOptions,
    options: PlotOptions,
    no_cache: NoCache = False,
) -> None:
    """Plot the costs of a MODEL, of several MODELs (pareto, distribution), or of the rows of a table."""
    from costlab import plots
    from costlab.models import profile_of
    from costlab.plots.network_rows import read_rows

    draw = getattr(plots, kind.replace("-", "_"))
    traced_amp = execution.amp and network.mode == "step"
    arguments = plot_arguments(kind, draw, replace(execution, amp=execution.amp and not traced_amp), options)
    check_picture(output)
    if kind not in OF_ROWS and len(model) > 1:
        raise CostlabError(f"{kind} takes one MODEL, got {len(model)}")
    tables = [target for target in model if is_table(kind, target)]
    if len(tables) == len(model):
        check_unused(network, execution)
    subjects: list[Any] = []
    for target in model:
        if target in tables:
            subjects += read_rows(target)
            continue
        spec = spec_to_run(target, network, execution)
        with working(f"tracing {target}"):
            subjects.append(profile_of(spec, cached=not no_cache))
    with working("drawing"):
        save(lambda: draw(subjects if kind in OF_MANY else subjects[0], **arguments), output)


def plot_arguments(kind: str, draw: Any, execution: ExecutionOptions, options: PlotOptions) -> dict[str, Any]:
    """The options as arguments of a plot. Raises CostlabError if one does not go with this kind, or is missing."""
    from costlab.core.metrics import sortable_metric
    from costlab.latency.devices import find_device

    running = {key: getattr(execution, key) for key in ("device", "amp", "channels_last")}
    asked = {**vars(options), **running, "fusion": None if execution.fusion == "none" else execution.fusion}
    arguments = {name: value for name, value in asked.items() if value}
    accepted = inspect.signature(draw).parameters
    for name in arguments:
        if name not in accepted:
            raise CostlabError(f"{spelling(name)} does not go with {kind}")
    if "device" in arguments:
        arguments["device"] = find_device(arguments["device"])
    elif "device" in accepted and accepted["device"].default is inspect.Parameter.empty:
        raise CostlabError(f"{kind} needs --device (`costlab devices` lists them)")
    elif {"fusion", "amp", "channels_last"} & arguments.keys():
        raise CostlabError("--fusion, --amp and --channels-last need a prediction: name a --device")
    if options.cost is not None:
        sortable_metric(options.cost)
    return arguments


def check_unused(network: TracedModelOptions, execution: ExecutionOptions) -> None:
    """Raise CostlabError for options of a MODEL, where there are only tables."""
    mode = None if network.mode == "eval" else network.mode
    for name, value in {**vars(network), "mode": mode, "device": execution.device}.items():
        if value:
            raise CostlabError(
                f"{spelling({'inputs': 'input'}.get(name, name))} needs a MODEL, but there are only tables"
            )


def is_table(kind: str, target: str) -> bool:
    """Whether a target is a file of rows; a .json file is one only for predicted-vs-measured."""
    return kind == "predicted-vs-measured" or (kind in OF_ROWS and target.lower().endswith(TABLES))


def spelling(name: str) -> str:
    """An option as it is typed."""
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def save(draw: Callable[[], Any], path: Path) -> None:
    """Draw without a screen, and write the picture completely or not at all."""
    import warnings

    import matplotlib
    from matplotlib import pyplot

    from costlab.core.files import atomic_write

    suffix = path.suffix.lower()
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as a box
        pyplot.switch_backend("agg")
        figure = draw().figure
        try:
            with atomic_write(path) as file:
                figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=UNDATED.get(suffix))
        finally:
            pyplot.close(figure)
