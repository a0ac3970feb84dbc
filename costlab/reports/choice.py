"""A choice of networks as a page, as CSV and as JSON."""

import json
from dataclasses import astuple, fields

from costlab._version import __version__
from costlab.choosing.result import Choice, Network
from costlab.core.serialization import SCHEMA_VERSION
from costlab.formatting import units
from costlab.formatting.facts import Fact
from costlab.formatting.notebook import render
from costlab.formatting.page import Page
from costlab.formatting.table import Column, Table, csv_text
from costlab.latency.verified import mark

ROWS = 20


def page(choice: Choice, top: int | None) -> Page:
    """The facts and the best networks."""
    return Page(title(choice), facts(choice), [grid(choice, top)] if choice.networks else [])


@render.register
def html(choice: Choice) -> str:
    """For notebooks."""
    return page(choice, ROWS).html()


def csv(choice: Choice, top: int | None = None) -> str:
    """Every network inside the budgets, whatever `top` is, with every digit."""
    head = [field.name for field in fields(Network)]
    return csv_text([head, *map(astuple, choice.networks)])


def document(choice: Choice, top: int | None) -> str:
    """Everything, exact; schema version 1 (docs/json.md)."""
    content = {"schema_version": SCHEMA_VERSION, "costlab": __version__, **choice.data(top)}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def title(choice: Choice) -> str:
    """`141 of 1,201 networks on rtx4090`."""
    return f"{len(choice.networks):,} of {len(choice.considered):,} networks on {choice.device}{mark(choice.verified)}"


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
