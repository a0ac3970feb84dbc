"""`costlab explain RULE`: what a guideline means, why, and what to write instead."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from costlab.cli.screen import put
from costlab.errors import CostlabError


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def explain(
    rules: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE]...", help="Guidelines by code or name.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every guideline in full.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
) -> None:
    """Explain guidelines: what is judged, why, what it costs, and what to write instead. Without RULE list them."""
    from costlab.guidelines import GUIDELINES
    from costlab.guidelines.registry import find_guideline
    from costlab.reports import guideline_pages

    if rules and everything:
        raise CostlabError("--all explains every guideline: leave out the names")
    chosen = [find_guideline(name) for name in rules or ()] or list(GUIDELINES.values())
    if form is Format.JSON:
        put(guideline_pages.document(chosen), output)
    elif rules or everything:
        put(guideline_pages.text(chosen), output)
    else:
        put("".join(f"{g.code} {g.name}: {g.summary}\n" for g in chosen), output)
