"""The rows of a report as data: which ones, in which order, and what is left over, so that columns sum to the total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace

from costlab.core.cost import COST_KEYS, Cost, total
from costlab.core.graph import Op
from costlab.core.profile import CostRow, Profile, Total, cut
from costlab.errors import CostlabError

BY = ("module", "kind", "op")
SORTABLE = (*COST_KEYS, "bytes_accessed")
SECONDS = "predicted_seconds"  # a cost like the others where a device is given
ROWS = 30  # what the default depth aims at: a screenful


@dataclass(frozen=True, slots=True)
class Line(CostRow):
    """A row of a report."""

    uncounted: int = 0  # operators in it that no rule knows: its costs leave them out
    estimated: int = 0  # operators in it that rest on a guessed size
    predicted_seconds: float | None = None  # known for a device only

    @property
    def unknown(self) -> bool:
        """Nothing in it has a cost that is known."""
        return 0 < self.ops == self.uncounted

    @property
    def empty(self) -> bool:
        """It costs nothing at all."""
        return not self.uncounted and not any(getattr(self, key) for key in COST_KEYS)


@dataclass(frozen=True)
class Table:
    """The rows of one report. `lines` and `rest` together sum to `total`."""

    by: str  # one of BY
    depth: int | None  # where by is "module": path components shown; None for every module by itself
    key: str  # the cost that shares are of
    lines: tuple[Line, ...]
    rest: tuple[Line, ...]  # parameters that no row owns, and the rows cut off by `top`
    folded: int  # rows left out because they cost nothing
    total: Total
    predicted_seconds: float | None = None  # of the whole forward pass: operators, and waiting between them

    def share(self, row: Cost) -> float | None:
        """The part of the total that a row has; None where the total is nothing."""
        whole = self.predicted_seconds if self.key == SECONDS else getattr(self.total, self.key)
        part = getattr(row, self.key, whole)  # the total itself is a row without seconds of its own
        return part / whole if whole and part is not None else None


def table(
    profile: Profile,
    by: str = "module",
    *,
    depth: int | None = None,
    top: int | None = None,
    sort: str | None = None,
    fold: bool = True,
    seconds: Mapping[str, float] | None = None,
    predicted_seconds: float | None = None,
) -> Table:
    """The rows of a profile.

    Args:
        by: "module", "kind" or "op".
        depth: cut module paths to so many names; by default every module stands for itself.
        top: keep the dearest rows, in the cost `sort` or in mult-adds, and add up the others.
        sort: a cost to sort by, dearest first; by default modules and operators keep the order of execution.
        fold: leave out rows without any cost.
        seconds: predicted for each operator, by its name.
        predicted_seconds: of the whole forward pass.

    Raises:
        CostlabError: no such row or cost, `top` below 1, or a depth without modules.
    """
    timed = seconds is not None
    check_choice(by, depth, top, sort, timed)
    key = cost_named(sort or "mult_adds", timed)
    everything = list(rows_by(profile, by, depth))
    if seconds is not None:
        everything = with_seconds(everything, profile, by, depth, seconds)
    lines = [line for line in everything if not (fold and line.empty)]
    folded = len(everything) - len(lines)
    if sort is not None or top is not None:
        lines.sort(key=lambda line: (-(getattr(line, key) or 0), -line.memory_access))
    rest = []
    if top is not None and len(lines) > top:
        rest.append(together(f"{len(lines) - top} others", lines[top:]))
        lines = lines[:top]
    unread = unread_parameters(profile)
    if by != "module" and unread.params:
        rest.append(unread)
    return Table(by, depth, key, tuple(lines), tuple(rest), folded, profile.total, predicted_seconds)


def check_choice(by: str, depth: int | None, top: int | None, sort: str | None, timed: bool = False) -> None:
    """Raise CostlabError where no profile has such a table."""
    if by not in BY:
        raise CostlabError(f"a report is by {', '.join(BY)}; got {by!r}")
    if depth is not None and by != "module":
        raise CostlabError(f"depth cuts module paths: it goes with rows by module, not by {by}")
    if depth is not None and depth < 0:
        raise CostlabError(f"depth is a number of names in a module path, 0 or more; {depth} is not")
    if top is not None and top < 1:
        raise CostlabError(f"top is a number of rows, 1 or more; {top} is not")
    if sort is not None:
        cost_named(sort, timed)


def cost_named(name: str, timed: bool = False) -> str:
    """The cost that `name` means, written `mult_adds`, `mult-adds` or `mult adds`."""
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    if key == SECONDS and not timed:
        raise CostlabError(f"{SECONDS} are known for a device only: name one with --device")
    if key not in (*SORTABLE, SECONDS):
        raise CostlabError(f"no cost {name!r} to sort by; there are {', '.join(SORTABLE)}, with a device {SECONDS}")
    return key


def rows_by(profile: Profile, by: str, depth: int | None) -> Iterator[Line]:
    if by == "op":
        for op, cost in zip(profile.ops, profile.costs, strict=True):
            known = cost or Cost(params=op.params, param_bytes=op.param_bytes)
            yield Line(
                **{key: getattr(known, key) for key in COST_KEYS},
                name=op.name,
                type=op.kind,
                source=op.source,
                output_shape=op.outputs[0].shape if op.outputs else None,
                ops=int(not op.free),
                uncounted=int(cost is None),
                estimated=int(op.estimated),
            )
        return
    group = grouping(by, depth)
    uncounted = Counter(group(op) for op, cost in zip(profile.ops, profile.costs, strict=True) if cost is None)
    estimated = Counter(group(op) for op in profile.ops if op.estimated)
    rows = profile.by_kind() if by == "kind" else profile.by_module(depth)
    for name, row in rows.items():
        known_row = {field.name: getattr(row, field.name) for field in fields(CostRow)}
        yield Line(**known_row, uncounted=uncounted[name], estimated=estimated[name])


def grouping(by: str, depth: int | None) -> Callable[[Op], str]:
    """The name of the row that an operator belongs to."""
    if by == "op":
        return lambda op: op.name
    return (lambda op: op.kind) if by == "kind" else (lambda op: cut(op.module, depth))


def with_seconds(
    lines: Iterable[Line], profile: Profile, by: str, depth: int | None, seconds: Mapping[str, float]
) -> list[Line]:
    """The rows with what is predicted for their operators."""
    group, sums = grouping(by, depth), Counter[str]()
    for op in profile.ops:
        sums[group(op)] += seconds.get(op.name, 0.0)  # type: ignore[assignment]
    return [replace(line, predicted_seconds=sums[line.name]) for line in lines]


def together(name: str, lines: Iterable[Line]) -> Line:
    """One row for many."""
    lines = list(lines)
    cost = total(lines)
    timed = any(line.predicted_seconds is not None for line in lines)
    return Line(
        **{key: getattr(cost, key) for key in COST_KEYS},
        name=name,
        ops=sum(line.ops for line in lines),
        unused_params=sum(line.unused_params for line in lines),
        uncounted=sum(line.uncounted for line in lines),
        estimated=sum(line.estimated for line in lines),
        predicted_seconds=sum(line.predicted_seconds or 0.0 for line in lines) if timed else None,
    )


def unread_parameters(profile: Profile) -> Line:
    """Parameters that no operator reads: they have a module, but no operator and no kind."""
    modules = profile.trace.modules
    return Line(
        name="unused parameters",
        params=sum(m.unused_params for m in modules),
        param_bytes=sum(m.unused_param_bytes for m in modules),
        unused_params=sum(m.unused_params for m in modules),
    )


def default_depth(profile: Profile) -> int:
    """The deepest depth, 1 at least, at which no more than a screenful of modules costs anything."""
    paths = {op.module for op in profile.ops if not op.free or op.params}
    paths |= {m.path for m in profile.trace.modules if m.unused_params}
    deepest = max((len(path.split(".")) for path in paths), default=1)
    depth = 1
    while depth < deepest and len({cut(path, depth + 1) for path in paths}) <= ROWS:
        depth += 1
    return depth
