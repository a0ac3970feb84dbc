"""Positions for the nodes of a DAG: in layers, edges downwards, with few crossings (Sugiyama, Tagawa, Toda 1981)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from statistics import fmean
from typing import NamedTuple

SWEEPS = 12
BEND = 0.25  # the width of a bend, relative to a node
LIGHT = 0.001  # the weight of a bend, relative to a node: nodes keep their positions, edges make way

Node = int | tuple[int, int]  # a node, or the bend in a layer of all edges from a node
Position = tuple[float, int]  # x in widths of a node with its margin, and layer


class LayeredLayout(NamedTuple):
    """The positions of nodes, and the route of every edge from one to the other."""

    positions: list[Position]
    routes: dict[tuple[int, int], list[Position]]


def layered_layout(count: int, edges: Iterable[tuple[int, int]]) -> LayeredLayout:
    """Positions for nodes 0, 1, ..., count - 1 of a DAG. Edges from one node share their route as far as possible."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(edges)
    rows: list[list[Node]] = [sorted(nodes) for nodes in nx.topological_generations(graph)]
    layer: dict[Node, int] = {node: number for number, row in enumerate(rows) for node in row}
    bent = nx.DiGraph()  # the same graph with a bend wherever an edge passes a layer
    bent.add_nodes_from(range(count))
    routes: dict[tuple[int, int], list[Node]] = {}
    for start, end in sorted(graph.edges):
        bends: list[Node] = [(start, number) for number in range(layer[start] + 1, layer[end])]
        for number, bend in enumerate(bends, layer[start] + 1):
            if bend not in layer:
                layer[bend] = number
                rows[number].append(bend)
        routes[start, end] = [start, *bends, end]
        nx.add_path(bent, routes[start, end])
    x: dict[Node, float] = {}
    for row in rows:
        x.update(zip(row, spread(row, [0.0] * len(row)), strict=True))
    for sweep in range(SWEEPS):
        neighbours, order = (bent.pred, rows) if sweep % 2 == 0 else (bent.succ, rows[::-1])
        for row in order:
            targets = {node: preferred(node, neighbours[node], x) for node in row}
            row.sort(key=lambda node: targets[node])
            x.update(zip(row, spread(row, [targets[node] for node in row]), strict=True))
    paths = {edge: [(x[node], layer[node]) for node in route] for edge, route in routes.items()}
    return LayeredLayout([(x[node], layer[node]) for node in range(count)], paths)


def preferred(node: Node, neighbours: Collection[Node], x: Mapping[Node, float]) -> float:
    """The mean x of the neighbours of the node's own type, so that chains of nodes and long edges stay straight."""
    alike = [n for n in neighbours if type(n) is type(node)]
    return fmean(x[n] for n in alike or neighbours or [node])


def spread(row: Sequence[Node], targets: Sequence[float]) -> list[float]:
    """x as close as possible to the targets, in the same order and without overlaps (weighted least squares)."""
    from scipy.optimize import isotonic_regression

    if not row:
        return []
    widths = [1.0 if isinstance(node, int) else BEND for node in row]
    weights = [1.0 if isinstance(node, int) else LIGHT for node in row]
    offsets = list(accumulate(((left + right) / 2 for left, right in pairwise(widths)), initial=0.0))
    fitted = isotonic_regression([t - o for t, o in zip(targets, offsets, strict=True)], weights=weights).x
    return [float(x) + offset for x, offset in zip(fitted, offsets, strict=True)]
