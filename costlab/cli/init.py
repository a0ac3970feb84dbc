"""`costlab init`: a first `[tool.costlab]` from the networks of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costlab.cli.options import argument
from costlab.cli.screen import working
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.ci.first_configuration import FoundModel

INPUTS = (  # that a network is tried with
    *("1,3,224,224", "1,3,32,32", "1,1,28,28", "1,128:int64", "1,1,224,224", "1,16000", "1,1,16000"),
    *("1,128,768", "1,784", "1,512", "1,64"),
)


def init(folder: Annotated[Path, argument("The folder of the project.", "FOLDER")] = Path()) -> None:
    """Write a first [tool.costlab] into pyproject.toml: the networks of FOLDER, with budgets at what they cost now.

    Python files are searched without running them; the networks that they define are then traced with usual inputs.
    Nothing that is in the file changes.
    """
    from costlab.ci.configuration import FILE_NAME, TABLE, read_toml, table_of
    from costlab.ci.first_configuration import find_targets, written
    from costlab.formatting.escaping import visible

    if not folder.is_dir():
        raise CostlabError(f"{folder} is not a folder")
    path = folder / FILE_NAME
    if path.exists() and table_of(read_toml(path)[0]) is not None:
        raise CostlabError(f"{path} has a [{TABLE}] already: edit it, docs/ci.md lists its keys")
    targets = find_targets(folder)
    if not targets:
        raise CostlabError(
            f"no network found in {folder}: no class there derives from nn.Module and needs no arguments;"
            f" write a [[{TABLE}.model]] by hand, docs/ci.md shows one"
        )
    models = [tried(target, folder) for target in targets]
    path = written(folder, models, device_of(folder))
    for model in models:
        found = "" if model.budgets else ": could not be traced with the inputs that were tried; set its input"
        typer.echo(visible(f"{model.target}{f', input {model.input}' if model.input else ''}{found}"))
    accepts = "costlab lint --write-baseline costlab-baseline.json accepts what it finds now"
    typer.echo(visible(f"written to {path}; next: costlab lint; {accepts}"))


def tried(target: str, folder: Path) -> FoundModel:
    """A network with the first of the usual inputs that it takes."""
    import contextlib

    from costlab.ci.first_configuration import FoundModel
    from costlab.models import ModelSpec, profile_of

    with contextlib.chdir(folder), working(f"tracing {target}"):
        for given in (None,) if target.endswith(".pt2") else INPUTS:
            try:
                total = profile_of(ModelSpec(target, inputs=(given,) if given else ())).total
            except CostlabError:
                continue
            return FoundModel(target, given, {"mult_adds": total.mult_adds, "params": total.params})
    return FoundModel(target, None, {})


def device_of(folder: Path) -> str | None:
    """The device file of the project, if it has exactly one."""
    from costlab.latency.devices import read_device

    found = []
    for path in sorted(folder.glob("*.toml")):
        try:
            read_device(path)
        except CostlabError:
            continue
        found.append(path.name)
    return found[0] if len(found) == 1 else None
