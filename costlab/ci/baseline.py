"""Baselines: findings that were there before a rule was taken up, which a run leaves out until they are mended."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from costlab.ci.configuration import first_error
from costlab.ci.lint_run import Key, Outcome, acceptable, key, without
from costlab.core.files import os_error_reason, write_text
from costlab.errors import CostlabError

SCHEMA_VERSION = 1


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    rule: str
    module: str


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_version: Literal[1]
    accepted: list[Entry]


def read(path: Path) -> tuple[Key, ...]:
    """The keys in a file. Raises CostlabError."""
    try:
        document = Document.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
    except ValidationError as error:
        raise CostlabError(f"{path} is no baseline: {first_error(error)}") from None
    return tuple(Key(e.model, e.rule, e.module) for e in document.accepted)


def write(path: Path, keys: Iterable[Key]) -> None:
    """Write keys, one a line, so that changes are easily reviewed. Raises CostlabError."""
    lines = ",\n".join(json.dumps(k._asdict()) for k in sorted(set(keys)))
    write_text(path, f'{{\n"schema_version": {SCHEMA_VERSION},\n"accepted": [\n{lines}\n]\n}}\n')


def apply(outcome: Outcome, accepted: Collection[Key], every_model: bool) -> Outcome:
    """Leave out what a baseline accepts, and say what of it is no longer found.

    Args:
        every_model: the run has all models that there are, so that keys of others are stale.
    """
    found = {key(f) for f in outcome.findings}
    stale = tuple(k for k in accepted if k not in found and in_scope(k, outcome, every_model))
    known = frozenset(accepted)
    return replace(outcome, models=tuple(without(linted, known) for linted in outcome.models), stale=stale)


def renewed(outcome: Outcome, old: Collection[Key], every_model: bool) -> tuple[Key, ...]:
    """The baseline that accepts all that fails a run now, and keeps what the run did not look at."""
    failing = [key(f) for f in outcome.findings if outcome.fails(f) and acceptable(f)]
    return (*failing, *(k for k in old if not in_scope(k, outcome, every_model)))


def in_scope(entry: Key, outcome: Outcome, every_model: bool) -> bool:
    """Whether a run looked at what an entry of a baseline is about."""
    for linted in outcome.models:
        if linted.model == entry.model:
            return any(v.rule == entry.rule for v in linted.result.verdicts)  # none where it failed
    return every_model
