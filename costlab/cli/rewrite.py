"""`costlab rewrite MODEL --with RULE`: a cheaper network, its cost before and after, and what it loses."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costlab.cli.options import Arguments, Batch, Dtype, Inputs, Resolution, parsed
from costlab.cli.screen import console_for, drawn, put, working
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.reports import rewriting
from costlab.rewrite.result import RewriteComparison

if TYPE_CHECKING:
    import torch

    from costlab.models import Loaded


class Rule(StrEnum):
    DAC = "dac"
    DEPTHWISE_SEPARABLE = "depthwise-separable"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def rewrite(
    model: Annotated[
        str,
        typer.Argument(
            help="A model as `costlab report` takes it, save a saved profile or a .pt2.", show_default=False
        ),
    ],
    rule: Annotated[
        Rule,
        typer.Option(
            "--with",
            show_default=False,
            help="dac: decompose the weights that are there; depthwise-separable: replace them.",
        ),
    ],
    rank: Annotated[
        list[str] | None,
        typer.Option(
            "--rank",
            metavar="N|GLOB=N",
            help="dac: kernels for each input channel, of all layers or by module path (repeatable; the last counts).",
        ),
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option(metavar="E", help="dac: the smallest ranks with at most this relative weight error a layer."),
    ] = None,
    target_mult_adds: Annotated[
        str | None, typer.Option(metavar="PART", help="dac: ranks that leave this part of the mult-adds, as 0.5x.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="GLOB", help="Leave modules of this path (repeatable).")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="GLOB", help="Leave all others (repeatable).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where it costs more.")] = False,
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pt", help="Tensors to compare the outputs on, instead of random numbers."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of random weights and inputs.")] = 0,
    form: Annotated[Format, typer.Option("--format", help="How to write the report.")] = Format.TEXT,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Save the network: FILE.pt2, or FILE.pt for its weights."),
    ] = None,
) -> None:
    """Rewrite MODEL to cost less, and report what that saves and loses.

    A network that is named has random weights; your own code keeps those that it gives its network.
    """
    if model.endswith(".json") and not model.startswith("hf:"):
        raise CostlabError(f"{model} is a saved profile: only a network can be rewritten")
    if model.endswith(".pt2"):
        raise CostlabError(f"{model} is an exported program, its operators are fixed: rewrite the network it came from")
    ranks, arguments = parsed_ranks(rank), parsed(argument)
    far: dict[str, Any] = {"max_error": max_error, "target_mult_adds": target_mult_adds}
    if rule is not Rule.DAC and any(value is not None for value in (ranks, data, *far.values())):
        raise CostlabError(f"{rule} keeps no weights: --rank, --max-error, --target-mult-adds and --data go with dac")
    with working(f"rewriting {model}"):
        import torch

        from costlab.models import ModelSpec, load_model
        from costlab.rewrite import dac, depthwise_separable, output_error
        from costlab.rewrite._output_error import random_inputs
        from costlab.rewrite.files import check_destination, load_tensors, save

        if output is not None:
            check_destination(output)
        given = load_tensors(data) if data else None
        torch.manual_seed(seed)
        spec = ModelSpec(model, arguments, tuple(inputs or ()), batch, resolution, dtype)
        loaded = load_model(spec, weights=rule is Rule.DAC or output is not None)
        args, kwargs = random_inputs((loaded.inputs.args, loaded.inputs.kwargs), seed)
        layers: dict[str, Any] = {"skip": skip or (), "only": only or (), "force": force}
        error, compared_on = None, ""
        if rule is Rule.DAC:
            result = dac(loaded.model, ranks, inputs=loaded.inputs, **far, **layers)
            if given is not None:
                error, compared_on = output_error(loaded.model, result.model, given), f"inputs of {data}"
            else:
                try:
                    error = output_error(loaded.model, result.model, args, kwargs)
                    compared_on = f"random inputs, seed {seed}"
                except CostlabError as failure:  # some networks cannot run on noise
                    compared_on = str(failure)
        else:
            result = depthwise_separable(loaded.model, **layers)
        change = RewriteComparison(
            rule.value,
            result.layers,
            result.left,
            base=profiled(loaded, loaded.model),
            head=profiled(loaded, result.model),
            output_error=error,
            compared_on=compared_on,
        )
        if output is not None:
            save(result.model, output, args, kwargs)
    put(rendered(change, form), None)


def profiled(loaded: Loaded, model: torch.nn.Module) -> Profile:
    """What a network costs on the inputs that were loaded."""
    from costlab.tracing._profile import profile

    return profile(model, loaded.inputs, **loaded.origin)


def rendered(change: RewriteComparison, form: Format) -> str:
    """The report in one of the formats."""
    if form is Format.JSON:
        return rewriting.document(change)
    if form is Format.MARKDOWN:
        return rewriting.markdown(change)
    console = console_for(None)
    return drawn(console, rewriting.text(change, console.width, console.options.ascii_only))


def parsed_ranks(texts: Sequence[str] | None) -> int | dict[str, int] | None:
    """`5`, or numbers by glob: `features.*=5`. Raises CostlabError."""
    ranks: dict[str, int] = {}
    for text in texts or ():
        glob, _, number = text.rpartition("=")
        try:
            ranks[glob or "*"] = int(number)
        except ValueError:
            raise CostlabError(f"--rank {text!r}: write --rank 5, or --rank 'features.*=5'") from None
    return ranks["*"] if list(ranks) == ["*"] else ranks or None
