"""A comparison as text, JSON and Markdown: totals, the modules that differ, and the conditions that were asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from costlab.ci.budgets import PREDICTED, Condition
from costlab.comparison import Comparison, Pair
from costlab.core.cost import COST_KEYS
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.escaping import markdown_code, visible
from costlab.formatting.grids import blank
from costlab.reports.columns import ROOT
from costlab.reports.header import running, title
from costlab.reports.text import shortened

TOTALS = {  # label and unit
    "mult_adds": ("mult-adds", ""),
    "params": ("params", ""),
    "memory_access": ("memory access", ""),
    "bytes_accessed": ("bytes accessed", "B"),
    "element_wise_ops": ("element-wise ops", ""),
    "activations": ("activations", ""),
    "peak_activation_bytes": ("peak activation", "B"),
    PREDICTED: ("predicted", "s"),
}
SHOWN = ("mult_adds", "params", "memory_access")  # of every module
ROWS = 30  # modules shown by default
NAME_WIDTH = 36


class Verdict(NamedTuple):
    """A condition, and whether it broke."""

    condition: Condition
    forbidden: bool  # it must not be true
    broken: bool
    grown: tuple[Pair, ...]  # the modules behind it


def changed(comparison: Comparison, top: int | None) -> tuple[list[Pair], list[Pair]]:
    """The modules whose costs differ, the largest change first, and those cut off by `top`."""
    pairs = [p for p in comparison.pairs if any(p.change(key) for key in SHOWN)]
    pairs.sort(key=lambda p: [-abs(p.change(key)) for key in SHOWN])
    return (pairs, []) if top is None else (pairs[:top], pairs[top:])


def counts(comparison: Comparison) -> dict[str, int]:
    """How many modules of each status."""
    result: dict[str, int] = {}
    for pair in comparison.pairs:
        result[pair.status] = result.get(pair.status, 0) + 1
    return result


def total_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Label, base, head, change and ratio of every total."""
    for key, (label, unit) in TOTALS.items():
        before, after = comparison.totals(key)
        if before is not None and after is not None:
            ends = units.quantity(before, unit), units.quantity(after, unit)
            yield label, *ends, units.change(after - before, unit), units.ratio(before, after)


def columns(comparison: Comparison) -> tuple[str, ...]:
    """What is shown of every module, what matters most first."""
    return (PREDICTED, *SHOWN) if comparison.head_latency else SHOWN


def differences(pairs: Sequence[Pair], keys: Sequence[str]) -> list[str]:
    """By how much modules grew together."""
    return [units.change(sum(pair.change(key) for pair in pairs), units.unit_of(key)) for key in keys]


