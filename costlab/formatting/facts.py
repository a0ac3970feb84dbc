"""The header of every table: the title of a network, and facts about it, one label and value per line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from costlab.formatting.escaping import html_text, markdown_text, visible
from costlab.formatting.table import GAP, STYLES

if TYPE_CHECKING:
    from rich.table import Table as Grid


class Fact(NamedTuple):
    """A line of a header."""

    label: str
    value: str
    tone: str = ""  # "estimate" or "uncounted": the totals are not exact


class NetworkResult(Protocol):
    """A result about one network: a profile or a measurement."""

    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...


def title(result: NetworkResult) -> str:
    """`mobilenet_v2 (zoo, width=0.75)`."""
    arguments = (f"{key}={json.dumps(v, ensure_ascii=False, default=str)}" for key, v in result.arguments.items())
    return visible(f"{result.name} ({', '.join([result.provider, *arguments])})")


def text(facts: Iterable[Fact]) -> Grid:
    """Facts for a terminal; a label that repeats is shown once."""
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    previous = ""
    for label, value, tone in facts:
        style = STYLES[tone]
        grid.add_row(Text("" if label == previous else label, style=style or "dim"), Text(visible(value), style=style))
        previous = label
    return grid


def markdown(facts: Iterable[Fact]) -> list[str]:
    """Facts as the lines of a list."""
    return [f"- {f'{label}: ' if label else ''}{markdown_text(value)}" for label, value, _ in facts]


def html(facts: Iterable[Fact]) -> str:
    """Facts as an HTML table without a head."""
    rows = (
        f'<tr class="{tone}"><td class="left quiet">{label}</td><td class="left">{html_text(value)}</td></tr>'
        for label, value, tone in facts
    )
    return f"<table>{''.join(rows)}</table>"
