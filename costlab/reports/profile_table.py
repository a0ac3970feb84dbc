"""The rows of a report as data: which ones, in which order, and the rest, so that columns sum to the total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any, NamedTuple

from costlab.core.cost import COST_KEYS, FAMILY_OF, Cost, total
from costlab.core.graph import Op
from costlab.core.metrics import MEASURED, PREDICTED, metric_named
from costlab.core.profile import CostRow, Profile, Total, cut
from costlab.errors import CostlabError
from costlab.formatting import units

BY = ("module", "kind", "op")
ROWS = 30  # the default depth shows no more: a screenful
WORDS: dict[str, Callable[[ReportRow], Any]] = {  # columns other than costs, and how to sort by them
    "name": lambda row: row.name,
    "type": lambda row: row.type,
    "input": lambda row: row.words.input,
    "output": lambda row: -prod(row.output_shape or (0,)),
    "kernel": lambda row: row.words.kernel,
    "groups": lambda row: row.words.groups,
    "ops": lambda row: -row.ops,
    "calls": lambda row: -(row.calls or 0),
    "unused_params": lambda row: -row.unused_params,
}


class LayerWords(NamedTuple):
    """What a row is about, beside its costs."""

    input: str = ""  # shape of what its first operator reads
    kernel: str = ""  # of its convolutions, "" if they differ
    groups: str = ""


NO_WORDS = LayerWords()


@dataclass(frozen=True, slots=True)
class ReportRow(CostRow):
    """A row of a report."""

    estimated: int = 0  # operators in it whose cost depends on a guessed size
    never_ran: bool = False  # a module with parameters that no input reached
    words: LayerWords = NO_WORDS
    predicted_seconds: float | None = None  # with a device only

    def cost(self, key: str) -> float | None:
        """One of its costs; None if no operator in it has a cost rule. Parameters are always known."""
        unknown = 0 < self.ops == self.uncounted and key not in ("params", "param_bytes", "trainable_params")
        return None if unknown else getattr(self, key)

    @property
    def empty(self) -> bool:
        """Whether it costs nothing at all."""
        return not self.uncounted and not any(getattr(self, key) for key in COST_KEYS)


@dataclass(frozen=True)
class CostTable:
    """The rows of one report. `lines` and `rest` together sum to `total`."""

    by: str  # one of BY
    depth: int | None  # where by is "module": path components shown; None for every module by itself
    key: str  # the cost that shares are of
    lines: tuple[ReportRow, ...]
    rest: tuple[ReportRow, ...]  # parameters that no row owns, and the rows cut off by `top`
    folded: int  # rows left out because they cost nothing
    total: Total
    predicted_seconds: float | None = None  # of the whole forward pass: operators and gaps between them
    columns: tuple[str, ...] = ()  # that are shown after the name; none: the default ones

    def share(self, row: Cost) -> float | None:
        """The share of the total that a row has; None if the total is 0."""
        whole = self.predicted_seconds if self.key == PREDICTED else getattr(self.total, self.key)
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
    columns: Sequence[str] = (),
) -> CostTable:
    """The rows of a profile.

    Args:
        by: "module", "kind" or "op".
        depth: cut module paths to this many names; by default every module has its own row.
        top: show the first rows in the order of `sort`, and sum the rest.
        sort: a column to sort by: costs most expensive first, words from A. Default: predicted seconds if they are
            known; else modules and operators keep their execution order, and `top` means mult-adds.
        fold: leave out rows that cost nothing.
        seconds: the predicted time of each operator, by name.
        predicted_seconds: the predicted time of the whole forward pass.
        columns: columns to show after the name.

    Returns:
        The rows; those in `lines` and `rest` sum to `total`.

    Raises:
        CostlabError: an unknown `by` or metric, `top` below 1, or `depth` with rows other than modules.
    """
    timed = seconds is not None
    check_choice(by, depth, top, sort, timed)
    sort = column_key(sort, timed) if sort else PREDICTED if timed else None
    key = sort if sort and sort not in WORDS else PREDICTED if timed else "mult_adds"
    everything = list(rows_by(profile, by, depth))
    if seconds is not None:
        everything = with_seconds(everything, profile, by, depth, seconds)
    lines = [line for line in everything if not (fold and line.empty)]
    folded = len(everything) - len(lines)
    if sort in WORDS:
        lines.sort(key=WORDS[sort])
    elif sort is not None or top is not None:
        lines.sort(key=lambda line: (-(getattr(line, key) or 0), -line.memory_access))
    rest = []
    if top is not None and len(lines) > top:
        rest.append(together(f"{len(lines) - top} others", lines[top:]))
        lines = lines[:top]
    if by != "module":
        rest += unread_parameters(profile)
    keys = tuple(column_key(name, timed) for name in columns)
    return CostTable(by, depth, key, tuple(lines), tuple(rest), folded, profile.total, predicted_seconds, keys)


def column_key(name: str, timed: bool) -> str:
    """The key of the column that a name means. Raises CostlabError if there is none."""
    word = name.strip().lower()
    if word in WORDS or word in BY:
        return "name" if word in BY else word
    key = metric_named(word, lambda metric: metric.per_module and metric.key != MEASURED, WORDS).key
    if key == PREDICTED and not timed:
        raise CostlabError(f"{PREDICTED} needs a device: choose one with --device")
    return key


def check_choice(by: str, depth: int | None, top: int | None, sort: str | None, timed: bool = False) -> None:
    """Raise CostlabError if no profile has such a table."""
    if by not in BY:
        raise CostlabError(f"rows are by {', '.join(BY[:-1])} or {BY[-1]}, got {by!r}")
    if depth is not None and by != "module":
        raise CostlabError(f"depth needs rows by module, got rows by {by}")
    if depth is not None and depth < 0:
        raise CostlabError(f"depth must be 0 or greater, got {depth}")
    if top is not None and top < 1:
        raise CostlabError(f"top must be 1 or greater, got {top}")
    if sort is not None:
        column_key(sort, timed)


def rows_by(profile: Profile, by: str, depth: int | None) -> Iterator[ReportRow]:
    """Every row, in the order of the profile."""
    if by == "op":
        for op, cost in zip(profile.ops, profile.costs, strict=True):
            known = cost or Cost(params=op.params, param_bytes=op.param_bytes)
            yield ReportRow(
                **{key: getattr(known, key) for key in COST_KEYS},
                name=op.name,
                type=op.kind,
                source=op.source,
                output_shape=op.outputs[0].shape if op.outputs else None,
                ops=int(not op.free),
                frozen_params=op.frozen_params,
                uncounted=int(cost is None),
                estimated=int(op.estimated),
                words=described([op]),
            )
        return
    group = grouping(by, depth)
    estimated = Counter(group(op) for op in profile.ops if op.estimated)
    members: dict[str, list[Op]] = {}
    for op in profile.ops:
        members.setdefault(group(op), []).append(op)
    rows = profile.by_kind() if by == "kind" else profile.by_module(depth)
    uncalled = set(profile.uncalled)
    for name, row in rows.items():
        known_row = {field.name: getattr(row, field.name) for field in fields(CostRow)}
        never_ran = by == "module" and name in uncalled and row.unused_params > 0
        words = described(members.get(name, []))
        yield ReportRow(**known_row, estimated=estimated[name], never_ran=never_ran, words=words)


def described(ops: Sequence[Op]) -> LayerWords:
    """The input, the kernel and the groups of some operators."""
    reads = (t for op in ops for t in op.inputs if t.role in ("input", "activation"))
    layers = [op for op in ops if op.find("weight") and FAMILY_OF.get(op.kind) == "convolution"]
    kernels = {units.shape(op["weight"].shape[2:]) for op in layers}
    groups = {str(op.attrs.get("groups", 1)) for op in layers}
    return LayerWords(
        input=next((units.shape(t.shape) for t in reads), ""),
        kernel=kernels.pop() if len(kernels) == 1 else "",
        groups=groups.pop() if len(groups) == 1 else "",
    )


def grouping(by: str, depth: int | None) -> Callable[[Op], str]:
    """The name of the row that an operator belongs to."""
    if by == "op":
        return lambda op: op.name
    return (lambda op: op.kind) if by == "kind" else (lambda op: cut(op.module, depth))


def with_seconds(
    lines: Iterable[ReportRow], profile: Profile, by: str, depth: int | None, seconds: Mapping[str, float]
) -> list[ReportRow]:
    """The rows with the predicted time of their operators."""
    group, sums = grouping(by, depth), Counter[str]()
    for op in profile.ops:
        sums[group(op)] += seconds.get(op.name, 0.0)  # type: ignore[assignment]
    return [replace(line, predicted_seconds=sums[line.name]) for line in lines]


def together(name: str, lines: Iterable[ReportRow]) -> ReportRow:
    """One row for several."""
    lines = list(lines)
    cost = total(lines)
    timed = any(line.predicted_seconds is not None for line in lines)
    return ReportRow(
        **{key: getattr(cost, key) for key in COST_KEYS},
        name=name,
        ops=sum(line.ops for line in lines),
        unused_params=sum(line.unused_params for line in lines),
        frozen_params=sum(line.frozen_params for line in lines),
        uncounted=sum(line.uncounted for line in lines),
        estimated=sum(line.estimated for line in lines),
        predicted_seconds=sum(line.predicted_seconds or 0.0 for line in lines) if timed else None,
    )


def unread_parameters(profile: Profile) -> list[ReportRow]:
    """Parameters that no operator reads: they belong to a module, but to no operator and no kind."""
    uncalled = set(profile.uncalled)
    groups = {
        "modules that never ran": [m for m in profile.trace.modules if m.path in uncalled],
        "unused parameters": [m for m in profile.trace.modules if m.path not in uncalled],
    }
    rows = [
        ReportRow(
            name=name,
            params=sum(m.unused_params for m in modules),
            param_bytes=sum(m.unused_param_bytes for m in modules),
            unused_params=sum(m.unused_params for m in modules),
            frozen_params=sum(m.unused_frozen_params for m in modules),
        )
        for name, modules in groups.items()
    ]
    return [row for row in rows if row.params]


def default_depth(profile: Profile) -> int:
    """The greatest depth, at least 1, at which no more than a screenful of modules costs anything."""
    paths = {op.module for op in profile.ops if not op.free or op.params}
    return fitting_depth(paths | {m.path for m in profile.trace.modules if m.unused_params})


def fitting_depth(paths: Collection[str]) -> int:
    """The greatest depth, at least 1, at which module paths make no more than a screenful of rows."""
    deepest = max((path.count(".") + 1 for path in paths), default=1)
    depth = 1
    while depth < deepest and len({cut(path, depth + 1) for path in paths}) <= ROWS:
        depth += 1
    return depth