def networks(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """What is compared, line by line."""
    yield "base", title(comparison.base)
    yield "head", title(comparison.head)
    base, head = comparison.base_latency, comparison.head_latency
    if base and head:
        yield "on", running(head if base.batch == head.batch else replace(head, batch=None))


def renamed(pair: Pair) -> str:
    """Both paths of a module that moved."""
    name = visible(pair.name) or ROOT
    return f"{name} (was {visible(pair.base.name) or ROOT})" if pair.status == "moved" and pair.base else name


def told(verdict: Verdict) -> str:
    """A condition and what became of it."""
    text = visible(verdict.condition.text)
    if not verdict.broken:
        return f"ok: {'not ' if verdict.forbidden else ''}{text}"
    growth = ", ".join(
        f"{visible(p.name) or ROOT} {differences([p], [verdict.condition.metric])[0]}" for p in verdict.grown
    )
    return f"BROKEN: {text}" + (f"; grew most: {growth}" if growth else "")


def text(
    comparison: Comparison, verdicts: Sequence[Verdict], top: int | None, width: int, ascii_only: bool = False
) -> Group:
    """Totals, then the modules that differ, `width` cells wide."""
    totals = blank(ascii_only)
    totals.add_column("")
    for name in ("base", "head", "change", ""):
        totals.add_column(name, justify="right", no_wrap=True)
    for cells in total_rows(comparison):
        totals.add_row(*cells)
    shown, rest = changed(comparison, top)
    modules = blank(ascii_only)
    modules.add_column("module", no_wrap=True)
    keys = columns(comparison)[: 4 if width >= 94 else 3 if width >= 80 else 2 if width >= 56 else 1]
    for key in keys:
        modules.add_column(TOTALS[key][0], justify="right", no_wrap=True)
    modules.add_column("", no_wrap=True)
    name_width = max(12, min(NAME_WIDTH, width - 13 * len(keys) - 9))
    for pair in shown:
        name = shortened(renamed(pair), name_width, pair.status != "moved", ascii_only)
        modules.add_row(Text(name), *differences([pair], keys), Text(pair.status, style="dim"))
    if rest:
        modules.add_row(Text(f"{len(rest)} others", style="dim"), *differences(rest, keys), "")
    lines = [Text(told(v), style="bold red" if v.broken else "") for v in verdicts]
    tally = ", ".join(f"{count} {status}" for status, count in counts(comparison).items())
    parts: list[RenderableType] = [modules, Text()] if shown else []
    return Group(
        *(Text(f"{name:<4}  {said}") for name, said in networks(comparison)),
        Text(),
        totals,
        Text(),
        *parts,
        Text(f"modules: {tally}", style="dim"),
        *lines,
    )


def markdown(comparison: Comparison, verdicts: Sequence[Verdict], top: int | None) -> str:
    """The same for pull requests."""
    base, head, *more = (markdown_code(said) for _, said in networks(comparison))
    lines = [
        f"### {base} → {head}",
        "",
        *(f"Predicted for {said}\n" for said in more),
        "| total | base | head | change | |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [f"| {' | '.join(cells)} |" for cells in total_rows(comparison)]
    shown, rest = changed(comparison, top)
    keys = columns(comparison)
    if shown:
        heads = " | ".join(TOTALS[key][0] for key in keys)
        lines += ["", f"| module | {heads} | |", f"| --- |{' ---: |' * len(keys)} --- |"]
    for pair in shown:
        cells = differences([pair], keys)
        lines.append(f"| {markdown_code(renamed(pair))} | {' | '.join(cells)} | {pair.status} |")
    if rest:
        lines.append(f"| {len(rest)} others | {' | '.join(differences(rest, keys))} | |")
    if verdicts:
        lines += ["", *(f"- {markdown_code(told(v))}" for v in verdicts)]
    return "\n".join([*lines, ""])


def document(comparison: Comparison, verdicts: Sequence[Verdict]) -> str:
    """The comparison as JSON: every module of both, unknown values null."""
    keys = (*COST_KEYS, "bytes_accessed")

    def network(profile: Profile) -> dict[str, Any]:
        return {"name": profile.name, "provider": profile.provider, "arguments": dict(profile.arguments)}

    def beside(pair: Pair, key: str) -> dict[str, Any]:
        return {side: getattr(row, key) if row else None for side, row in (("base", pair.base), ("head", pair.head))}

    latencies = {"base": comparison.base_latency, "head": comparison.head_latency}
    summaries = {side: latency.summary for side, latency in latencies.items() if latency}
    return (
        json.dumps(
            {
                "schema_version": 1,
                "base": network(comparison.base),
                "head": network(comparison.head),
                "total": {
                    key: dict(zip(("base", "head"), comparison.totals(key), strict=True))
                    for key in (*keys, "unused_params", "peak_activation_bytes", PREDICTED)
                },
                "latency": summaries or None,
                "modules": [
                    {
                        "base": pair.base.name if pair.base else None,
                        "head": pair.head.name if pair.head else None,
                        "type": (pair.head or pair.base).type,  # type: ignore[union-attr]
                        "status": pair.status,
                        **{key: beside(pair, key) for key in keys},
                        PREDICTED: {"base": pair.base_seconds, "head": pair.head_seconds},
                    }
                    for pair in comparison.pairs
                ],
                "conditions": [{"condition": v.condition.text, "broken": v.broken} for v in verdicts],
            },
            indent=1,
            allow_nan=False,
            default=str,
        )
        + "\n"
    )
