"""`costlab cache info|clear`: the profiles in the user's cache."""

from typing import Annotated, Literal

import typer

from costlab.cli.options import argument


def cache(action: Annotated[Literal["info", "clear"], argument("info or clear.", "ACTION")]) -> None:
    """Show (info) or clear the cache.

    The cache has profiles of networks from the zoo, torchvision and timm; they expire when a version changes. Your own
    code is always traced again.
    """
    from costlab.formatting import units
    from costlab.formatting.escaping import visible
    from costlab.models import cache as profiles

    usage = profiles.usage()
    if usage is None:
        typer.echo("nothing is cached: this system has no cache folder")
    elif action == "clear":
        typer.echo(f"{counted(profiles.clear())} removed from {visible(str(usage.folder))}")
    else:
        typer.echo(f"{counted(usage.entries)}, {units.size(usage.size)}, in {visible(str(usage.folder))}")


def counted(profiles: int) -> str:
    """A number of profiles as text."""
    from costlab.formatting import units

    return "1 profile" if profiles == 1 else f"{units.exact(profiles)} profiles"
