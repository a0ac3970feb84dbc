"""Places for the nodes of a DAG: in layers, edges downwards, few of them crossing (Sugiyama, Tagawa, Toda 1981)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

SWEEPS = 12
BEND = 0.25  # the room of edges that pass a layer, where a node has 1
LIGHT = 0.001  # its weight, where a node has 1: nodes stay where they are, edges make way

Node = int | tuple[int, int]  # a node, or the bend in a layer of all edges from a node
Place = tuple[float, int]  # x, whose unit is the width of a node with its margin, and layer


class Layout(NamedTuple):
    """Where nodes are, and the way of every edge from one to the other."""

    places: list[Place]
    ways: dict[tuple[int, int], list[Place]]


def layered(count: int, edges: Iterable[tuple[int, int]]) -> Layout:
    """Places for nodes 0, 1, ..., count - 1; every edge leads from a lower number to a higher one.

    Edges from one node share their way as far as they go together.
    """
    edges = sorted(set(edges))
    layer = [0] * count
    for start, end in sorted(edges, key=lambda edge: edge[1]):
        layer[end] = max(layer[end], layer[start] + 1)
    rows: list[list[Node]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node in range(count):
        rows[layer[node]].append(node)
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    chains: dict[tuple[int, int], list[Node]] = {}
    for start, end in edges:
        bends: list[Node] = [(start, between) for between in range(layer[start] + 1, layer[end])]
        chain = chains[start, end] = [start, *bends, end]
        for upper, lower in pairwise(chain):
            if lower not in below.setdefault(upper, []):
                if isinstance(lower, tuple):
                    rows[lower[1]].append(lower)
                below[upper].append(lower)
                above.setdefault(lower, []).append(upper)
    x: dict[Node, float] = {}
    for row in rows:
        x.update(zip(row, spread(row, [0.0] * len(row)), strict=True))
    for sweep in range(SWEEPS):
        neighbours, order = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        for row in order:
            wished = {node: wish(node, neighbours.get(node, ()), x) for node in row}
            row.sort(key=lambda node: wished[node])
            x.update(zip(row, spread(row, [wished[node] for node in row]), strict=True))
    depth = {node: number for number, row in enumerate(rows) for node in row}
    ways = {edge: [(x[node], depth[node]) for node in chain] for edge, chain in chains.items()}
    return Layout([(x[node], layer[node]) for node in range(count)], ways)


def wish(node: Node, neighbours: Sequence[Node], x: Mapping[Node, float]) -> float:
    """Amid those of its own sort that lead to it, so that chains of nodes stay straight and so do long edges."""
    alike = [n for n in neighbours if type(n) is type(node)]
    return fmean(x[n] for n in alike or neighbours or [node])


def spread(row: Sequence[Node], wished: Sequence[float]) -> list[float]:
    """Places as close as can be to those wished for, in the same order, with room for each.

    Least squares under an order: neighbours that come too close move as one to their mean (pool adjacent violators).
    """
    rooms = [1.0 if isinstance(node, int) else BEND for node in row]
    offsets = [0.0] if row else []
    for left, right in pairwise(rooms):
        offsets.append(offsets[-1] + (left + right) / 2)
    blocks: list[tuple[float, float, int]] = []  # mean of places less their offsets, weight, nodes
    for node, place, offset in zip(row, wished, offsets, strict=True):
        block = place - offset, 1.0 if isinstance(node, int) else LIGHT, 1
        while blocks and blocks[-1][0] > block[0]:
            mean, weight, size = blocks.pop()
            heavier = weight + block[1]
            block = (mean * weight + block[0] * block[1]) / heavier, heavier, size + block[2]
        blocks.append(block)
    means = [mean for mean, _, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
