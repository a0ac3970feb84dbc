"""GraphML, for Gephi, yEd, Cytoscape, and networkx: flat plain data on every node."""

import json
from typing import Any

from costlab.exporters.context import ExportContext
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title

LISTS = ("inputs", "outputs")


def graph(context: ExportContext) -> str:
    """A directed graph with the attributes of `profile.graph`; unknown costs are left out.

    Tensors are written `1x3x224x224 float32`, separated by commas, attributes as JSON, the source as `file:line`.
    """
    import networkx as nx

    names = context.names
    result = nx.DiGraph(name=title(context.profile))
    for name, node in zip(names, context.nodes, strict=True):
        flat = {key: flattened(key, value) for key, value in node.items() if value is not None}
        result.add_node(name, label=visible(node["kind"]), **flat)
    result.add_edges_from((names[i], names[k]) for k, op in enumerate(context.profile.ops) for i in op.after)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + "\n".join(nx.generate_graphml(result)) + "\n"


def flattened(key: str, value: Any) -> str | int | float | bool:
    """A value of a type that GraphML has; text contains nothing that XML cannot represent."""
    if key in LISTS:
        return visible(", ".join(f"{units.shape(tensor['shape'])} {tensor['dtype']}" for tensor in value))
    if key == "source":
        return visible(f"{value['file']}:{value['line']}")
    if key == "attrs":
        return json.dumps(value, default=str)
    return visible(value) if isinstance(value, str) else value
