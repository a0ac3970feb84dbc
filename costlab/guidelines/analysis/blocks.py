"""Blocks of a network: modules in which some value takes several ways that meet again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.guidelines.analysis.antichains import levels, max_antichain_size
from costlab.guidelines.analysis.flow import Read, reads_of

FRAGMENTS = ("convolution", "matmul", "attention", "recurrent", "pooling")  # families of operators

Reads = Mapping[int, Sequence[Read]]


@dataclass(frozen=True, slots=True)
class Block:
    """A module with a fork of its own. Fragments inside a smaller block are counted there."""

    path: str
    degree: int  # fragments: contractions and poolings
    width: int  # the most of them of which none waits for another
    levels: tuple[tuple[int, ...], ...]  # positions of fragments that could run at the same time, level by level
    repeated_elements: int  # read again by all but one of the operators that read the same value side by side
    repeated_bytes: int

    @property
    def chain(self) -> int:
        """The most fragments that wait for one another."""
        return len(self.levels)


def blocks(profile: Profile) -> list[Block]:
    """The blocks of a network that have fragments, in the order in which they begin.

    A module is a block where operators in two of its children, or in one and in the module itself, read the same value,
    and where what they make of it meets again inside the module. Where calls of a module have nothing to do with each
    other, the widest of them stands for all.
    """
    ops = profile.ops
    reads = reads_of(profile)
    before = {position: [read.value for read in found] for position, found in reads.items()}
    inside: dict[str, list[int]] = {}  # by module, the operators in it and in all of its children
    for position in reads:
        for path in ancestry(ops[position].module):
            inside.setdefault(path, []).append(position)
    forked = [path for path, positions in inside.items() if has_fork(path, positions, ops, before)]
    innermost: dict[str, set[int]] = {path: set() for path in forked}
    for position in reads:
        if FAMILY_OF.get(ops[position].kind) in FRAGMENTS:
            home = next((path for path in ancestry(ops[position].module) if path in innermost), None)
            if home is not None:
                innermost[home].add(position)
    result = []
    for path, fragments in innermost.items():
        measured = []
        for positions in components(inside[path], before):
            own = fragments.intersection(positions)
            if own:
                measured.append((max_antichain_size(positions, before, own), positions, own))
        if measured:
            width, positions, own = max(measured, key=lambda m: (m[0], len(m[2])))
            again = [read for fork in forks_of(path, inside[path], ops, reads) for read in sorted(fork)[:-1]]
            result.append(
                Block(
                    path=path,
                    degree=len(own),
                    width=width,
                    levels=tuple(map(tuple, levels(positions, before, own))),
                    repeated_elements=sum(read.elements for read in again),
                    repeated_bytes=sum(read.bytes for read in again),
                )
            )
    return sorted(result, key=lambda block: inside[block.path][0])


def ancestry(path: str) -> Iterator[str]:
    """A module path, its parent, and so on to the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""


def child_of(path: str, op: Op) -> str:
    """The child of the module at `path` that an operator in it belongs to; "" for the module's own."""
    return op.module[len(path) + 1 if path else 0 :].partition(".")[0]


def readers(positions: Sequence[int], before: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """By value, the operators that read it."""
    found: dict[int, list[int]] = {}
    for position in positions:
        for value in set(before[position]):
            found.setdefault(value, []).append(position)
    return found


def has_fork(path: str, positions: Sequence[int], ops: Sequence[Op], before: Mapping[int, Sequence[int]]) -> bool:
    """Whether some value that several children read meets itself again."""
    return any(
        meets(path, group, positions, ops, before) for group in readers(positions, before).values() if len(group) > 1
    )


def meets(
    path: str, group: Sequence[int], positions: Sequence[int], ops: Sequence[Op], before: Mapping[int, Sequence[int]]
) -> bool:
    """Whether ways that begin at operators of a group, in different children, meet at an operator of the module."""
    way = {reader: child_of(path, ops[reader]) for reader in group}
    if len(set(way.values())) < 2:
        return False
    for position in positions[bisect_left(positions, group[0]) :]:
        ways = {way[value] for value in before[position] if value in way}
        if position in way:
            ways.add(way[position])
        if len(ways) > 1:
            return True
        if ways:
            way[position] = ways.pop()
    return False


def forks_of(path: str, positions: Sequence[int], ops: Sequence[Op], reads: Reads) -> Iterator[list[Read]]:
    """The forks of a module: what operators read of the same value side by side, none waiting for another."""
    before = {position: [read.value for read in reads[position]] for position in positions}
    for value, group in readers(positions, before).items():
        if len(group) < 2 or not meets(path, group, positions, ops, before):
            continue
        apart = [reader for reader in group if not waits(reader, value, group, before)]
        yield [max(read for read in reads[reader] if read.value == value) for reader in apart]


def waits(reader: int, value: int, group: Sequence[int], before: Mapping[int, Sequence[int]]) -> bool:
    """Whether an operator that reads `value` needs what another of the group makes of it."""
    others = {r for r in group if r < reader}
    pending = [v for v in before[reader] if v != value]
    seen = set(pending)
    while pending:
        position = pending.pop()
        if position in others:
            return True
        for v in before.get(position, ()):
            if v not in seen and v >= min(others, default=reader):
                seen.add(v)
                pending.append(v)
    return False


def components(positions: Sequence[int], before: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """The operators of a module in groups that have to do with each other: through a value that both read or make."""
    leader: dict[int, int] = {}

    def find(node: int) -> int:
        while leader.setdefault(node, node) != node:
            leader[node] = node = leader[leader[node]]
        return node

    for position in positions:
        for value in before[position]:
            leader[find(value)] = find(position)
    groups: dict[int, list[int]] = {}
    for position in positions:
        groups.setdefault(find(position), []).append(position)
    return list(groups.values())
