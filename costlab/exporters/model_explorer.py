"""Model Explorer: a graph of nested layers with costs beside every node, and data that colour its nodes.

The fields are those of the dataclasses in `model_explorer.graph_builder` and `model_explorer.node_data_builder` of
ai-edge-model-explorer 0.1.34.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from costlab.core.cost import Cost, total
from costlab.core.graph import Op
from costlab.core.metrics import METRICS, SORTABLE
from costlab.exporters.context import Known
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.guidelines.analysis.blocks import ancestry
from costlab.reports.header import facts

HEAT = ({"stop": 0, "bgColor": "#FFFFFF"}, {"stop": 1, "bgColor": "#D55E00"})  # white: none; orange: the dearest


def graph(known: Known) -> str:
    """A collection of one graph: a layer a module, a node an operator, with what is known of them as text."""
    network = {
        "id": graph_id(known),
        "nodes": [node(known, position) for position in range(len(known.profile.ops))],
        "groupNodeAttributes": layers(known),
    }
    return json.dumps({"label": graph_id(known), "graphs": [network]}, indent=1) + "\n"


def node_data(known: Known) -> str:
    """A value for each operator that costs something, by the graph's id; colours go from none to the dearest."""
    values = ((name, data[known.cost]) for name, data in zip(known.names, known.nodes, strict=True))
    data = {
        "name": known.label(known.cost),
        "results": {name: {"value": value} for name, value in values if value},
        "gradient": HEAT,
    }
    return json.dumps({graph_id(known): data}, indent=1) + "\n"


def graph_id(known: Known) -> str:
    return visible(known.profile.name)


def node(known: Known, position: int) -> dict[str, Any]:
    """An operator."""
    op, name = known.profile.ops[position], known.names[position]
    data = known.nodes[position]
    told = {known.label(key): known.written(key, data[key]) for key in known.keys if data[key] != 0}
    told |= {visible(key): visible(str(value)) for key, value in op.attrs.items() if value is not None}
    told |= {"source": visible(f"{op.source.file}:{op.source.line}")} if op.source else {}
    told |= {word: "yes" for word, true in (("free", op.free), ("estimated", op.estimated)) if true}
    return {
        "id": name,
        "label": visible(op.kind),
        "namespace": namespace(op.module),
        "attrs": pairs(told),
        "incomingEdges": [edge(known, before, position) for before in op.after],
        "inputsMetadata": [
            {"id": str(k), "attrs": pairs({"__tensor_tag": visible(tensor.name)})} for k, tensor in enumerate(op.inputs)
        ],
        "outputsMetadata": [
            {"id": str(k), "attrs": pairs({"tensor_shape": f"{tensor.dtype}[{units.shape(tensor.shape)}]"})}
            for k, tensor in enumerate(op.outputs)
        ],
    }


def edge(known: Known, before: int, position: int) -> dict[str, str]:
    """From the operator `before`, with the output and the input that hold the same storage."""
    start, end = known.profile.ops[before], known.profile.ops[position]
    output, entry = matching(start, end)
    return {"sourceNodeId": known.names[before], "sourceNodeOutputId": str(output), "targetNodeInputId": str(entry)}


def matching(start: Op, end: Op) -> tuple[int, int]:
    """The first output of `start` and input of `end` that share storage; the first ones where none do."""
    outputs = {tensor.storage: k for k, tensor in reversed(list(enumerate(start.outputs)))}
    found = ((outputs[tensor.storage], k) for k, tensor in enumerate(end.inputs) if tensor.storage in outputs)
    return next(found, (0, 0))


def layers(known: Known) -> dict[str, dict[str, str]]:
    """What a layer costs with everything inside it, by namespace; the network by the empty one."""
    parts: dict[str, list[Cost]] = defaultdict(list)
    for op, cost in zip(known.profile.ops, known.profile.costs, strict=True):
        for path in ancestry(op.module):
            parts[path].append(cost or Cost(params=op.params, param_bytes=op.param_bytes))
    types = {module.path: module.type for module in known.profile.trace.modules}
    result = {"": {fact.label: fact.value for fact in facts(known.profile, known.prediction)}}
    for path, costs in parts.items():
        if not path:
            continue
        whole = total(costs)
        told = {"type": visible(types[path])} if path in types else {}
        told |= {known.label(key): METRICS[key].format(getattr(whole, key)) for key in SORTABLE}
        result[namespace(path)] = told
    return result


def namespace(path: str) -> str:
    """A module path as layers inside layers. A slash and a semicolon in a name would end it."""
    names = (visible(name).replace("/", "\\/").replace(";", "\\x3b") for name in path.split("."))
    return "/".join(names) if path else ""


def pairs(told: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in told.items()]
