"""DOT, the language of Graphviz: operators in the boxes of their modules, in the colours of the plots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from costlab.exporters.context import Known
from costlab.formatting import units
from costlab.formatting.colours import ink_on
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title
from costlab.guidelines.analysis.groups import group_of

INDENT = "  "


@dataclass
class Module:
    """A module, its operators by position, and the modules inside it."""

    ops: list[int] = field(default_factory=list)
    children: dict[str, Module] = field(default_factory=dict)


def graph(known: Known) -> str:
    """A directed graph, a cluster a module; a box has the kind, the shape of the output and the cost asked for."""
    root = Module()
    for position, op in enumerate(known.profile.ops):
        module = root
        for name in op.module.split(".") if op.module else ():
            module = module.children.setdefault(name, Module())
        module.ops.append(position)
    edges = (f"{INDENT}n{i} -> n{k};" for k, op in enumerate(known.profile.ops) for i in op.after)
    return "\n".join(
        [
            f"digraph {quoted(known.profile.name)} {{",
            f"{INDENT}graph [label={quoted(title(known.profile))}, labelloc=t, fontname=Helvetica];",
            f"{INDENT}node [shape=box, style=filled, penwidth=0, fontname=Helvetica, fontsize=10];",
            f'{INDENT}edge [color="#6A6A6A", arrowsize=0.6];',
            *inside(known, root, "", 1),
            *edges,
            "}",
            "",
        ]
    )


def inside(known: Known, module: Module, path: str, depth: int) -> Iterator[str]:
    """The lines of a module: its own operators, then the clusters of its children; one operator alone has none."""
    indent = INDENT * depth
    alone = [op for child in module.children.values() if lonely(child) for op in child.ops]
    for position in sorted(module.ops + alone):
        yield f"{indent}n{position} [{box(known, position)}];"
    for name, child in module.children.items():
        if lonely(child):
            continue
        below = f"{path}.{name}" if path else name
        yield f"{indent}subgraph {quoted(f'cluster {below}')} {{"
        yield f'{indent}{INDENT}graph [label={quoted(name)}, tooltip={quoted(below)}, color="#AAAAAA"];'
        yield from inside(known, child, below, depth + 1)
        yield f"{indent}}}"


def lonely(module: Module) -> bool:
    return len(module.ops) == 1 and not module.children


def box(known: Known, position: int) -> str:
    """The attributes of an operator's node."""
    op, node = known.profile.ops[position], known.nodes[position]
    lines = [op.kind, *(units.shape(tensor.shape) for tensor in op.outputs[:1])]
    if not op.free and node[known.cost] != 0:
        lines.append(f"{known.label(known.cost)} {known.written(known.cost, node[known.cost])}")
    colour = "#FFFFFF" if op.free else group_of(op).colour
    label = "\\n".join(map(escaped, lines))
    return f'label="{label}", tooltip={quoted(op.name)}, fillcolor="{colour}", fontcolor={ink_on(colour)}'


def quoted(text: str) -> str:
    return f'"{escaped(text)}"'


def escaped(text: str) -> str:
    """Within quotes a backslash begins an escape (`\\N` is the node's name), and an ampersand an entity of HTML."""
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
