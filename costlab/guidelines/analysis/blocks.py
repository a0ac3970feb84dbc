"""Blocks of a network: modules in which a value forks into branches that meet again."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.module_paths import ancestry
from costlab.guidelines.analysis.antichains import levels, max_antichain_size
from costlab.guidelines.analysis.flow import Read, reads_of

FRAGMENTS = ("convolution", "matmul", "attention", "recurrent", "pooling")  # families of cost rules

Reads = Mapping[int, Sequence[Read]]


@dataclass(frozen=True, slots=True)
class Block:
    """A module with a fork of its own. Fragments in a block inside it count for that block."""

    path: str
    degree: int  # fragments: contractions and poolings
    width: int  # the largest number of fragments of which none depends on another
    levels: tuple[tuple[int, ...], ...]  # positions of fragments that could run in parallel, level by level
    repeated_elements: int  # read by all but one of the parallel readers of a value
    repeated_bytes: int

    @property
    def chain(self) -> int:
        """The number of fragments in the longest chain."""
        return len(self.levels)


def blocks(profile: Profile) -> list[Block]:
    """The blocks of a network that have fragments, in the order of their first operator.

    A module is a block if operators in two of its children, or in one child and the module itself, read the same value,
    and their results meet again inside the module. If a module is called several times on unrelated values, the widest
    call stands for all.
    """
    ops = profile.ops
    reads = reads_of(profile)
    before = {position: [read.value for read in found] for position, found in reads.items()}
    inside: dict[str, list[int]] = {}  # the operators in a module and its children, by path
    for position in reads:
        for path in ancestry(ops[position].module):
            inside.setdefault(path, []).append(position)
    fragments: dict[str, set[int]] = {  # of each block, without those of blocks inside it
        path: set() for path, positions in inside.items() if any(forking_groups(path, positions, ops, before))
    }
    for position in reads:
        if FAMILY_OF.get(ops[position].kind) in FRAGMENTS:
            home = next((path for path in ancestry(ops[position].module) if path in fragments), None)
            if home is not None:
                fragments[home].add(position)
    found = [measure_block(path, inside[path], own, ops, reads) for path, own in fragments.items() if own]
    return sorted(found, key=lambda block: inside[block.path][0])


def measure_block(path: str, positions: Sequence[int], fragments: set[int], ops: Sequence[Op], reads: Reads) -> Block:
    """The block at a path: the width of its widest call, and what its parallel branches read several times.

    Its fragments are without those of blocks inside it.
    """
    before = {position: [read.value for read in reads[position]] for position in positions}
    calls = [(call, own) for call in components(positions, before) if (own := fragments.intersection(call))]
    widths = [max_antichain_size(call, before, own) for call, own in calls]
    width, (call, own) = max(zip(widths, calls, strict=True), key=lambda pair: (pair[0], len(pair[1][1])))
    repeated = [read for fork in forks_of(path, positions, ops, reads) for read in sorted(fork)[:-1]]
    return Block(
        path=path,
        degree=len(own),
        width=width,
        levels=tuple(map(tuple, levels(call, before, own))),
        repeated_elements=sum(read.elements for read in repeated),
        repeated_bytes=sum(read.bytes for read in repeated),
    )


def child_of(path: str, op: Op) -> str:
    """The child of the module at `path` that an operator in it belongs to; "" for the module's own."""
    return op.module[len(path) + 1 if path else 0 :].partition(".")[0]


def readers(positions: Sequence[int], before: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """The operators that read each value."""
    found: dict[int, list[int]] = {}
    for position in positions:
        for value in set(before[position]):
            found.setdefault(value, []).append(position)
    return found


def forking_groups(
    path: str, positions: Sequence[int], ops: Sequence[Op], before: Mapping[int, Sequence[int]]
) -> Iterator[tuple[int, list[int]]]:
    """The values of a module whose branches meet again, each with the operators that read it."""
    for value, group in readers(positions, before).items():
        if len(group) > 1 and meets(path, group, positions, ops, before):
            yield value, group


def meets(
    path: str, group: Sequence[int], positions: Sequence[int], ops: Sequence[Op], before: Mapping[int, Sequence[int]]
) -> bool:
    """Whether branches that begin at the operators of a group, in different children, meet inside the module."""
    branch = {reader: child_of(path, ops[reader]) for reader in group}
    if len(set(branch.values())) < 2:
        return False
    for position in positions[bisect_left(positions, group[0]) :]:
        branches = {branch[value] for value in before[position] if value in branch}
        if position in branch:
            branches.add(branch[position])
        if len(branches) > 1:
            return True
        if branches:
            branch[position] = branches.pop()
    return False


def forks_of(path: str, positions: Sequence[int], ops: Sequence[Op], reads: Reads) -> Iterator[list[Read]]:
    """The forks of a module: for each, the reads of one value by operators that do not depend on each other."""
    before = {position: [read.value for read in reads[position]] for position in positions}
    for value, group in forking_groups(path, positions, ops, before):
        parallel = [reader for reader in group if not depends_on_group(reader, value, group, before)]
        yield [max(read for read in reads[reader] if read.value == value) for reader in parallel]


def depends_on_group(reader: int, value: int, group: Sequence[int], before: Mapping[int, Sequence[int]]) -> bool:
    """Whether a reader of `value` depends on another operator of the group, other than through `value`."""
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
    """The operators of a module in connected groups: those linked by a value that they read or write."""
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
