"""Two networks side by side: totals, and modules matched by path, or by what they are where the path has changed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass

from costlab.profiles import COST_KEYS, Profile, Row


@dataclass(frozen=True)
class Pair:
    """A module of the base beside one of the head; one of them is None where it was removed or added."""

    base: Row | None
    head: Row | None

    @property
    def status(self) -> str:
        """same, changed, moved, added or removed."""
        if self.base is None:
            return "added"
        if self.head is None:
            return "removed"
        if self.base.name != self.head.name:
            return "moved"
        return "same" if costs(self.base) == costs(self.head) else "changed"

    @property
    def name(self) -> str:
        """The path, in the head where it is there."""
        return (self.head or self.base or Row()).name

    def change(self, key: str) -> int:
        """By how much a cost grew from base to head."""
        return (getattr(self.head, key) if self.head else 0) - (getattr(self.base, key) if self.base else 0)


@dataclass(frozen=True)
class Comparison:
    """`head` beside `base`. The pairs hold every module of both with its own cost, so changes sum to the totals'."""

    base: Profile
    head: Profile
    pairs: tuple[Pair, ...]

    def grown(self, key: str, most: int = 3) -> list[Pair]:
        """The modules that grew most in a cost, by how much."""
        if not hasattr(Row, key):  # a total that modules have no part in
            return []
        pairs = [pair for pair in self.pairs if pair.change(key) > 0]
        return sorted(pairs, key=lambda pair: -pair.change(key))[:most]

    def _repr_markdown_(self) -> str:
        from costlab.reports.comparison import ROWS, markdown

        return markdown(self, (), ROWS)


def compare(base: Profile, head: Profile) -> Comparison:
    """Match the modules of two profiles.

    A module of the head is that of the base with the same path and type. Those left over match in order where their
    operators, shapes and attributes are the same: they were renamed or moved.
    """
    before, after = base.by_module(), head.by_module()
    partner = {path: path for path, row in after.items() if path in before and before[path].type == row.type}
    orphans: dict[Hashable, deque[str]] = defaultdict(deque)
    shapes_before, shapes_after = signatures(base), signatures(head)
    for path in before:
        if path not in partner and shapes_before.get(path):
            orphans[before[path].type, shapes_before[path]].append(path)
    for path, row in after.items():
        candidates = orphans.get((row.type, shapes_after.get(path)))
        if path not in partner and candidates:
            partner[path] = candidates.popleft()
    for path in after:  # the same place with another type of module
        if path not in partner and path in before and path not in partner.values():
            partner[path] = path
    pairs = [Pair(before.get(partner.get(path, "\0")), row) for path, row in after.items()]
    taken = set(partner.values())
    pairs += [Pair(row, None) for path, row in before.items() if path not in taken]
    return Comparison(base, head, tuple(pairs))


def signatures(profile: Profile) -> dict[str, Hashable]:
    """What each module does itself: kinds, shapes, dtypes and attributes of its operators."""
    found: dict[str, list[Hashable]] = defaultdict(list)
    for op in profile.ops:
        if not op.free:
            shapes = tuple((t.shape, t.dtype) for t in (*op.inputs, *op.outputs))
            found[op.module].append((op.kind, shapes, str(sorted(op.attrs.items()))))
    return {path: tuple(operations) for path, operations in found.items()}


def costs(row: Row) -> tuple[int, ...]:
    return tuple(getattr(row, key) for key in COST_KEYS)
