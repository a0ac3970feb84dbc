"""GraphML, for Gephi, yEd, Cytoscape, and networkx: flat plain data on every node."""

from __future__ import annotations

import json
from typing import Any

from costlab.exporters.context import Known
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title

LISTS = ("inputs", "outputs")


def graph(known: Known) -> str:
    """A directed graph under the words of `profile.graph`; a cost that is not known is left out.

    Tensors are `1x3x224x224 float32`, one beside the other, attributes JSON, the source `file:line`.
    """
    import networkx as nx

    names = known.names
    result = nx.DiGraph(name=title(known.profile))
    for name, node in zip(names, known.nodes, strict=True):
        flat = {key: flattened(key, value) for key, value in node.items() if value is not None}
        result.add_node(name, label=visible(node["kind"]), **flat)
    result.add_edges_from((names[i], names[k]) for k, op in enumerate(known.profile.ops) for i in op.after)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + "\n".join(nx.generate_graphml(result)) + "\n"


def flattened(key: str, value: Any) -> str | int | float | bool:
    """A value that GraphML has a type for; in text nothing that XML could not hold."""
    if key in LISTS:
        return visible(", ".join(f"{units.shape(tensor['shape'])} {tensor['dtype']}" for tensor in value))
    if key == "source":
        return visible(f"{value['file']}:{value['line']}")
    if key == "attrs":
        return json.dumps(value, default=str)
    return visible(value) if isinstance(value, str) else value
