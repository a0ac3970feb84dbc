"""`costlab cache info|clear`: what is kept of networks looked at before."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Action(StrEnum):
    INFO = "info"
    CLEAR = "clear"


def cache(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="info or clear.", show_default=False)],
) -> None:
    """Say what is kept of networks looked at before (info), or remove it (clear).

    Kept are profiles of networks that the zoo, torchvision and timm know by name, as long as no version changes. Your
    own code is always traced anew.
    """
    from costlab.formatting import units
    from costlab.formatting.escaping import visible
    from costlab.models import cache as caching

    usage = caching.usage()
    if usage is None:
        typer.echo("nothing is kept: there is no folder for caches")
    elif action is Action.CLEAR:
        typer.echo(f"{counted(caching.clear())} removed from {visible(str(usage.folder))}")
    else:
        typer.echo(f"{counted(usage.entries)}, {units.size(usage.size)}, in {visible(str(usage.folder))}")


def counted(profiles: int) -> str:
    from costlab.formatting import units

    return "1 profile" if profiles == 1 else f"{units.exact(profiles)} profiles"
