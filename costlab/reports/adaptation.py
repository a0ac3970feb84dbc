"""A NetAdapt run as text, Markdown and JSON: totals, the layers that shrank, the steps, and why others stayed."""

from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from costlab.comparison import Comparison, compare
from costlab.core.metrics import METRICS, PREDICTED
from costlab.formatting import facts as header
from costlab.formatting import notebook, units
from costlab.formatting import table as tables
from costlab.formatting.escaping import markdown_code, visible
from costlab.formatting.facts import Fact, title
from costlab.formatting.module_paths import ROOT
from costlab.formatting.table import Column, Table
from costlab.latency.verified import mark
from costlab.reports.comparison import totals_table
from costlab.reports.header import coverage, inputs
from costlab.reports.rewriting import DROPPED, beside, document_of, unchanged_items, unchanged_lines, with_rest
from costlab.rewrite.adaptation.result import Adaptation


def text(change: Adaptation, width: int, ascii_only: bool = False) -> Group:
    """For terminals and pipes, `width` cells wide."""
    both = comparison_of(change)
    parts: list[RenderableType] = [Text(heading(change), style="bold"), header.text(facts(change)), Text()]
    for table in (totals_table(both, ("", "before", "after")), layers_table(change, both), steps_table(change)):
        parts += [tables.text(table, width, ascii_only), Text()]
    return Group(*parts, *unchanged_lines(change.left))


def markdown(change: Adaptation) -> str:
    """For issues and pull requests: a heading, a list, and three tables."""
    both = comparison_of(change)
    lines = [f"### {markdown_code(heading(change))}", "", *header.markdown(facts(change))]
    for table in (totals_table(both, ("total", "before", "after")), layers_table(change, both), steps_table(change)):
        lines += ["", tables.markdown(table)]
    return "\n".join([*lines, "", *unchanged_items(change.left), ""])


@notebook.render.register
def html(change: Adaptation) -> str:
    """For notebooks."""
    both = comparison_of(change)
    shown = (totals_table(both, ("total", "before", "after")), layers_table(change, both), steps_table(change))
    return notebook.page(heading(change), header.html(facts(change)), *map(tables.html, shown))


def heading(change: Adaptation) -> str:
    """`mobilenet_v2 (zoo) rewritten: netadapt`."""
    return f"{title(change.base)} rewritten: netadapt"


def comparison_of(change: Adaptation) -> Comparison:
    """Both networks side by side, predicted for the device if there is one."""
    execution = change.execution
    if execution is None:
        return compare(change.base, change.head)
    return compare(
        change.base,
        change.head,
        device=execution.device,
        amp=execution.amp,
        fusion=execution.fusion,
        channels_last=execution.channels_last,
    )


def facts(change: Adaptation) -> list[Fact]:
    """The header."""
    lines = [*inputs(change.base.trace.inputs), *(fact for fact in coverage(change.base) if fact.tone)]
    label = METRICS[change.metric].label
    on = (
        f" on {visible(change.execution.device.name)}{mark(change.execution.device.verified)}"
        if change.execution and change.metric == PREDICTED
        else ""
    )
    target = f"{change.format(change.target)} ({change.target / change.before:.2f}x)"
    reached = f"{change.format(change.after)} ({change.after / change.before:.2f}x)"
    lines.append(Fact("target", f"{label} {target}{on}; reached {reached} in {len(change.steps)} steps"))
    if change.accuracy is not None:
        lines.append(Fact("accuracy", f"{change.accuracy:.4g} before, {change.final_accuracy or 0.0:.4g} after"))
    if not change.weights:
        lines.append(Fact("filters", "removed from the end: the network has no weights", "estimate"))
    if change.after_unrounded is not None:
        price = f"{change.format(change.after_unrounded)} ({units.ratio(change.after, change.after_unrounded)})"
        fewer = f"multiples of {change.multiple}; one fewer in each group that shrank would take {price}"
        lines.append(Fact("channels", fewer))
    return lines


def layers_table(change: Adaptation, both: Comparison) -> Table:
    """Channels and costs of every layer that shrank, before and after; the others as one row."""
    layers = [(path, group) for group in change.groups for path in group.layers]
    rows = [pair.by_module() for pair in (change.base, change.head)]
    before, after = ([side[path] for path, _ in layers] for side in rows)
    sides = {"before": with_rest(before, change.base.total), "after": with_rest(after, change.head.total)}
    names = [*(path or ROOT for path, _ in layers), "others"]
    columns = [Column("module", names, (), "total", left=True, fit="end", least=24, code=True)]
    columns.append(Column("channels", [*(f"{g.before} to {g.after}" for _, g in layers), ""]))
    if both.base_latency and both.head_latency:
        pairs = {pair.name: pair for pair in both.pairs}
        for side, whole in (("before", both.base_latency.seconds), ("after", both.head_latency.seconds)):
            attribute = "base_seconds" if side == "before" else "head_seconds"
            each = [getattr(pairs[path], attribute) or 0.0 for path, _ in layers]
            shown = [units.seconds(value) for value in (*each, whole - sum(each))]
            columns.append(Column(f"predicted\n{side}", shown, total=units.seconds(whole)))
    for key, drop in DROPPED.items():
        label = METRICS[key].label.removesuffix(" access")
        for side, costs in sides.items():
            *cells, total = (METRICS[key].format(getattr(cost, key)) for cost in costs)
            columns.append(Column(f"{label}\n{side}", cells, total=total, drop=drop + 1))
    return Table(columns, rest=1)


def steps_table(change: Adaptation) -> Table:
    """Every step: the layer that shrank, what the network needs then, and what it lost."""
    steps = change.steps
    columns = [
        Column("step", [str(step.number) for step in steps]),
        Column("group", [step.proposal.group for step in steps], left=True, fit="end", least=24, code=True),
        Column("channels", [str(step.proposal.channels) for step in steps]),
        Column(METRICS[change.metric].label, [change.format(step.proposal.value) for step in steps]),
        Column("", [f"{step.proposal.value / change.before:.2f}x" for step in steps]),
        Column("norm\nlost", [units.percent(step.proposal.lost) for step in steps], drop=2),
        Column("proposals", [str(len(step.proposals)) for step in steps], drop=1),
    ]
    if change.accuracy is not None:
        accuracies = [step.accuracy if step.accuracy is not None else step.proposal.accuracy for step in steps]
        columns.append(Column("accuracy", [f"{accuracy:.4g}" for accuracy in accuracies]))
    return Table(columns)


def document(change: Adaptation) -> str:
    """Everything, exact; schema version 1 (docs/netadapt.md)."""
    both = comparison_of(change)
    base, head = change.base.by_module(), change.head.by_module()
    pairs = {pair.name: pair for pair in both.pairs}
    layers = [
        {
            "path": path,
            "group": group.path,
            "channels": {"base": group.before, "head": group.after},
            **beside(base[path], head[path]),
            PREDICTED: {"base": pairs[path].base_seconds, "head": pairs[path].head_seconds},
        }
        for group in change.groups
        for path in group.layers
    ]
    steps = [asdict(step) for step in change.steps]
    parts = {"layers": layers, "steps": steps}
    return document_of("netadapt", change.base, change.head, change.summary, parts, change.left)
