"""The growth of a network's costs as a page, as CSV and as JSON."""

import json

from costlab._version import __version__
from costlab.core.growth import Growth
from costlab.core.metrics import METRICS
from costlab.core.serialization import SCHEMA_VERSION
from costlab.formatting import units
from costlab.formatting.facts import Fact
from costlab.formatting.notebook import render
from costlab.formatting.page import Page
from costlab.formatting.table import Column, Table, csv_text
from costlab.latency.verified import mark

VARIABLES = {"batch": "b", "resolution": "r", "length": "l", "context": "c"}
DROPPED = {"element_wise_ops": 2, "params": 1, "activations": 3, "bytes_accessed": 4, "memory_access": 5}


def page(growth: Growth) -> Page:
    """The closed forms, and a row for each size."""
    return Page(heading(growth), facts(growth), [grid(growth)])


@render.register
def html(growth: Growth) -> str:
    """For notebooks."""
    return page(growth).html()


def csv(growth: Growth) -> str:
    """A row for each size, with every digit."""
    timed = {"predicted_seconds": growth.seconds} if growth.seconds else {}
    columns = {growth.axis: growth.sizes, **growth.totals, **timed}
    return csv_text([[*columns], *zip(*columns.values(), strict=True)])


def document(growth: Growth) -> str:
    """Everything, exact; schema version 1 (docs/json.md)."""
    content = {"schema_version": SCHEMA_VERSION, "costlab": __version__, **growth.data()}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def heading(growth: Growth) -> str:
    """`resnet50 over batch on rtx4090`."""
    what = "training step of " if growth.mode == "step" else ""
    where = f" on {growth.device}{mark(growth.verified)}" if growth.device else ""
    return f"{what}{growth.model} over {growth.axis}{where}"


def facts(growth: Growth) -> list[Fact]:
    """The closed form of every total, then what the times show."""
    variable = VARIABLES.get(growth.axis, "n")
    lines = []
    for key, form in growth.forms.items():
        label = METRICS[key].label
        if form is None:
            why = "no closed form: sizes are rounded, padded or compared somewhere"
            lines.append(Fact(label, why, "estimate"))
        else:
            lines.append(Fact(label, f"{form.text(variable)}  ({variable} {form.domain()})"))
    if growth.knee is not None:
        lines.append(
            Fact("knee", f"from {growth.axis} {growth.knee:,} time grows with the size; before, launches decide")
        )
    if growth.memory is not None:
        room = units.size(growth.memory)
        fits = f"up to {growth.axis} {growth.largest:,}" if growth.largest else "none of these sizes"
        what = "the peak of a training step" if growth.mode == "step" else "parameters and activations"
        lines.append(Fact("fits", f"{fits}: {what} in {room}"))
    return lines


def grid(growth: Growth) -> Table:
    """A row for each size."""
    columns = [Column(growth.axis, [units.exact(size) for size in growth.sizes])]
    if growth.seconds is not None:
        columns.append(Column("predicted", [units.seconds(s) for s in growth.seconds]))
        if growth.axis == "batch":
            rates = [size / seconds for size, seconds in zip(growth.sizes, growth.seconds, strict=True)]
            columns.append(Column("images/s", [units.rate(rate) for rate in rates]))
    for key, values in growth.totals.items():
        cells = [METRICS[key].format(value) for value in values]
        columns.append(Column(METRICS[key].label.replace(" ", "\n", 1), cells, drop=DROPPED.get(key, 0)))
    return Table(columns)
