"""Baselines: existing findings that a run ignores until they are fixed, so that only new ones fail it."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from costlab.ci.configuration import first_error
from costlab.ci.lint_run import BaselineEntry, LintRun, ModelLint, entry_of
from costlab.core.files import read_bytes, write_text
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.guidelines import Finding

SCHEMA_VERSION = 1
LARGEST = 50_000_000  # bytes of a baseline
TOLERANCE = 0.05  # share by which a price may grow


class BaselineDocument(BaseModel):
    """The content of a baseline file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    schema_version: Literal[1]
    accepted: list[BaselineEntry]


def read(path: Path) -> tuple[BaselineEntry, ...]:
    """The entries of a file. Raises CostlabError if it cannot be read or is not a baseline."""
    try:
        return tuple(BaselineDocument.model_validate_json(read_bytes(path, LARGEST)).accepted)
    except ValidationError as error:
        raise CostlabError(f"{path} is not a baseline: {first_error(error)}") from None


def write(path: Path, entries: Iterable[BaselineEntry]) -> None:
    """Write entries, one a line, so that changes are easy to review. Raises CostlabError."""
    lines = ",\n".join(json.dumps(asdict(entry)) for entry in sorted(set(entries)))
    write_text(path, f'{{\n"schema_version": {SCHEMA_VERSION},\n"accepted": [\n{lines}\n]\n}}\n')


def apply(run: LintRun, accepted: Collection[BaselineEntry], every_model: bool) -> LintRun:
    """Leave out the findings that a baseline accepts, and list its stale entries.

    Findings whose price has grown by more than TOLERANCE are not accepted: they say what it was.

    Args:
        run: a run without a baseline.
        accepted: the entries of the baseline.
        every_model: the run covers all models, so entries of any other model are stale.
    """
    found = {entry: entry.excess_memory_access for entry in entries_of(run)}
    stale = tuple(entry for entry in accepted if entry not in found and in_scope(entry, run, every_model))
    before = {entry: entry.excess_memory_access for entry in accepted}
    worse = {entry: (before[entry], now) for entry, now in found.items() if has_grown(before.get(entry), now)}
    models = (with_growth(model.without(before.keys() - worse.keys()), worse) for model in run.models)
    return replace(run, models=tuple(models), stale=stale)


def has_grown(before: int | None, now: int | None) -> bool:
    """Whether a price is known and above what a baseline tolerates."""
    return before is not None and now is not None and now > before * (1 + TOLERANCE)


def with_growth(model: ModelLint, worse: Mapping[BaselineEntry, tuple[int | None, int | None]]) -> ModelLint:
    """The model; findings that a baseline would accept at a lower price say so."""

    def explained(finding: Finding) -> Finding:
        before, now = worse.get(entry_of(finding), (None, None))
        if before is None or not finding.from_guideline:
            return finding
        growth = f"{finding.rule} costs {units.short(now)} elements here, {units.short(before)} in the baseline"
        return replace(finding, message=f"{finding.message}; {growth}")

    findings = tuple(map(explained, model.result.findings))
    return replace(model, result=replace(model.result, findings=findings))


def entries_of(run: LintRun) -> Iterator[BaselineEntry]:
    """An entry for each rule and module with findings of a guideline, with the price of all of them."""
    places: dict[BaselineEntry, list[int | None]] = {}
    for finding in run.findings:
        if finding.from_guideline:
            places.setdefault(entry_of(finding), []).append(finding.excess_memory_access)
    for entry, prices in places.items():
        known = [price for price in prices if price is not None]
        yield replace(entry, excess_memory_access=sum(known) if len(known) == len(prices) else None)


def renewed(run: LintRun, old: Collection[BaselineEntry], every_model: bool) -> tuple[BaselineEntry, ...]:
    """The baseline that accepts everything that fails a run now, and keeps the entries that the run did not check."""
    failing = {entry_of(f) for f in run.findings if run.fails(f) and f.from_guideline}
    renewed_entries = (entry for entry in entries_of(run) if entry in failing)
    return (*renewed_entries, *(entry for entry in old if not in_scope(entry, run, every_model)))


def in_scope(entry: BaselineEntry, run: LintRun, every_model: bool) -> bool:
    """Whether a run checked the rule and model of an entry."""
    for model in run.models:
        if model.result.model == entry.model:
            return any(v.rule == entry.rule for v in model.result.verdicts)  # no verdicts if the model failed
    return every_model
