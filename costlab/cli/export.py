"""`costlab export MODEL --to FORMAT`: a profile for other programs' viewers."""

from pathlib import Path
from typing import Annotated, Literal

from costlab.cli.options import ExecutionOptions, Model, NoCache, Output, TracedModelOptions, option
from costlab.cli.report import predicted
from costlab.cli.screen import put, working
from costlab.errors import CostlabError

ViewerFormat = Literal["model-explorer", "model-explorer-data", "graphml", "dot", "perfetto"]


def export(
    model: Model,
    to: Annotated[ViewerFormat, option("Set the format; model-explorer-data colours the nodes of model-explorer.")],
    network: TracedModelOptions,
    execution: ExecutionOptions,
    measured: Annotated[
        Path | None, option("Add the times that `costlab measure --format json` wrote.", "FILE", "--measured")
    ] = None,
    cost: Annotated[
        str | None,
        option("Show this in model-explorer-data and dot: mult_adds (the default), memory_access, ...", "COST"),
    ] = None,
    output: Output = None,
    no_cache: NoCache = False,
) -> None:
    """Export the costs of MODEL to a viewer: Model Explorer, Graphviz (dot), Gephi or yEd (graphml), Perfetto."""
    from costlab.exporters import export as export_profile
    from costlab.measurement.documents import read
    from costlab.measurement.result import Measurement
    from costlab.models import profile_of

    if cost is not None and to not in ("model-explorer-data", "dot"):
        raise CostlabError(f"--cost does not go with {to}, which contains all costs")
    if to == "perfetto" and execution.device is None and measured is None:
        raise CostlabError("a trace needs times: predict them for a --device, or read them with --measured FILE")
    if measured is not None and execution.fusion != "none":
        raise CostlabError("--measured needs --fusion none: operators were measured one by one")
    config = execution.config()
    measurement = read(measured, Measurement.from_json) if measured is not None else None
    spec = network.spec(model)
    with working(f"tracing {model}"):
        profile = profile_of(spec, cached=not no_cache)
    prediction = predicted(profile, config)
    if prediction is None:
        profile = profile.fused(execution.fusion)
    put(export_profile(profile, to, prediction=prediction, measurement=measurement, cost=cost or "mult_adds"), output)
