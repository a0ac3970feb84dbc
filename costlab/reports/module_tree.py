"""The modules of a profile as a tree: each with everything inside it, repeated blocks as one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from costlab.core.cost import COST_KEYS, Cost, total
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.module_paths import ROOT, merge_paths, path_pattern
from costlab.formatting.table import Column, Table

INDENT = "  "


@dataclass
class ModuleNode:
    """A module and everything inside it."""

    name: str
    type: str
    own: Cost
    own_seconds: float
    own_saved: int = 0  # bytes kept for the backward pass
    children: list[ModuleNode] = field(default_factory=list)

    @property
    def cost(self) -> Cost:
        """The cost of the module and its children."""
        return total([self.own, *(child.cost for child in self.children)])

    @property
    def seconds(self) -> float:
        """Predicted seconds of the operators in the module and its children."""
        return self.own_seconds + sum(child.seconds for child in self.children)

    @property
    def saved(self) -> int:
        """Bytes that the module and its children keep for the backward pass."""
        return self.own_saved + sum(child.saved for child in self.children)

    @property
    def shape(self) -> object:
        """Equal for modules that cost the same, part by part."""
        return (
            self.type,
            self.own,
            self.own_saved,
            path_pattern(self.name),
            tuple(child.shape for child in self.children),
        )


class TreeLine(NamedTuple):
    """One line of the tree: a module, or several equal siblings."""

    depth: int
    name: str
    nodes: Sequence[ModuleNode]


def tree_of(profile: Profile, seconds: Mapping[str, float]) -> ModuleNode:
    """The network with its modules; `seconds` are those of its operators by name."""
    by_module: dict[str, float] = {}
    for op in profile.ops:
        by_module[op.module] = by_module.get(op.module, 0.0) + seconds.get(op.name, 0.0)
    nodes: dict[str, ModuleNode] = {"": ModuleNode(ROOT, "", Cost(), 0.0)}
    for path, row in profile.by_module().items():
        own = Cost(**{key: getattr(row, key) for key in COST_KEYS})
        node = node_at(nodes, path)
        node.type, node.own, node.own_seconds = row.type, own, by_module.get(path, 0.0)
        node.own_saved = row.saved_bytes or 0
    return nodes[""]


def node_at(nodes: dict[str, ModuleNode], path: str) -> ModuleNode:
    """The node of a path, made with its parents if it is new."""
    if path not in nodes:
        parent, _, name = path.rpartition(".")
        nodes[path] = ModuleNode(name, "", Cost(), 0.0)
        node_at(nodes, parent).children.append(nodes[path])
    return nodes[path]


def tree_lines(node: ModuleNode, depth: int = 0, limit: int | None = None) -> Iterator[TreeLine]:
    """The lines below a module, down to `limit`; equal siblings that follow each other are one."""
    runs: list[list[ModuleNode]] = []
    for child in node.children:
        if runs and runs[-1][0].shape == child.shape:
            runs[-1].append(child)
        else:
            runs.append([child])
    for run in runs:
        yield TreeLine(depth, merge_paths([each.name for each in run]), run)
        if limit is None or depth + 1 < limit:
            yield from tree_lines(run[0], depth + 1, limit)


def table(profile: Profile, depth: int | None, seconds: Mapping[str, float] | None, whole: float | None) -> Table:
    """The tree as a table. Every line has the cost of one module with everything inside it.

    Args:
        depth: levels below the network that are shown.
        seconds: predicted seconds of the operators; a column only if they are known.
        whole: predicted seconds of the network.
    """
    root = tree_of(profile, seconds or {})
    lines = [TreeLine(0, ROOT, [root]), *(each._replace(depth=each.depth + 1) for each in tree_lines(root, 0, depth))]
    first = [line.nodes[0] for line in lines]
    columns = [
        Column(
            "module", [INDENT * line.depth + line.name for line in lines], left=True, fit="end", least=20, code=True
        ),
        Column("type", [node.type for node in first], ["quiet"] * len(lines), left=True, drop=3, code=True),
        Column("times", [f"x {len(line.nodes)}" if len(line.nodes) > 1 else "" for line in lines], left=True),
    ]
    costs = [node.cost for node in first]
    for drop, key in ((2, "params"), (0, "mult_adds"), (1, "memory_access")):
        columns.append(Column(METRICS[key].label, [METRICS[key].format(getattr(c, key)) for c in costs], drop=drop))
    if profile.trace.step is not None:
        saved = METRICS["saved_bytes"]
        columns.append(Column(saved.label, [saved.format(node.saved) for node in first], drop=1))
    if seconds is not None:
        times = [whole or 0.0, *(node.seconds for node in first[1:])]
        columns.append(Column(METRICS[PREDICTED].label, [units.seconds(time) for time in times]))
    return Table(columns)
