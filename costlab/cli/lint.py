"""`costlab lint [MODEL...]`: which guidelines and budgets networks keep, and what each place that breaks one costs."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.options import MODEL_HELP, Arguments, Batch, Dtype, Fusion, Inputs, NoCache, Resolution, parsed
from costlab.cli.screen import console_for, drawn, put
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.ci.lint_run import LintRun, ModelLint


class Level(StrEnum):
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    GITLAB = "gitlab"
    JUNIT = "junit"
    SARIF = "sarif"
    MARKDOWN = "markdown"


def lint(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help=f"The name of a model of the configuration, or: {MODEL_HELP} By default every model of the"
            " configuration.",
            show_default=False,
        ),
    ] = None,
    argument: Arguments = None,
    inputs: Inputs = None,
    batch: Batch = None,
    resolution: Resolution = None,
    dtype: Dtype = None,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", metavar="RULES", help="Only these guidelines: G1,G2 or names (repeatable)."),
    ] = None,
    extend_select: Annotated[
        list[str] | None,
        typer.Option("--extend-select", metavar="RULES", help="These guidelines besides (repeatable)."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="RULES", help="All guidelines but these (repeatable).")
    ] = None,
    fusion: Annotated[
        Fusion | None,
        typer.Option(
            help="What counts, and runs, as one operator: batch norm folded (bn, the default), element-wise ones joined"
            " as well."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="NAME", help="Price findings in seconds on this device, too, and sort them by it."
        ),
    ] = None,
    fail_level: Annotated[
        Level | None, typer.Option(help="Exit 1 from this severity on; by default from warnings on.")
    ] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 also where there are findings.")] = False,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Leave out the findings that are listed in FILE.")
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="List the findings of today in FILE, and leave them out.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read [tool.costlab] there, not in the nearest pyproject.toml."),
    ] = None,
    isolated: Annotated[bool, typer.Option("--isolated", help="Read no configuration.")] = False,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Show how many findings of which rule instead of the findings.")
    ] = False,
    top: Annotated[
        int, typer.Option(metavar="N", help="Findings to show of a model as text or markdown; 0 for all of them.")
    ] = 20,
    form: Annotated[
        Format, typer.Option("--format", help="How to write it; text and markdown alone leave out findings.")
    ] = Format.TEXT,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            "--output",
            metavar="[FORMAT=]FILE",
            help="Write to FILE instead of stdout; with FORMAT= that format to FILE besides (repeatable).",
        ),
    ] = None,
    no_cache: NoCache = False,
) -> int:
    """Check networks against guidelines and budgets; exit 1 where a finding is severe, 2 where one cannot be linted."""
    from costlab.ci import configuration
    from costlab.ci.lint_run import run_lint
    from costlab.cli import Wishes, one_line
    from costlab.cli.jobs import jobs_of, load
    from costlab.formatting.facts import title
    from costlab.reports.findings import verdict_line

    if top < 0:
        raise CostlabError(f"--top is a number of findings, 0 or more; {top} is not")
    if config and isolated:
        raise CostlabError("--config and --isolated contradict each other")
    destinations = parsed_outputs(form, output or ())
    path = None if isolated else config or configuration.find(Path())
    found = configuration.read(path) if path else None
    asked = {
        "select": names(select),
        "extend-select": names(extend_select),
        "ignore": names(ignore),
        "fusion": fusion and fusion.value,
        "fail-level": fail_level and fail_level.value,
        "device": device,
    }
    settings = configuration.merged(found.settings.lint if found else configuration.LintConfig(), asked)
    given = {
        "arguments": parsed(argument),
        "input": inputs or [],
        "batch": batch,
        "resolution": resolution,
        "dtype": dtype,
    }
    jobs = jobs_of(models or (), found, given)
    show_traceback = context.find_object(Wishes).traceback  # type: ignore[union-attr]

    def describe(error: Exception) -> str:
        if show_traceback:
            traceback.print_exc()
        return one_line(error)

    outcome = run_lint(jobs, lambda model: load(model, not no_cache), settings, title=title, describe=describe)
    if baseline or write_baseline:
        outcome = with_baseline(outcome, baseline, write_baseline, every_model=not models)
    for form, path in destinations:
        put(rendered(outcome, form, top or None, statistics, path), path)
    for each in outcome.models:
        line = verdict_line(each.result, each.accepted)
        typer.echo(line if len(outcome.models) == 1 else prefixed(each, line), err=True)
    if any(each.result.failed for each in outcome.models):
        return 2
    return int(not exit_zero and any(map(outcome.fails, outcome.findings)))


def names(given: Sequence[str] | None) -> list[str] | None:
    """`--select G1,G2 --select G4` as names of guidelines."""
    return None if given is None else [name for text in given for name in text.split(",")]


def parsed_outputs(form: Format, given: Sequence[str]) -> list[tuple[Format, Path | None]]:
    """What to write where: `FORMAT=FILE` besides, a plain FILE instead of stdout (None)."""
    formats = [f.value for f in Format]
    plain: list[tuple[Format, Path | None]] = []
    besides: list[tuple[Format, Path | None]] = []
    for text in given:
        name, equals, path = text.partition("=")
        if not equals:
            plain.append((form, Path(text)))
        elif name in formats and path:
            besides.append((Format(name), Path(path)))
        else:
            close = difflib.get_close_matches(name, formats, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(formats)}"
            raise CostlabError(f"--output {text}: no format {name!r} with a file; {hint}")
    if len(plain) > 1:
        raise CostlabError(f"--output {plain[1][1]}: {plain[0][1]} has the {form} report; FORMAT=FILE writes others")
    destinations = [*(plain or [(form, None)]), *besides]
    files = [path.resolve() for _, path in destinations if path and (path.is_file() or not path.exists())]
    twice = next((path for path in files if files.count(path) > 1), None)
    if twice:
        raise CostlabError(f"--output {twice}: two reports cannot go to one file")
    return destinations


def with_baseline(outcome: LintRun, old: Path | None, new: Path | None, every_model: bool) -> LintRun:
    """Leave out what a baseline accepts, after it was written where that is wanted; say on stderr what is stale."""
    from costlab.ci import baseline as baselines
    from costlab.formatting.escaping import visible

    if new:
        before = baselines.read(new) if new.exists() else ()
        accepted = baselines.renewed(outcome, before, every_model)
        baselines.write(new, accepted)
        return baselines.apply(outcome, accepted, every_model)
    accepted = baselines.read(old) if old else ()
    outcome = baselines.apply(outcome, accepted, every_model)
    if outcome.stale:
        listed = ", ".join(f"{k.model} {k.rule} {k.module or '(root)'}" for k in outcome.stale[:3])
        more = f" and {len(outcome.stale) - 3} more" if len(outcome.stale) > 3 else ""
        line = f"stale in {old}, no longer found: {listed}{more}; --write-baseline {old} drops them"
        typer.echo(visible(line), err=True)
    return outcome


def rendered(outcome: LintRun, form: Format, top: int | None, statistics: bool, path: Path | None) -> str:
    """The report in one of the formats."""
    from costlab.reports import github, gitlab, junit, lint_json, lint_markdown, lint_text, sarif

    if form is Format.JSON:
        return lint_json.report(outcome)
    if form is Format.MARKDOWN:
        return lint_markdown.report(outcome, top, statistics)
    if form is Format.GITLAB:
        return gitlab.report(outcome)
    if form is Format.JUNIT:
        return junit.report(outcome)
    if form is Format.SARIF:
        return sarif.report(outcome)
    console = console_for(path)
    shown = None if form is Format.GITHUB else top
    text = drawn(console, lint_text.report(outcome, shown, console.width, console.options.ascii_only, statistics))
    return github.report(outcome, text) if form is Format.GITHUB else text


def prefixed(linted: ModelLint, line: str) -> str:
    """One line of several models."""
    from costlab.formatting.escaping import visible

    if linted.result.failed:
        return line.replace("error: ", f"error: {visible(linted.result.model)}: ", 1)
    return f"{visible(linted.result.model)}: {line}"
