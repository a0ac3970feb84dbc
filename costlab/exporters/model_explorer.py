"""Model Explorer: a graph of nested layers with the costs of every node, and data that colour its nodes.

The fields are those of `model_explorer.graph_builder` and `model_explorer.node_data_builder` of
ai-edge-model-explorer 0.1.34.
"""

import json
from collections import defaultdict
from typing import Any

from costlab.core.cost import Cost, total
from costlab.core.graph import Op
from costlab.core.metrics import METRICS, SORTABLE
from costlab.exporters.context import ExportContext, cost_text
from costlab.formatting import units
from costlab.formatting.escaping import visible
from costlab.formatting.module_paths import ancestry
from costlab.reports.header import facts

HEAT = ({"stop": 0, "bgColor": "#FFFFFF"}, {"stop": 1, "bgColor": "#D55E00"})  # white to orange


def graph(context: ExportContext) -> str:
    """A collection of one graph: layers are modules, nodes are operators, with their costs as text."""
    network = {
        "id": graph_id(context),
        "nodes": [node(context, position) for position in range(len(context.profile.ops))],
        "groupNodeAttributes": layers(context),
    }
    return json.dumps({"label": graph_id(context), "graphs": [network]}, indent=1) + "\n"


def node_data(context: ExportContext) -> str:
    """The cost of each operator by the id of the graph, without zeros."""
    values = ((name, data[context.cost]) for name, data in zip(context.names, context.nodes, strict=True))
    data = {
        "name": METRICS[context.cost].label,
        "results": {name: {"value": value} for name, value in values if value},
        "gradient": HEAT,
    }
    return json.dumps({graph_id(context): data}, indent=1) + "\n"


def graph_id(context: ExportContext) -> str:
    """The id and label of the graph."""
    return visible(context.profile.name)


def node(context: ExportContext, position: int) -> dict[str, Any]:
    """An operator as a node."""
    op, name = context.profile.ops[position], context.names[position]
    data = context.nodes[position]
    attrs = {METRICS[key].label: cost_text(key, data[key]) for key in context.keys if data[key] != 0}
    attrs |= {visible(key): visible(str(value)) for key, value in op.attrs.items() if value is not None}
    attrs |= {"source": visible(f"{op.source.file}:{op.source.line}")} if op.source else {}
    attrs |= {word: "yes" for word, true in (("free", op.free), ("estimated", op.estimated)) if true}
    return {
        "id": name,
        "label": visible(op.kind),
        "namespace": namespace(op.module),
        "attrs": key_values(attrs),
        "incomingEdges": [edge(context, before, position) for before in op.after],
        "inputsMetadata": [
            {"id": str(k), "attrs": key_values({"__tensor_tag": visible(tensor.name)})}
            for k, tensor in enumerate(op.inputs)
        ],
        "outputsMetadata": [
            {"id": str(k), "attrs": key_values({"tensor_shape": f"{tensor.dtype}[{units.shape(tensor.shape)}]"})}
            for k, tensor in enumerate(op.outputs)
        ],
    }


def edge(context: ExportContext, before: int, position: int) -> dict[str, str]:
    """An edge from the operator `before`, with the output and the input that share storage."""
    start, end = context.profile.ops[before], context.profile.ops[position]
    output, entry = matching(start, end)
    return {"sourceNodeId": context.names[before], "sourceNodeOutputId": str(output), "targetNodeInputId": str(entry)}


def matching(start: Op, end: Op) -> tuple[int, int]:
    """The first output of `start` and input of `end` that share storage; (0, 0) if none do."""
    outputs = {tensor.storage: k for k, tensor in reversed(list(enumerate(start.outputs)))}
    pairs = ((outputs[tensor.storage], k) for k, tensor in enumerate(end.inputs) if tensor.storage in outputs)
    return next(pairs, (0, 0))


def layers(context: ExportContext) -> dict[str, dict[str, str]]:
    """The cost of each layer with everything inside it, by namespace; the facts of the network under ""."""
    parts: dict[str, list[Cost]] = defaultdict(list)
    for op, cost in zip(context.profile.ops, context.profile.costs, strict=True):
        for path in ancestry(op.module):
            parts[path].append(cost or Cost(params=op.params, param_bytes=op.param_bytes))
    types = {module.path: module.type for module in context.profile.trace.modules}
    result = {"": {fact.label: fact.value for fact in facts(context.profile, context.prediction)}}
    for path, costs in parts.items():
        if not path:
            continue
        whole = total(costs)
        attrs = {"type": visible(types[path])} if path in types else {}
        attrs |= {METRICS[key].label: METRICS[key].format(getattr(whole, key)) for key in SORTABLE}
        result[namespace(path)] = attrs
    return result


def namespace(path: str) -> str:
    """A module path as nested layers. A slash or semicolon would end a name, so both are escaped."""
    names = (visible(name).replace("/", "\\/").replace(";", "\\x3b") for name in path.split("."))
    return "/".join(names) if path else ""


def key_values(attrs: dict[str, str]) -> list[dict[str, str]]:
    """Attributes as Model Explorer has them."""
    return [{"key": key, "value": value} for key, value in attrs.items()]
