"""Baselines: existing findings that a run ignores until they are fixed, so that only new ones fail it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from costlab.ci.configuration import first_error
from costlab.ci.lint_run import BaselineEntry, LintRun, entry_of
from costlab.core.files import read_bytes, write_text
from costlab.errors import CostlabError

SCHEMA_VERSION = 1
LARGEST = 50_000_000  # bytes of a baseline


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

    Args:
        run: a run without a baseline.
        accepted: the entries of the baseline.
        every_model: the run covers all models, so entries of any other model are stale.
    """
    found = {entry_of(f) for f in run.findings}
    stale = tuple(entry for entry in accepted if entry not in found and in_scope(entry, run, every_model))
    known = frozenset(accepted)
    return replace(run, models=tuple(model.without(known) for model in run.models), stale=stale)


def renewed(run: LintRun, old: Collection[BaselineEntry], every_model: bool) -> tuple[BaselineEntry, ...]:
    """The baseline that accepts everything that fails a run now, and keeps the entries that the run did not check."""
    failing = [entry_of(f) for f in run.findings if run.fails(f) and f.from_guideline]
    return (*failing, *(entry for entry in old if not in_scope(entry, run, every_model)))


def in_scope(entry: BaselineEntry, run: LintRun, every_model: bool) -> bool:
    """Whether a run checked the rule and model of an entry."""
    for model in run.models:
        if model.result.model == entry.model:
            return any(v.rule == entry.rule for v in model.result.verdicts)  # no verdicts if the model failed
    return every_model
