"""`costlab report MODEL`: totals, and a table by module, kind or operator."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from costlab.cli.options import (
    ExecutionOptions,
    Model,
    NoCache,
    Output,
    TracedModelOptions,
    flag,
    option,
    reject_saved_profile,
    spec_to_run,
)
from costlab.cli.screen import check_picture, put, render, report_in, working
from costlab.core.parsing import whole_numbers
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from costlab.core.profile import Profile
    from costlab.formatting.table import Table
    from costlab.guidelines import LintResult
    from costlab.guidelines.what_ifs import WhatIfs
    from costlab.latency.execution import ExecutionConfig
    from costlab.latency.prediction import Prediction
    from costlab.models import ModelSpec
    from costlab.reports.profile_table import CostTable


@dataclass(frozen=True)
class TableOptions:
    """The rows of the table."""

    by: Annotated[Literal["module", "kind", "op"], option("Set what a row is.")] = "module"
    depth: Annotated[
        int | None, option("Cut module paths to N names. Default: what fits the terminal; csv is never truncated.", "N")
    ] = None
    top: Annotated[int | None, option("Show the N most expensive rows and sum the rest.", "N")] = None
    sort: Annotated[
        str | None, option("Sort by a column. Default: predicted_seconds with --device, else as executed.", "COLUMN")
    ] = None
    columns: Annotated[
        str | None,
        option(
            "Show all of these columns, in several tables if need be: type,input,kernel,calls,params, ...", "COLUMN,..."
        ),
    ] = None
    tree: Annotated[bool, flag("--tree", "Show nested modules, each with all inside it; repeated blocks once.")] = False

    def table(self, profile: Profile, form: str, prediction: Prediction | None) -> CostTable:
        """The rows of a profile as a format shows them."""
        from costlab.reports import profile_table

        depth = self.depth
        if depth is None and self.by == "module" and form != "csv":
            depth = profile_table.default_depth(profile)
        return profile_table.table(
            profile,
            self.by,
            depth=depth,
            top=self.top,
            sort=self.sort,
            fold=form != "csv",
            seconds=prediction.by_op if prediction else None,
            predicted_seconds=prediction.seconds if prediction else None,
            columns=self.columns.split(",") if self.columns else (),
        )

    def nested(self, profile: Profile, prediction: Prediction | None) -> Table:
        """The modules of a profile as a tree."""
        from costlab.reports import module_tree

        if prediction is None:
            return module_tree.table(profile, self.depth, None, None)
        return module_tree.table(profile, self.depth, prediction.by_op, prediction.seconds)

    def check(self, form: str, timed: bool) -> None:
        """Raise CostlabError if no profile has such a table."""
        from costlab.reports.profile_table import check_choice, column_key

        check_choice(self.by, self.depth, self.top, self.sort, timed)
        for name in self.columns.split(",") if self.columns else ():
            column_key(name, timed)
        others = [f"--{name}" for name in ("top", "sort", "columns") if getattr(self, name) is not None]
        others += [f"--by {self.by}"] * (self.by != "module")
        others += [f"--format {form}"] * (form not in ("text", "markdown"))
        if self.tree and others:
            raise CostlabError(f"{others[0]} does not go with --tree, which shows nested modules as text or markdown")


@dataclass(frozen=True)
class FitOptions:
    """The largest batch."""

    max_batch: Annotated[
        bool, flag("--max-batch", "Report the largest batch that fits into the memory of --device, or --memory.")
    ] = False
    memory: Annotated[str | None, option("Set the memory for --max-batch, such as 24GB.", "SIZE")] = None

    def limit(self, config: ExecutionConfig | None) -> int | None:
        """Bytes that the largest batch may need; None without --max-batch.

        Raises CostlabError if no memory is given or known, or it is not an amount.
        """
        if not self.max_batch:
            if self.memory is not None:
                raise CostlabError("--memory goes with --max-batch")
            return None
        if self.memory is not None:
            from costlab.core.amounts import parse_amount

            return int(parse_amount(self.memory, "peak_bytes").applied_to(None))
        if config is None or config.device.memory is None:
            raise CostlabError("--max-batch needs a memory: name a --device, or --memory 24GB")
        return config.device.memory


def report(
    model: Model,
    network: TracedModelOptions,
    execution: ExecutionOptions,
    rows: TableOptions,
    fit: FitOptions,
    form: Annotated[
        Literal["text", "json", "csv", "markdown", "html"],
        option("Set the output format. json can be read again; json and html are complete.", None, "--format"),
    ] = "text",
    output: Output = None,
    over: Annotated[
        list[str] | None,
        option("Show how costs grow: batch=1,2,4,...,64, resolution=64,128, context=128,256.", "NAME=VALUES"),
    ] = None,
    plot: Annotated[Path | None, option("With --over, also plot the growth: .png, .svg or .pdf.", "FILE")] = None,
    strict: Annotated[bool, flag("--strict", "Fail if an operator has no cost rule.")] = False,
    no_cache: NoCache = False,
) -> None:
    """Report the costs of one forward pass of MODEL."""
    from costlab.core.serialization import to_json
    from costlab.formatting.units import times
    from costlab.models import profile_of
    from costlab.reports import csv
    from costlab.reports import profile as pages

    if over:
        return put(growth_page(model, network, execution, over, form, output, plot), output)
    if plot is not None:
        raise CostlabError("--plot goes with --over; other plots: costlab plot KIND MODEL")
    rows.check(form, execution.device is not None)
    traced_amp = execution.amp and network.mode == "step"
    config = execution.config(traced_amp)
    limit = fit.limit(config)
    if form == "html" and output is None and sys.stdout.isatty():
        raise CostlabError("an html report is for a browser: name a file for it with -o report.html")
    spec = spec_to_run(model, network, execution)
    with working(f"tracing {model}"):
        profile = profile_of(spec, cached=not no_cache) if limit is None else largest(spec, limit)
    prediction = predicted(profile, config)
    checked = lint_result(model, profile, execution, config) if config or form == "html" else None
    first = checked.what_ifs if checked else None
    shown = profile.fused(execution.fusion)
    table = partial(rows.table, shown, form, prediction)
    tree = rows.nested(shown, prediction) if rows.tree else None
    page = render(
        form,
        output,
        text=lambda width, ascii_only: pages.text(shown, table(), width, ascii_only, prediction, first, tree),
        json=lambda: to_json(shown, *predicted_json(prediction, first)),
        csv=lambda: csv.report(table()),
        markdown=lambda: pages.markdown(shown, table(), prediction, first, tree),
        html=lambda: html_page(shown, checked, prediction, config),
    )
    put(page, output)
    if strict and profile.uncounted:
        raise CostlabError(f"--strict: no cost rule for {times(profile.uncounted)}; the totals leave them out")


def largest(spec: ModelSpec, limit: int) -> Profile:
    """The profile of the largest batch that fits; says on stderr how near it comes."""
    from costlab.formatting import units
    from costlab.models._max_batch import max_batch

    found = max_batch(spec, limit)
    more = f"; {found.batch + 1} would need {units.size(found.next_bytes)}" if found.next_bytes else ""
    need, memory = units.size(found.needed_bytes), units.size(found.memory_bytes)
    print(f"largest batch: {found.batch}, which needs {need} of {memory}{more}", file=sys.stderr)
    return found.profile


def predicted(profile: Profile, config: ExecutionConfig | None) -> Prediction | None:
    """The prediction for a configuration, if there is one."""
    if config is None:
        return None
    from costlab.latency._predict import predict_with

    return predict_with(profile, config)


def predicted_json(
    prediction: Prediction | None, first: WhatIfs | None
) -> tuple[dict[str, Any], Mapping[str, float]] | tuple[()]:
    """What a JSON document says of a prediction: the whole with what to do first, and the operators."""
    if prediction is None:
        return ()
    changes = first.to_dict()["changes"] if first else []
    return {**prediction.summary, "what_ifs": changes}, prediction.by_op


def lint_result(
    model: str, profile: Profile, execution: ExecutionOptions, config: ExecutionConfig | None
) -> LintResult:
    """The findings, on the device if there is one."""
    from costlab.guidelines import lint

    fusion = None if execution.fusion == "none" else execution.fusion
    with working(f"checking {model}"):
        return lint(
            profile,
            fusion=fusion,
            device=config.device if config else None,
            amp=execution.amp,
            channels_last=execution.channels_last,
        )


def html_page(
    shown: Profile, checked: LintResult | None, prediction: Prediction | None, config: ExecutionConfig | None
) -> str:
    """The report for the browser, with findings."""
    from costlab.reports import html

    assert checked is not None
    return html.report(shown, checked, prediction, config.device if config else None)


def growth_page(
    model: str,
    network: TracedModelOptions,
    execution: ExecutionOptions,
    over: Sequence[str],
    form: str,
    output: Path | None,
    plot: Path | None,
) -> str:
    """The report of a growth in one of its formats. Raises CostlabError."""
    from costlab.models import load_model
    from costlab.models._profile_of import training_options
    from costlab.reports import growth as report
    from costlab.sweeps._scale import scale

    check_picture(plot)
    if len(over) > 1:
        raise CostlabError(f"--over takes one size at a time: run it once for each of {', '.join(over)}")
    name, equals, values = over[0].partition("=")
    numbers = whole_numbers(values)
    if not equals or numbers is None:
        raise CostlabError(
            f"--over {over[0]!r} is not a range: write --over batch=1,2,4,...,64 or resolution=64,96,128"
        )
    if form == "html":
        raise CostlabError("--over shows a table: use --format text, json, csv or markdown")
    reject_saved_profile(model, "traced at other sizes")
    execution.config(traced_amp=network.mode == "step")  # an option without the device that it needs is an error
    with working(f"tracing {model}"):
        spec = network.spec(model)
        loaded = load_model(spec)
        grown = scale(
            loaded.model,
            loaded.inputs,
            over={name: numbers},
            name=loaded.name,
            mode=spec.mode,
            **execution.keywords,
            **training_options(spec),
        )
    if plot is not None:
        from costlab import plots
        from costlab.cli.plot import save

        save(lambda: plots.growth(grown), plot)
    return report_in(form, output, report, grown)
