"""Two networks side by side: totals, and modules matched by path, or by what they are where the path has changed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from costlab.ci.budgets import PREDICTED
from costlab.core.cost import COST_KEYS
from costlab.core.profile import CostRow, Profile

if TYPE_CHECKING:
    from costlab.latency.devices import Device
    from costlab.latency.prediction import Prediction


@dataclass(frozen=True)
class Pair:
    """A module of the base beside one of the head; one of them is None where it was removed or added."""

    base: CostRow | None
    head: CostRow | None
    base_seconds: float | None = None  # of its operators on a device; None where none is asked for
    head_seconds: float | None = None

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
        return (self.head or self.base or CostRow()).name

    def change(self, key: str) -> float:
        """By how much a cost, or `predicted_seconds`, grew from base to head."""
        if key == PREDICTED:
            return (self.head_seconds or 0.0) - (self.base_seconds or 0.0)
        return (getattr(self.head, key) if self.head else 0) - (getattr(self.base, key) if self.base else 0)


@dataclass(frozen=True)
class Comparison:
    """`head` beside `base`. The pairs hold every module of both with its own cost, so changes sum to the totals'."""

    base: Profile
    head: Profile
    pairs: tuple[Pair, ...] = field(repr=False)
    base_latency: Prediction | None = None  # on a device
    head_latency: Prediction | None = None

    def totals(self, key: str) -> tuple[float | None, float | None]:
        """A total, or `predicted_seconds`, of base and head; None where it is not known."""
        if key == PREDICTED:
            before, after = self.base_latency, self.head_latency
            return before.seconds if before else None, after.seconds if after else None
        return getattr(self.base.total, key), getattr(self.head.total, key)

    def grown(self, key: str, most: int = 3) -> list[Pair]:
        """The modules that grew most in a cost, by how much."""
        if key != PREDICTED and not hasattr(CostRow, key):  # a total that modules have no part in
            return []
        pairs = [pair for pair in self.pairs if pair.change(key) > 0]
        return sorted(pairs, key=lambda pair: -pair.change(key))[:most]

    def _repr_html_(self) -> str:
        from costlab.formatting.notebook import html_repr

        return html_repr(self)


def compare(
    base: Profile,
    head: Profile,
    *,
    device: str | Path | Device | None = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
) -> Comparison:
    """Match the modules of two profiles.

    A module of the head is that of the base with the same path and type. Those left over match in order where their
    operators, shapes and attributes are the same: they were renamed or moved.

    Args:
        device, amp, fusion, channels_last: predict the latency of both, see `predict`. Operators that are joined belong
            to the module of the one they are called by.

    Raises:
        CostlabError: there is no such device or fusion.
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
    if device is None:
        return Comparison(base, head, tuple(pairs))
    from costlab.latency._predict import predict  # numpy, which nothing else here needs

    old, new = (
        predict(profile, device, amp=amp, fusion=fusion, channels_last=channels_last) for profile in (base, head)
    )
    was, now = seconds_by_module(base, old), seconds_by_module(head, new)
    timed = [
        replace(
            pair,
            base_seconds=was.get(pair.base.name, 0.0) if pair.base else None,
            head_seconds=now.get(pair.head.name, 0.0) if pair.head else None,
        )
        for pair in pairs
    ]
    return Comparison(base, head, tuple(timed), old, new)


def seconds_by_module(profile: Profile, prediction: Prediction) -> dict[str, float]:
    """Predicted seconds of the operators of each module itself, dearest first."""
    found: dict[str, float] = defaultdict(float)
    for op in profile.fused(prediction.fusion).ops:
        if op.name in prediction.by_op:
            found[op.module] += prediction.by_op[op.name]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def signatures(profile: Profile) -> dict[str, Hashable]:
    """What each module does itself: kinds, shapes, dtypes and attributes of its operators."""
    found: dict[str, list[Hashable]] = defaultdict(list)
    for op in profile.ops:
        if not op.free:
            shapes = tuple((t.shape, t.dtype) for t in (*op.inputs, *op.outputs))
            found[op.module].append((op.kind, shapes, str(sorted(op.attrs.items()))))
    return {path: tuple(operations) for path, operations in found.items()}


def costs(row: CostRow) -> tuple[int, ...]:
    return tuple(getattr(row, key) for key in COST_KEYS)
