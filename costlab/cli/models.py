"""`costlab models`: the names that each provider offers."""

from typing import Annotated

import typer

from costlab.cli.options import option
from costlab.cli.screen import put, working
from costlab.errors import CostlabError


def models(
    provider: Annotated[str | None, option("List only zoo, torchvision or timm.", "P")] = None,
    pattern: Annotated[
        str | None, option("List only names that contain PATTERN or match it (resnet*).", "PATTERN", "--filter")
    ] = None,
) -> None:
    """List the models that have a name, one PROVIDER:NAME per line."""
    from costlab.models.resolve import LISTED, installed, list_models

    with working("asking the providers"):
        offered = list_models(provider, pattern)
    names = [f"{owner}:{name}" for owner, group in offered.items() for name in group]
    if not names:
        raise CostlabError(f"no model matches {pattern!r}; `costlab models` lists them all")
    put("\n".join(names) + "\n")
    missing = [name for name in LISTED if not provider and not installed(name)]
    if missing:
        typer.echo(f"not installed: {', '.join(missing)} (pip install 'costlab[{','.join(missing)}]')", err=True)
