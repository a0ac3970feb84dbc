"""The models that `costlab lint` checks: those of the configuration, or those of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from costlab.ci.configuration import FILE_NAME, ConfigurationFile, ModelConfig
from costlab.ci.lint_run import NOWHERE, LintJob
from costlab.ci.repository import find_repository, source_in_repository
from costlab.core.graph import Source
from costlab.errors import CostlabError


def lint_jobs(targets: Sequence[str], file: ConfigurationFile | None, given: Mapping[str, Any]) -> list[LintJob]:
    """The models to lint: all of the configuration, or those of `targets`, which may be names in the configuration.

    Args:
        targets: models of the command line.
        file: the configuration, if there is one.
        given: inputs and arguments for targets that are not in the configuration.

    Raises:
        CostlabError: no model is given, or inputs or arguments without a model that takes them.
    """
    configured = configured_jobs(file) if file else {}
    others = [target for target in dict.fromkeys(targets) if target not in configured]
    unused = [key for key, value in given.items() if value and not others]
    if unused:
        option = "-a" if unused[0] == "arguments" else f"--{unused[0]}"
        raise CostlabError(f"{option} goes with a MODEL on the command line; [[tool.costlab.model]] has its own keys")
    if not targets and not configured:
        raise CostlabError(f"no model to lint: name a MODEL, or list yours as [[tool.costlab.model]] in {FILE_NAME}")
    root = find_repository(Path())
    jobs = dict(configured) if not targets else {}
    for target in dict.fromkeys(targets):
        paths = [Path(text).resolve() for text in (target, target.rpartition(":")[0])]  # profile.json, net.py:Net
        entries = [entry for path in paths if (entry := source_in_repository(Source(str(path), 1), root))]
        model = ModelConfig.model_construct(name=target, target=target, **given)
        other = LintJob(model, target if len(targets) > 1 else None, Path(), (*entries, NOWHERE)[0])
        jobs[target] = configured.get(target, other)
    return list(jobs.values())


def configured_jobs(file: ConfigurationFile) -> dict[str, LintJob]:
    """Every model of the configuration by name."""
    root = find_repository(file.folder)
    entry = source_in_repository(Source(str(file.path.resolve()), 1), root) or NOWHERE
    return {
        model.name: LintJob(model, model.name, file.folder, Source(entry.file, line))
        for model, line in zip(file.settings.model, file.lines, strict=True)
    }
