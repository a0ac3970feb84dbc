"""A choice of networks as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv as tables_of_text
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from costlab._version import __version__
from costlab.choosing.result import Choice, Network
from costlab.core.serialization import SCHEMA_VERSION
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import spreadsheet
from costlab.formatting.facts import Fact
from costlab.formatting.notebook import page, render
from costlab.formatting.table import Column, Table
from costlab.measurement.verified import mark

if TYPE_CHECKING:
    from rich.console import Group

ROWS = 20


def text(choice: Choice, top: int | None, width: int, ascii_only: bool = False) -> Group:
    """For terminals and pipes, `width` cells wide."""
    from rich.console import Group, RenderableType
    from rich.text import Text

    parts: list[RenderableType] = [Text(title(choice), style="bold"), header.text(facts(choice)), Text()]
    if choice.networks:
        parts.append(tables.text(grid(choice, top), width, ascii_only))
    return Group(*parts)


def markdown(choice: Choice, top: int | None) -> str:
    """For issues and pull requests."""
    lines = [f"### {title(choice)}", "", *header.markdown(facts(choice)), ""]
    return "\n".join([*lines, *([tables.markdown(grid(choice, top))] if choice.networks else []), ""])


def csv(choice: Choice) -> str:
    """Every network inside the budgets, with every digit."""
    page = io.StringIO()
    writer = tables_of_text.DictWriter(page, list(Network.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(network), "model": spreadsheet(network.model)} for network in choice.networks)
    return page.getvalue()


def document(choice: Choice, top: int | None) -> str:
    """Everything, exact; schema version 1 (docs/json.md)."""
    content = {"schema_version": SCHEMA_VERSION, "costlab": __version__, **choice.data(top)}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


@render.register
def choice_html(choice: Choice) -> str:
    """The facts and the best networks."""
    return page(title(choice), header.html(facts(choice)), tables.html(grid(choice, ROWS)) if choice.networks else "")


def title(choice: Choice) -> str:
    """`141 of 1,201 networks on rtx4090`."""
    return f"{len(choice.networks):,} of {len(choice.considered):,} networks on {choice.device}{mark(choice.device)}"


def facts(choice: Choice) -> list[Fact]:
    """What was asked, and what the answer rests on."""
    batch = "1 image" if choice.batch == 1 else f"{choice.batch} images"
    lines = [
        Fact("predicted", f"{batch} at a time, {choice.setup}"),
        Fact("budgets", "; ".join(choice.budgets) or "none"),
        Fact("accuracies", choice.source),
    ]
    if any("latency" in budget or "seconds" in budget for budget in choice.budgets):
        sure = units.percent(choice.margin)
        lines.append(Fact("margin", f"a network inside is expected to meet the budget of time in {sure} of cases"))
    if choice.failed:
        name, why = next(iter(choice.failed.items()))
        lines.append(
            Fact("left out", f"{len(choice.failed)} networks without costs, such as {name}: {why}", "estimate")
        )
    if choice.nearest is not None:
        near = choice.nearest
        time = units.seconds(near.predicted_seconds)
        costs = f"{time}, {units.short(near.params)} params, {units.short(near.mult_adds)} mult-adds"
        lines.append(Fact("nearest", f"no network is inside; {near.model} comes nearest: {costs}", "estimate"))
    return lines


def grid(choice: Choice, top: int | None) -> Table:
    """A row for each network; a star marks the frontier."""
    rows = choice.networks[:top]
    on_frontier = set(choice.frontier)
    columns = [
        Column("model", [n.model for n in rows], left=True, fit="start", least=24, code=True),
        Column("", ["*" if n in on_frontier else "" for n in rows], left=True),
        Column("image", [units.UNKNOWN if n.image_size is None else str(n.image_size) for n in rows], drop=2),
        Column("top-1", [f"{n.top1:.1f}" for n in rows]),
        Column("top-5", [units.UNKNOWN if n.top5 is None else f"{n.top5:.1f}" for n in rows], drop=1),
        Column("predicted", [units.seconds(n.predicted_seconds) for n in rows]),
        Column("mult-adds", [units.short(n.mult_adds) for n in rows], drop=3),
        Column("params", [units.short(n.params) for n in rows]),
        Column("peak\nactivation", [units.size(n.peak_activation_bytes) for n in rows], drop=1),
    ]
    return Table(columns)
