"""`costlab compare BASE HEAD`: what a change costs, with conditions that it must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from costlab.cli.exits import FAILED, FINDINGS, one_line
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
    spec_to_run,
)
from costlab.cli.screen import put, render, working
from costlab.errors import CostlabError
from costlab.formatting.escaping import visible

if TYPE_CHECKING:
    from rich.console import Group

    from costlab.comparison import Comparison
    from costlab.core.conditions import Criterion
    from costlab.core.profile import Profile
    from costlab.latency.execution import ExecutionConfig
    from costlab.reports.comparison import ConditionResult


class Pair(NamedTuple):
    """Two profiles to compare, and the conditions on them; each must not be true, or must be."""

    base: Profile
    head: Profile
    conditions: Sequence[tuple[Criterion, bool]]


def compare(
    network: TracedModelOptions,
    execution: ExecutionOptions,
    models: Annotated[
        list[str] | None,
        argument(
            f"BASE and HEAD; with --against any number, default: every model in the configuration. {MODEL_HELP}",
            "MODEL",
        ),
    ] = None,
    against: Annotated[
        str | None, option("Compare each MODEL with itself at another revision: main, v1.2, HEAD~1.", "REV")
    ] = None,
    base_argument: Annotated[list[str] | None, option("Pass an argument to BASE only.", "KEY=VALUE")] = None,
    head_argument: Annotated[list[str] | None, option("Pass an argument to HEAD only.", "KEY=VALUE")] = None,
    fail_on: Annotated[list[str] | None, option("Exit 1 if true: mult_adds>+1% (repeatable).", "CONDITION")] = None,
    budget: Annotated[list[str] | None, option("Exit 1 unless true: params<=3.5M (repeatable).", "CONDITION")] = None,
    top: Annotated[int, option("Show the N modules that changed most; 0 for all.", "N")] = 30,
    form: Format = "text",
    output: Output = None,
    no_cache: NoCache = False,
) -> int:
    """Compare the costs of two models, or of models with themselves at another revision, module by module."""
    from costlab.core.conditions import parse_criterion
    from costlab.reports.comparison import verdict_lines

    failed: dict[str, str] = {}
    conditions = [(parse_criterion(text), True) for text in fail_on or ()]
    conditions += [(parse_criterion(text), False) for text in budget or ()]
    check_top(top)
    if against is None:
        if execution.device is None:
            check_untimed(execution, [each for each, _ in conditions])
        base, head = two_of(models or ())
        own = (base, base_argument), (head, head_argument)
        before, after = (profile_for(network, execution, *each, cached=not no_cache) for each in own)
        pairs = [Pair(before, after, conditions)]
        config = execution.config(traced_amp=network.mode == "step")
    else:
        pairs, config, failed = pairs_against(against, models or (), network, execution, conditions, not no_cache)
    compared = [comparison_of(pair, execution, config) for pair in pairs]
    put(page_of(compared, against, failed, form, output, top or None), output)
    results = [result for _, results in compared for result in results]
    broken = sum(each.broken for each in results)
    if against is not None:
        typer.echo("\n".join(verdict_lines(compared, list(failed))), err=True)
    elif broken:
        typer.echo(f"{broken} of {len(results)} conditions broken", err=True)
    return FAILED if failed else FINDINGS if broken else 0


def two_of(models: Sequence[str]) -> tuple[str, str]:
    """BASE and HEAD. Raises CostlabError if there are not two."""
    if len(models) != 2:
        count = "none" if not models else len(models)
        raise CostlabError(f"compare takes BASE and HEAD, got {count}; for another revision add --against REV")
    return models[0], models[1]


def profile_for(
    network: TracedModelOptions, execution: ExecutionOptions, target: str, own: Sequence[str] | None, cached: bool
) -> Profile:
    """The profile of one side, with its own arguments."""
    from costlab.models import ModelSpec, profile_of

    spec = spec_to_run(target, network, execution, own)
    if spec.is_saved_profile:
        spec = ModelSpec(target, parse_arguments(own))  # the other options are for the model beside it
    with working(f"tracing {target}"):
        return profile_of(spec, cached=cached)


def pairs_against(
    revision: str,
    models: Sequence[str],
    network: TracedModelOptions,
    execution: ExecutionOptions,
    conditions: Sequence[tuple[Criterion, bool]],
    cached: bool,
) -> tuple[list[Pair], ExecutionConfig | None, dict[str, str]]:
    """Models with themselves at a revision, with their configured budgets, what to predict for, and what failed.

    A model that the revision does not have is named on stderr and left out; so is one that cannot be analysed now.

    Returns:
        The pairs, the configuration of the prediction, and why models could not be analysed, by name.

    Raises:
        CostlabError: unknown revision.
    """
    from costlab.ci import configuration
    from costlab.ci.lint_run import lint_jobs
    from costlab.cli.against import bases_of, head_of
    from costlab.cli.lint import given
    from costlab.core.conditions import parse_criterion

    path = configuration.find(Path())
    file = configuration.read(path) if path else None
    jobs = lint_jobs(models, file, given(network, execution.amp))
    if execution.device is None and file:
        execution = replace(execution, device=file.settings.lint.device)
    before = bases_of(revision, jobs)
    pairs: list[Pair] = []
    failed: dict[str, str] = {}
    for job in jobs:
        base = before.get(job.model.name)
        if base is None:
            continue
        budgets = [parse_criterion(f"{key}<={amount}") for key, amount in job.model.budgets.items()]
        own = [*conditions, *((budget, False) for budget in budgets)]
        if execution.device is None:
            check_untimed(execution, [each for each, _ in own])
        try:
            pairs.append(Pair(base, head_of(job, cached), own))
        except CostlabError as error:
            failed[job.model.name] = one_line(error)
            typer.echo(visible(f"error: {job.model.name}: {failed[job.model.name]}"), err=True)
    return pairs, execution.config(traced_amp=network.mode == "step"), failed


def comparison_of(
    pair: Pair, execution: ExecutionOptions, config: ExecutionConfig | None
) -> tuple[Comparison, list[ConditionResult]]:
    """A comparison with the outcome of its conditions."""
    from costlab.comparison import compare as side_by_side

    compared = side_by_side(
        pair.base,
        pair.head,
        device=config.device if config else None,
        amp=execution.amp and pair.head.trace.step is None,
        fusion=execution.fusion,
        channels_last=execution.channels_last,
    )
    return compared, [verdict(compared, each, forbidden) for each, forbidden in pair.conditions]


def page_of(
    compared: Sequence[tuple[Comparison, Sequence[ConditionResult]]],
    against: str | None,
    failed: Mapping[str, str],
    form: str,
    output: Path | None,
    top: int | None,
) -> str:
    """The comparisons in one of the formats."""
    from costlab.reports import comparison as report

    def text(width: int, ascii_only: bool) -> Group:
        from rich.console import Group
        from rich.text import Text

        pages = [report.text(each, results, top, width, ascii_only, against) for each, results in compared]
        return Group(*(part for number, page in enumerate(pages) for part in ([Text()] * bool(number) + [page])))

    def json_text() -> str:
        documents = [report.document(each, results) for each, results in compared]
        return documents[0] if against is None else report.documents_against(against, documents)

    def markdown() -> str:
        pages = [report.markdown(each, results, top, against) for each, results in compared]
        return pages[0] if against is None else report.comment(against, pages, compared, failed)

    return render(form, output, text=text, json=json_text, markdown=markdown)


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
