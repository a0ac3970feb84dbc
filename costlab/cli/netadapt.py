"""The part of `costlab rewrite --with netadapt` that the other rewrites do not have: steps, functions and a journal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from costlab.cli.options import ExecutionOptions, option
from costlab.errors import CostlabError
from costlab.formatting.progress import progress

if TYPE_CHECKING:
    from costlab.models import Loaded
    from costlab.rewrite.adaptation.result import Adaptation, AdaptationStep


@dataclass(frozen=True)
class AdaptOptions:
    """How far NetAdapt goes, in which steps, and what it asks of the user's code."""

    target_latency: Annotated[
        str | None, option("netadapt: fall to this predicted latency on --device: 0.5x or 3ms.", "TARGET")
    ] = None
    target_params: Annotated[str | None, option("netadapt: fall to these parameters: 0.5x or 2M.", "TARGET")] = None
    target_peak_memory: Annotated[
        str | None, option("netadapt: fall to this peak of activations: 0.5x or 8MB.", "TARGET")
    ] = None
    multiple: Annotated[
        int | None, option("netadapt: leave channels in multiples of N.", "N", min=1, show_default="8")
    ] = None
    step: Annotated[
        float | None, option("netadapt: save this part in the first step.", "PART", show_default="0.02")
    ] = None
    evaluate: Annotated[
        str | None, option("netadapt: compare proposals by this function: network to accuracy.", "FILE.py:NAME")
    ] = None
    finetune: Annotated[
        str | None,
        option(
            "netadapt: train after each step and at the end: function of network, and whether last.", "FILE.py:NAME"
        ),
    ] = None
    journal: Annotated[
        Path | None, option("netadapt: save steps to FILE, and continue from it. Default: beside the output.", "FILE")
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}


def adapted(
    loaded: Loaded,
    options: AdaptOptions,
    execution: ExecutionOptions,
    target_mult_adds: str | None,
    layers: dict[str, Any],
    output: Path | None,
    seed: int,
) -> Adaptation | None:
    """Run NetAdapt, and save the network to a file if there is one. None if Ctrl-C ends it."""
    from costlab import rewrite as rewrites
    from costlab.models.providers.user_code import find_factory
    from costlab.rewrite._output_error import random_inputs
    from costlab.rewrite.files import save

    given = options.given
    functions: dict[str, Any] = {
        name: function_named(find_factory, given.pop(name, None)) for name in ("evaluate", "finetune")
    }
    journal = given.pop("journal", None) or (output and output.with_suffix(".journal.jsonl"))
    config = execution.config()
    if config is not None:
        given |= {"device": config.device, "amp": config.amp, "fusion": config.fusion}
        given["channels_last"] = config.channels_last
    try:
        with progress_bar() as show:
            result = rewrites.netadapt(
                loaded.model,
                loaded.inputs,
                target_mult_adds=target_mult_adds,
                journal=journal,
                progress=show,
                **functions,
                **given,
                **layers,
                **loaded.origin,
            )
            if output is not None:
                save(result.model, output, *random_inputs((loaded.inputs.args, loaded.inputs.kwargs), seed))
    except KeyboardInterrupt:
        kept = f"the steps so far are in {journal}; run the same command again to continue"
        typer.echo(f"interrupted: {kept if journal else 'nothing is saved without --output or --journal'}", err=True)
        return None
    return result.adaptation


def function_named(find: Callable[[str], Any], reference: str | None) -> Callable[..., Any] | None:
    """The user's function. Raises CostlabError if it is none."""
    if reference is None:
        return None
    if ":" not in reference:
        raise CostlabError(f"{reference!r} names no function: write FILE.py:NAME")
    function = find(reference)
    if not callable(function):
        raise CostlabError(f"{reference} is a {type(function).__name__}, not a function")
    found: Callable[..., Any] = function
    return found


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[AdaptationStep, float], None]]:
    """A bar with the last step and the remaining time."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from costlab.formatting.escaping import visible

    last = TextColumn("{task.description}", markup=False)
    with progress(BarColumn(), TaskProgressColumn(), last, TimeRemainingColumn(elapsed_when_finished=True)) as bar, bar:
        task = bar.add_task("the first step", total=1.0)

        def show(step: AdaptationStep, part: float) -> None:
            accuracy = "" if step.accuracy is None else f", accuracy {step.accuracy:.4g}"
            what = f"step {step.number}: {step.proposal.group} to {step.proposal.channels} channels{accuracy}"
            bar.update(task, completed=part, description=visible(what))

        yield show
