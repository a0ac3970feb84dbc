"""`costlab lint [MODEL...]`: the guidelines and budgets that networks break, and what each place costs."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from costlab.cli.exits import FAILED, FINDINGS, one_line
from costlab.cli.options import (
    COMPILE_HELP,
    FUSION_HELP,
    MODEL_HELP,
    NoCache,
    TracedModelOptions,
    argument,
    check_spelling,
    check_top,
    flag,
    option,
)
from costlab.cli.screen import put, render, working
from costlab.core.graph import Fusion
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from costlab.ci.configuration import ModelConfig
    from costlab.ci.lint_run import LintRun, ModelLint
    from costlab.core.profile import Profile

Format = Literal["text", "json", "github", "gitlab", "junit", "sarif", "markdown"]
FORMATS: tuple[str, ...] = get_args(Format)
Destination = tuple[str, Path | None]  # a format, and where it goes: None for stdout


@dataclass(frozen=True)
class RuleOptions:
    """What is checked and what fails the run, over the configuration."""

    select: Annotated[list[str] | None, option("Enable only these rules: G1,G2 or names (repeatable).", "RULES")] = None
    extend_select: Annotated[list[str] | None, option("Also enable these rules (repeatable).", "RULES")] = None
    ignore: Annotated[list[str] | None, option("Disable these rules (repeatable).", "RULES")] = None
    fusion: Annotated[
        Fusion | None, option(f"{FUSION_HELP} Default: check with batch norms folded, predict as traced.")
    ] = None
    compiled: Annotated[bool, flag("--compile", COMPILE_HELP)] = False
    device: Annotated[str | None, option("Price findings in seconds on this device, and sort by them.", "NAME")] = None
    fail_level: Annotated[
        Literal["note", "warning", "error"] | None,
        option("Exit 1 if a finding reaches this severity. Default: warning."),
    ] = None

    @property
    def settings(self) -> dict[str, Any]:
        """The options by their keys in the configuration; None where one is not given."""
        given = {key: value for key, value in vars(self).items() if key != "compiled"}
        values = {key.replace("_", "-"): value for key, value in given.items()}
        values["fusion"] = "pointwise" if self.compiled else self.fusion
        lists = {key: value for key, value in values.items() if isinstance(value, list)}
        return {**values, **{key: ",".join(value).split(",") for key, value in lists.items()}}


@dataclass(frozen=True)
class BaselineOptions:
    """Findings that are accepted."""

    baseline: Annotated[Path | None, option("Ignore the findings listed in FILE.", "FILE")] = None
    write_baseline: Annotated[Path | None, option("Write the current findings to FILE and ignore them.", "FILE")] = None

    def apply(self, run: LintRun, every_model: bool) -> LintRun:
        """The run without accepted findings; stale entries of the baseline are reported on stderr."""
        from costlab.ci import baseline as baselines
        from costlab.formatting.escaping import visible

        if self.write_baseline:
            before = baselines.read(self.write_baseline) if self.write_baseline.exists() else ()
            accepted = baselines.renewed(run, before, every_model)
            baselines.write(self.write_baseline, accepted)
            return baselines.apply(run, accepted, every_model)
        if not self.baseline:
            return run
        run = baselines.apply(run, baselines.read(self.baseline), every_model)
        if run.stale:
            listed = ", ".join(f"{k.model} {k.rule} {k.module or '(root)'}" for k in run.stale[:3])
            more = f" and {len(run.stale) - 3} more" if len(run.stale) > 3 else ""
            advice = f"--write-baseline {self.baseline} drops them"
            typer.echo(visible(f"stale in {self.baseline}, no longer found: {listed}{more}; {advice}"), err=True)
        return run


@dataclass(frozen=True)
class OutputOptions:
    """What is shown, in which formats and files."""

    statistics: Annotated[bool, flag("--statistics", "Count findings by rule instead of listing them.")] = False
    top: Annotated[int, option("Show N findings of a model in text and markdown; 0 for all.", "N")] = 20
    form: Annotated[Format, option("Set the output format. Only text and markdown truncate.", None, "--format")] = (
        "text"
    )
    output: Annotated[
        list[str] | None,
        option(
            "Write to FILE instead of stdout; FORMAT=FILE writes another format.", "[FORMAT=]FILE", "-o", "--output"
        ),
    ] = None
    fix: Annotated[
        Path | None, option("Write Python to a new FILE.py that folds the batch norms that X3 finds.", "FILE")
    ] = None

    def check(self) -> None:
        """Raise CostlabError if the options cannot be followed."""
        check_top(self.top)
        if self.fix is not None and self.fix.exists():
            raise CostlabError(f"--fix {self.fix}: the file exists, and is not overwritten")

    def write_fix(self, run: LintRun) -> None:
        """Write the changes that leave outputs as they are."""
        from costlab.reports.fixes import fold_script

        script = fold_script(run) if self.fix else None
        if self.fix and script:
            put(script, self.fix)
            typer.echo(f"written to {self.fix}: from {self.fix.stem} import fold; fold(model.eval())", err=True)
        elif self.fix:
            typer.echo(f"nothing to fold: {self.fix} is not written", err=True)


def lint(
    context: typer.Context,
    network: TracedModelOptions,
    rules: RuleOptions,
    baseline: BaselineOptions,
    shown: OutputOptions,
    models: Annotated[
        list[str] | None,
        argument(
            f"The name of a model in the configuration, or: {MODEL_HELP} Default: every model in the configuration.",
            "MODEL",
        ),
    ] = None,
    against: Annotated[
        str | None, option("Count budgets that are changes (+1%) from another revision: main, HEAD~1.", "REV")
    ] = None,
    exit_zero: Annotated[bool, flag("--exit-zero", "Exit 0 even if there are findings.")] = False,
    config: Annotated[
        Path | None, option("Read [tool.costlab] from FILE instead of the nearest pyproject.toml.", "FILE")
    ] = None,
    isolated: Annotated[bool, flag("--isolated", "Ignore all configuration files.")] = False,
    no_cache: NoCache = False,
) -> int:
    """Check networks against guidelines and budgets.

    Exits with 1 if a finding reaches --fail-level, with 2 if a network cannot be linted.
    """
    from costlab.ci import configuration
    from costlab.ci.lint_run import lint_jobs, run_lint
    from costlab.cli.against import bases_of
    from costlab.formatting.facts import title
    from costlab.reports.findings import verdicts

    shown.check()
    if config and isolated:
        raise CostlabError("--config and --isolated contradict each other")
    destinations = parse_outputs(shown.form, shown.output or ())
    path = None if isolated else config or configuration.find(Path())
    file = configuration.read(path) if path else None
    settings = configuration.merge_options(file.settings.lint if file else configuration.LintConfig(), rules.settings)
    jobs = lint_jobs(models or (), file, given(network))
    names = [model.name for model in file.settings.model] if file else []
    load, describe = partial(load_profile, cached=not no_cache, names=names), partial(description, context)
    bases = bases_of(against, jobs) if against is not None else None
    run = run_lint(jobs, load, settings, title=title, describe=describe, bases=bases)
    run = baseline.apply(run, every_model=not models)
    for form, place in destinations:
        put(rendered(run, form, shown.top or None, shown.statistics, place), place)
    shown.write_fix(run)
    for each in run.models:
        typer.echo(outcome(each, named=len(run.models) > 1), err=True)
    for line in verdicts(run):
        typer.echo(line, err=True)
    if any(each.result.failed for each in run.models):
        return FAILED
    return FINDINGS if not exit_zero and any(map(run.fails, run.findings)) else 0


def given(network: TracedModelOptions, amp: bool = False) -> dict[str, Any]:
    """The options by their keys in the configuration of a model, those that differ from its defaults."""
    from costlab.models import ModelSpec

    spec, plain = network.spec(""), ModelSpec("")
    if amp and network.mode == "step":
        spec = replace(spec, training={**spec.training, "amp": True})
    changed = {key: value for key, value in vars(spec).items() if value != getattr(plain, key)}
    return {"input" if key == "inputs" else key: value for key, value in changed.items()}


def load_profile(model: ModelConfig, cached: bool, names: Sequence[str]) -> Profile:
    """The profile of a model; the error of an unknown one suggests a similar one of `names`."""
    from costlab.cli.against import spec_of
    from costlab.models import profile_of

    if model.name == model.target:
        check_spelling(model.target, names)
    with working(f"tracing {model.target}"):
        return profile_of(spec_of(model), cached=cached)


def description(context: typer.Context, error: BaseException) -> str:
    """The message of a model that failed, after its traceback if that is wanted."""
    from costlab.cli.app import CliState

    if context.find_object(CliState).traceback:  # type: ignore[union-attr]
        traceback.print_exception(error)
    return one_line(error)


def parse_outputs(form: str, outputs: Sequence[str]) -> list[Destination]:
    """What goes where: FORMAT=FILE writes another format, a plain FILE replaces stdout. Raises CostlabError."""
    plain: list[Destination] = []
    others: list[Destination] = []
    for text in outputs:
        name, equals, path = text.partition("=")
        if not equals:
            plain.append((form, Path(text)))
        elif name in FORMATS and path:
            others.append((name, Path(path)))
        else:
            close = difflib.get_close_matches(name, FORMATS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(FORMATS)}"
            raise CostlabError(f"--output {text}: no format {name!r} with a file; {hint}")
    if len(plain) > 1:
        first, second = (path for _, path in plain[:2])
        raise CostlabError(f"--output {second}: the {form} report already goes to {first}; write FORMAT=FILE")
    destinations = [*(plain or [(form, None)]), *others]
    files = [path.resolve() for _, path in destinations if path and (path.is_file() or not path.exists())]
    twice = next((path for path in files if files.count(path) > 1), None)
    if twice:
        raise CostlabError(f"--output {twice}: two reports cannot go to one file")
    return destinations


def rendered(run: LintRun, form: str, top: int | None, statistics: bool, path: Path | None) -> str:
    """The report in one of the formats."""
    from costlab.reports import github, gitlab, junit, sarif
    from costlab.reports import lint as report

    def text(width: int, ascii_only: bool) -> RenderableType:
        return report.text(run, None if form == "github" else top, width, ascii_only, statistics)

    return render(
        form,
        path,
        text=text,
        github=lambda: github.report(run, render("text", path, text)),
        json=lambda: report.document(run),
        markdown=lambda: report.markdown(run, top, statistics),
        gitlab=lambda: gitlab.report(run),
        junit=lambda: junit.report(run),
        sarif=lambda: sarif.report(run),
    )


def outcome(model: ModelLint, named: bool) -> str:
    """How many findings a model has, on one line; with its name if it is one of several."""
    from costlab.formatting.escaping import visible
    from costlab.reports.findings import tally

    line = tally(model.result, model.accepted)
    if not named:
        return line
    name = visible(model.result.model)
    return line.replace("error: ", f"error: {name}: ", 1) if model.result.failed else f"{name}: {line}"
