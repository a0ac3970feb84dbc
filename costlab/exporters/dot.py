"""DOT, the language of Graphviz: operators in boxes, modules as clusters, in the colours of the plots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from costlab.core.metrics import METRICS
from costlab.exporters.context import ExportContext, cost_text
from costlab.formatting import units
from costlab.formatting.colours import ink_on
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title
from costlab.guidelines.analysis.op_classes import group_of

INDENT = "  "


@dataclass
class Cluster:
    """A module: its operators by position, and the modules inside it."""

    ops: list[int] = field(default_factory=list)
    children: dict[str, Cluster] = field(default_factory=dict)

    @property
    def is_single(self) -> bool:
        """Whether it is a single operator, which gets no cluster of its own."""
        return len(self.ops) == 1 and not self.children


def graph(context: ExportContext) -> str:
    """A directed graph with a cluster per module; boxes show kind, output shape and the chosen cost."""
    root = Cluster()
    for position, op in enumerate(context.profile.ops):
        cluster = root
        for name in op.module.split(".") if op.module else ():
            cluster = cluster.children.setdefault(name, Cluster())
        cluster.ops.append(position)
    return "\n".join(
        [
            f"digraph {quoted(context.profile.name)} {{",
            f"{INDENT}graph [label={quoted(title(context.profile))}, labelloc=t, fontname=Helvetica];",
            f"{INDENT}node [shape=box, style=filled, penwidth=0, fontname=Helvetica, fontsize=10];",
            f'{INDENT}edge [color="#6A6A6A", arrowsize=0.6];',
            *cluster_lines(context, root, "", 1),
            *(f"{INDENT}n{i} -> n{k};" for k, op in enumerate(context.profile.ops) for i in op.after),
            "}",
            "",
        ]
    )


def cluster_lines(context: ExportContext, cluster: Cluster, path: str, depth: int) -> Iterator[str]:
    """The lines inside a cluster: its operators and those of single children, then the clusters of the others."""
    indent = INDENT * depth
    singles = [op for child in cluster.children.values() if child.is_single for op in child.ops]
    for position in sorted(cluster.ops + singles):
        yield f"{indent}n{position} [{box(context, position)}];"
    for name, child in cluster.children.items():
        if child.is_single:
            continue
        below = f"{path}.{name}" if path else name
        yield f"{indent}subgraph {quoted(f'cluster {below}')} {{"
        yield f'{indent}{INDENT}graph [label={quoted(name)}, tooltip={quoted(below)}, color="#AAAAAA"];'
        yield from cluster_lines(context, child, below, depth + 1)
        yield f"{indent}}}"


def box(context: ExportContext, position: int) -> str:
    """The attributes of an operator's node."""
    op, cost = context.profile.ops[position], context.cost
    lines = [op.kind, *(units.shape(tensor.shape) for tensor in op.outputs[:1])]
    value = context.nodes[position][cost]
    if not op.free and value != 0:
        lines.append(f"{METRICS[cost].label} {cost_text(cost, value)}")
    colour = "#FFFFFF" if op.free else group_of(op).colour
    label = "\\n".join(map(escaped, lines))
    return f'label="{label}", tooltip={quoted(op.name)}, fillcolor="{colour}", fontcolor={ink_on(colour)}'


def quoted(text: str) -> str:
    """A string of DOT."""
    return f'"{escaped(text)}"'


def escaped(text: str) -> str:
    """Inside quotes a backslash begins an escape (`\\N` is the node's name) and an ampersand an HTML entity."""
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
