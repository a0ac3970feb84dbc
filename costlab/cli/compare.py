"""`costlab compare BASE HEAD`: what a change costs, with conditions that it must keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.exits import FINDINGS
from costlab.cli.options import (
    MODEL_HELP,
    ExecutionOptions,
    Format,
    NoCache,
    Output,
    TracedModelOptions,
    argument,
    check_top,
    option,
    parse_arguments,
)
from costlab.cli.screen import put, render, working
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.comparison import Comparison
    from costlab.core.conditions import Criterion
    from costlab.reports.comparison import ConditionResult


def compare(
    base: Annotated[str, argument(MODEL_HELP, "BASE")],
    head: Annotated[str, argument("The MODEL after the change.", "HEAD")],
    network: TracedModelOptions,
    execution: ExecutionOptions,
    base_argument: Annotated[list[str] | None, option("Pass an argument to BASE only.", "KEY=VALUE")] = None,
    head_argument: Annotated[list[str] | None, option("Pass an argument to HEAD only.", "KEY=VALUE")] = None,
    fail_on: Annotated[list[str] | None, option("Exit 1 if true: mult_adds>+1% (repeatable).", "CONDITION")] = None,
    budget: Annotated[list[str] | None, option("Exit 1 unless true: params<=3.5M (repeatable).", "CONDITION")] = None,
    top: Annotated[int, option("Show the N modules that changed most; 0 for all.", "N")] = 30,
    form: Format = "text",
    output: Output = None,
    no_cache: NoCache = False,
) -> int:
    """Compare the costs of two models, module by module."""
    from costlab.comparison import compare as side_by_side
    from costlab.core.conditions import parse_criterion
    from costlab.models import ModelSpec, profile_of
    from costlab.reports import comparison as report

    conditions = [(parse_criterion(text), True) for text in fail_on or ()]
    conditions += [(parse_criterion(text), False) for text in budget or ()]
    if execution.device is None:
        check_untimed(execution, [each for each, _ in conditions])
    check_top(top)
    config = execution.config()
    profiles = []
    for target, own in ((base, base_argument), (head, head_argument)):
        spec = network.spec(target, own)
        if spec.is_saved_profile:
            spec = ModelSpec(target, parse_arguments(own))  # the other options are for the model beside it
        with working(f"tracing {target}"):
            profiles.append(profile_of(spec, cached=not no_cache))
    compared = side_by_side(
        *profiles,
        device=config.device if config else None,
        amp=execution.amp,
        fusion=execution.fusion,
        channels_last=execution.channels_last,
    )
    verdicts = [verdict(compared, each, forbidden) for each, forbidden in conditions]
    rows = top or None
    page = render(
        form,
        output,
        text=lambda width, ascii_only: report.text(compared, verdicts, rows, width, ascii_only),
        json=lambda: report.document(compared, verdicts),
        markdown=lambda: report.markdown(compared, verdicts, rows),
    )
    put(page, output)
    broken = sum(each.broken for each in verdicts)
    if broken:
        typer.echo(f"{broken} of {len(verdicts)} conditions broken", err=True)
    return FINDINGS if broken else 0


def check_untimed(execution: ExecutionOptions, conditions: Sequence[Criterion]) -> None:
    """Raise CostlabError if an option or a condition needs a prediction, and no device is given."""
    from costlab.core.metrics import PREDICTED

    asked = {"--amp": execution.amp, "--channels-last": execution.channels_last, "--fusion": execution.fusion != "none"}
    needs = [option for option, value in asked.items() if value]
    needs += [condition.text for condition in conditions if condition.key == PREDICTED]
    if needs:
        raise CostlabError(f"{needs[0]} needs a prediction: name a --device")


def verdict(compared: Comparison, condition: Criterion, forbidden: bool) -> ConditionResult:
    """Whether a comparison breaks a condition, which must not be true if it is `forbidden`, and else must be."""
    from costlab.reports.comparison import ConditionResult

    before, after = compared.totals(condition.key)
    broken = condition.holds(after, before or 0) is forbidden
    return ConditionResult(condition, forbidden, broken, tuple(compared.grown(condition.key)))
