"""Two networks side by side: totals, and modules matched by path, or by what they compute if their path has changed."""

from collections import defaultdict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from costlab.core.cost import COST_KEYS
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import CostRow, Profile
from costlab.formatting.facts import title
from costlab.formatting.notebook import ShownInNotebooks
from costlab.formatting.units import ratio
from costlab.latency.device import Device
from costlab.latency.prediction import Prediction


@dataclass(frozen=True)
class ModulePair:
    """A module of the base beside one of the head; one of them is None if it was removed or added."""

    base: CostRow | None
    head: CostRow | None
    base_seconds: float | None = None  # predicted for its operators; None without a device
    head_seconds: float | None = None

    @property
    def status(self) -> str:
        """ "same", "changed", "moved", "added" or "removed"."""
        if self.base is None:
            return "added"
        if self.head is None:
            return "removed"
        if self.base.name != self.head.name:
            return "moved"
        same = all(getattr(self.base, key) == getattr(self.head, key) for key in COST_KEYS)
        return "same" if same else "changed"

    @property
    def name(self) -> str:
        """The path in the head, or in the base if the module was removed."""
        return (self.head or self.base or CostRow()).name

    def change(self, key: str) -> float:
        """By how much a metric grew from base to head."""
        if key == PREDICTED:
            return (self.head_seconds or 0.0) - (self.base_seconds or 0.0)
        return (getattr(self.head, key) if self.head else 0) - (getattr(self.base, key) if self.base else 0)


@dataclass(frozen=True)
class Comparison(ShownInNotebooks):
    """`head` beside `base`. The pairs hold every module of both with its own cost: their changes sum to the totals'."""

    base: Profile
    head: Profile
    pairs: tuple[ModulePair, ...] = field(repr=False)
    base_latency: Prediction | None = None  # None without a device
    head_latency: Prediction | None = None

    def totals(self, key: str) -> tuple[float | None, float | None]:
        """A metric of base and head; None if it is not known."""
        return total_of(self.base, self.base_latency, key), total_of(self.head, self.head_latency, key)

    def grown(self, key: str, most: int = 3) -> list[ModulePair]:
        """The modules whose metric grew most, largest increase first."""
        if not METRICS[key].per_module:
            return []
        pairs = [pair for pair in self.pairs if pair.change(key) > 0]
        return sorted(pairs, key=lambda pair: -pair.change(key))[:most]

    def __str__(self) -> str:
        """The main totals before and after."""
        keys = ("mult_adds", "params", "memory_access", *([PREDICTED] if self.head_latency else []))
        changes = (f"{METRICS[key].label} {before_and_after(key, *self.totals(key))}" for key in keys)
        return f"{title(self.base)} → {title(self.head)}: {', '.join(changes)}"


def before_and_after(key: str, before: float | None, after: float | None) -> str:
    """`874.2 M → 1.250 G (+43.0%)`, or one value if nothing changed."""
    show = METRICS[key].format
    if before is None or after is None or before == after:
        return show(after)
    return f"{show(before)} → {show(after)} ({ratio(before, after)})"


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

    Modules with the same path and type match. Of the others, those match, in order, whose type and whose operators'
    kinds, shapes and attributes are the same: they were renamed or moved.

    Args:
        base: the profile to compare with.
        head: the profile to compare.
        device: predict the latency of both on this device.
        amp, fusion, channels_last: how to predict it, see `predict`. A fused operator belongs to the module of the
            operator that it is named after.

    Raises:
        CostlabError: unknown device or fusion.
    """
    before, after = base.by_module(), head.by_module()
    partners = matched_modules(before, after, signatures(base), signatures(head))
    base_latency = head_latency = None
    base_seconds: Mapping[str, float] = {}
    head_seconds: Mapping[str, float] = {}
    if device is not None:
        from costlab.latency._predict import predict  # imports numpy, which nothing else here needs

        base_latency, head_latency = (
            predict(profile, device, amp=amp, fusion=fusion, channels_last=channels_last) for profile in (base, head)
        )
        base_seconds = seconds_by_module(base, base_latency)
        head_seconds = seconds_by_module(head, head_latency)

    def pair(old: str | None, new: str | None) -> ModulePair:
        return ModulePair(
            None if old is None else before[old],
            None if new is None else after[new],
            None if old is None or device is None else base_seconds.get(old, 0.0),
            None if new is None or device is None else head_seconds.get(new, 0.0),
        )

    taken = set(partners.values())
    pairs = [pair(partners.get(path), path) for path in after]
    pairs += [pair(path, None) for path in before if path not in taken]
    return Comparison(base, head, tuple(pairs), base_latency, head_latency)


def matched_modules(
    before: Mapping[str, CostRow],
    after: Mapping[str, CostRow],
    signatures_before: Mapping[str, Hashable],
    signatures_after: Mapping[str, Hashable],
) -> dict[str, str]:
    """The path in the base of each module of the head that has a partner there."""
    partners = {path: path for path, row in after.items() if path in before and before[path].type == row.type}
    unmatched: dict[Hashable, deque[str]] = defaultdict(deque)
    for path in before:
        if path not in partners and path in signatures_before:
            unmatched[before[path].type, signatures_before[path]].append(path)
    for path, row in after.items():
        candidates = unmatched.get((row.type, signatures_after.get(path)))
        if path not in partners and candidates:
            partners[path] = candidates.popleft()
    taken = set(partners.values())
    same_path_other_type = after.keys() & before.keys() - partners.keys() - taken
    return partners | {path: path for path in same_path_other_type}


def total_of(profile: Profile, prediction: Prediction | None, key: str) -> float | None:
    """A metric of a whole network; None if it needs a prediction and has none."""
    if key == PREDICTED:
        return prediction.seconds if prediction else None
    total: float | None = getattr(profile.total, key)
    return total


def seconds_by_module(profile: Profile, prediction: Prediction) -> dict[str, float]:
    """Predicted seconds of each module's own operators."""
    seconds: dict[str, float] = defaultdict(float)
    for op in profile.fused(prediction.fusion).ops:
        if op.name in prediction.by_op:
            seconds[op.module] += prediction.by_op[op.name]
    return seconds


def signatures(profile: Profile) -> dict[str, Hashable]:
    """What each module computes itself: kinds, shapes, dtypes and attributes of its operators."""
    operations: dict[str, list[Hashable]] = defaultdict(list)
    for op in profile.ops:
        if not op.free:
            shapes = tuple((t.shape, t.dtype) for t in (*op.inputs, *op.outputs))
            operations[op.module].append((op.kind, shapes, str(sorted(op.attrs.items()))))
    return {path: tuple(each) for path, each in operations.items()}
