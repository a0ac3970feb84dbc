"""The models that a command goes through one by one, and what comes of linting one."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costlab.ci.configuration import NAME, Configuration, Lint, Model
from costlab.ci.limits import judged
from costlab.ci.lint_run import Linted, failure, in_repository, price, repository, sources
from costlab.cli import one_line
from costlab.cli.screen import working
from costlab.core.files import read_profile
from costlab.core.graph import Source
from costlab.errors import CostlabError
from costlab.guidelines import lint
from costlab.models import ModelSpec, profile_of
from costlab.reports.header import title

if TYPE_CHECKING:
    from costlab.latency.devices import Device

NOWHERE = Source(NAME, 1)  # where a result is shown that belongs to no file of the repository


@dataclass(frozen=True)
class Job:
    """A model to lint."""

    model: Model
    name: str | None  # None: as its profile is called
    folder: Path  # what its paths are relative to
    entry: Source  # where it is named


def jobs_of(targets: Sequence[str], found: Configuration | None, given: Mapping[str, Any]) -> list[Job]:
    """The models asked for: by their name in the configuration, else as any command takes them. None: all of it.

    Args:
        given: inputs and arguments for those that are not in the configuration.

    Raises:
        CostlabError: there is no model, or none that takes what is given.
    """
    configured = configured_jobs(found) if found else {}
    others = [target for target in dict.fromkeys(targets) if target not in configured]
    unused = [key for key, value in given.items() if value and not others]
    if unused:
        option = "-a" if unused[0] == "arguments" else f"--{unused[0]}"
        raise CostlabError(f"{option} goes with a MODEL on the command line; [[tool.costlab.model]] has its own keys")
    if not targets and not configured:
        raise CostlabError(f"no model to lint: name a MODEL, or list yours as [[tool.costlab.model]] in {NAME}")
    root = repository(Path())
    jobs = dict(configured) if not targets else {}
    for target in dict.fromkeys(targets):
        files = [Path(text).resolve() for text in (target, target.rpartition(":")[0])]  # profile.json, net.py:Net
        entries = [entry for file in files if (entry := in_repository(Source(str(file), 1), root))]
        model = Model.model_construct(name=target, target=target, **given)
        other = Job(model, target if len(targets) > 1 else None, Path(), (*entries, NOWHERE)[0])
        jobs[target] = configured.get(target, other)
    return list(jobs.values())


def configured_jobs(found: Configuration) -> dict[str, Job]:
    """Every model of the configuration by name."""
    shown = in_repository(Source(str(found.path.resolve()), 1), repository(found.folder)) or NOWHERE
    return {
        model.name: Job(model, model.name, found.folder, Source(shown.file, line))
        for model, line in zip(found.settings.model, found.lines, strict=True)
    }


def linted(
    job: Job, settings: Lint, device: Device | None = None, show_traceback: bool = False, *, cached: bool = False
) -> Linted:
    """Trace and check one model. Whatever goes wrong with it is its finding, so that the others are reported."""
    model = job.model
    try:
        with contextlib.chdir(job.folder), working(f"tracing {model.target}"):
            base = read_profile(Path(model.base)) if model.base is not None else None
            spec = ModelSpec(
                model.target, model.arguments, tuple(model.input), model.batch, model.resolution, model.dtype
            )
            profile = profile_of(spec, cached=cached)
            written = sources(profile, repository(Path()))
        profile = replace(profile, name=job.name or profile.name)
        result = lint(
            profile,
            select=settings.select,
            fusion=settings.fusion,
            thresholds=settings.thresholds,
            per_module_ignores=settings.per_module_ignores,
            device=device,
        )
        broken, verdicts = judged(profile, model.limits, base, device, settings.fusion)
    except Exception as error:
        if show_traceback:
            traceback.print_exc()
        return failure(job.name or model.target, settings.fusion, job.entry, one_line(error))
    findings = tuple(sorted((*broken, *result.findings), key=price, reverse=True))
    result = replace(result, findings=findings, verdicts=(*result.verdicts, *verdicts))
    return Linted(result, title(profile), job.entry, written)
