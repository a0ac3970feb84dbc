"""Configured models at another revision of the repository: traced there by a process of the same environment."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from costlab.cli.exits import one_line
from costlab.cli.screen import working
from costlab.core.files import read_profile
from costlab.core.profile import Profile
from costlab.formatting.escaping import visible

if TYPE_CHECKING:
    from costlab.ci.configuration import ModelConfig
    from costlab.ci.lint_run import LintJob
    from costlab.models import ModelSpec

CHILD = "from costlab.cli.against import trace_all; trace_all()"


class AtRevision(NamedTuple):
    """A model at another revision: its profile, or why it has none."""

    profile: Profile | None
    error: str = ""


def profiles_at(revision: str, jobs: Sequence[LintJob]) -> dict[str, AtRevision]:
    """The models of jobs at another revision, by name. Raises CostlabError if the revision cannot be checked out."""
    from costlab.ci.revision import checked_out, is_dirty

    folder = next((job.folder for job in jobs), Path()).resolve()
    if is_dirty(folder):
        typer.echo("note: changes that are not committed are part of the head", err=True)
    with tempfile.TemporaryDirectory() as results, checked_out(revision, folder) as there:
        if not there.is_dir():
            return {job.model.name: AtRevision(None, f"{folder.name} does not exist at {revision}") for job in jobs}
        outputs = [str(Path(results) / f"{number}.json") for number, _ in enumerate(jobs)]
        tasks = [{"spec": asdict(spec_of(job.model)), "output": out} for job, out in zip(jobs, outputs, strict=True)]
        with working(f"tracing {revision}"):
            done = subprocess.run(
                [sys.executable, "-c", CHILD],
                input=json.dumps(tasks),
                capture_output=True,
                text=True,
                cwd=there,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(moved_path(folder, there))},
            )
        errors = dict(line.split("\t", 1) for line in done.stderr.splitlines() if "\t" in line)
        failed = " ".join(done.stderr.split())[-300:] or f"exit code {done.returncode}"
        return {
            job.model.name: AtRevision(read_profile(Path(output)))
            if Path(output).exists()
            else AtRevision(None, errors.get(output, failed))
            for job, output in zip(jobs, outputs, strict=True)
        }


def spec_of(model: ModelConfig) -> ModelSpec:
    """A configured model as the rest of costlab names it."""
    from costlab.models import ModelSpec

    return ModelSpec(
        model.target,
        model.arguments,
        tuple(model.input),
        model.batch,
        model.resolution,
        model.dtype,
        model.mode,
        model.training,
        model.max_iterations,
    )


def moved_path(folder: Path, there: Path) -> Iterator[str]:
    """The import path of the process, the repository's folders at the other revision."""
    from costlab.ci.repository import find_repository

    root = find_repository(folder)
    base = there
    for _ in folder.relative_to(root).parts:
        base = base.parent
    own = Path(__file__).parents[2]  # costlab itself stays what it is
    for entry in sys.path:
        path = Path(entry or ".").resolve()
        inside = path.is_relative_to(root) and path != own and not {"site-packages", "lib"} & set(path.parts)
        yield str(base / path.relative_to(root)) if inside else str(path)


def trace_all() -> None:
    """Trace the models that stdin lists and write their profiles; the errors go to stderr, one line for each."""
    from costlab.models import ModelSpec, profile_of

    sys.path.insert(0, os.getcwd())
    lines = []
    for task in json.loads(sys.stdin.read()):
        try:
            spec = ModelSpec(**{**task["spec"], "inputs": tuple(task["spec"]["inputs"])})
            profile = profile_of(spec, cached=False)
            Path(task["output"]).write_text(profile.to_json(), encoding="utf-8")
        except (Exception, SystemExit) as error:
            lines.append(f"{task['output']}\t{one_line(error)}")
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def head_of(job: LintJob, cached: bool) -> Profile:
    """A model as it is now, under its configured name."""
    from costlab.models import profile_of

    with contextlib.chdir(job.folder), working(f"tracing {job.model.target}"):
        return replace(profile_of(spec_of(job.model), cached=cached), name=job.model.name)


def bases_of(revision: str, jobs: Sequence[LintJob]) -> dict[str, Profile]:
    """The profiles at a revision by name; models that it does not have are named on stderr."""
    at = profiles_at(revision, jobs)
    for name, model in at.items():
        if model.profile is None:
            typer.echo(visible(f"{name} has no base at {revision}: {model.error}"), err=True)
    return {name: replace(model.profile, name=name) for name, model in at.items() if model.profile}
