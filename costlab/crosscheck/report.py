"""A check as text, as Markdown and as JSON."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from costlab.core.serialization import SCHEMA_VERSION, json_lines, jsonable
from costlab.crosscheck.activations import ActivationCheck
from costlab.crosscheck.differences import CountDifference, CrossCheck
from costlab.crosscheck.emulation import ConventionCount
from costlab.crosscheck.explanations import FAILED, UNEXPLAINED
from costlab.formatting import facts as header
from costlab.formatting import table as tables
from costlab.formatting import units
from costlab.formatting.escaping import markdown_text
from costlab.formatting.facts import Fact, title
from costlab.formatting.table import Column, Table
from costlab.reports.header import coverage, inputs

COUNTERS = {"fvcore": "FlopCountAnalysis", "torch": "FlopCounterMode, its FLOPs halved"}


def facts(check: CrossCheck, printed: ConventionCount | None) -> list[Fact]:
    """The header: the network, the tools, and what the comparison leaves out."""
    profile = check.profile
    lines = [*inputs(profile.trace.inputs), *(fact for fact in coverage(profile) if fact.tone)]
    for reading in check.readings:
        lines.append(Fact(reading.tool, f"{reading.version}, {COUNTERS[reading.tool]}"))
        if reading.note:
            lines.append(Fact("", reading.note))
    if printed:
        stops = f"; it stops with an error at {printed.stops_at}" if printed.stops_at else ""
        lines.append(Fact(f"{printed.tool} rules", f"what {printed.tool} would print{stops}"))
    if check.unconfirmed:
        unseen = ", ".join(f"{kind} {units.short(count)}" for kind, count in check.unconfirmed.items())
        lines.append(Fact("unconfirmed", f"no tool counts {unseen}", "estimate"))
    return lines


def verdict(check: CrossCheck, activations: ActivationCheck) -> str:
    """The outcome in one line."""
    ran = [r.tool for r in check.readings if r.failure is None]
    count = len(check.unexplained) + len(activations.unexplained)
    if count:
        return f"{count} difference{'s' if count > 1 else ''} without an explanation"
    if not ran:
        return "nothing was checked: no other counter ran"
    explained = sum(d.cause != FAILED for d in check.differences)
    what = f"{explained} difference{'s' if explained != 1 else ''}, explained" if explained else "no difference"
    failed = "".join(f"; {d.tool} did not run" for d in check.differences if d.cause == FAILED)
    return f"{what} ({' and '.join(ran)}){failed}"


def counts_table(check: CrossCheck, printed: ConventionCount | None, write: Callable[[int], str]) -> Table:
    """Mult-adds by family: costlab's, each tool's, and those a convention gives."""
    families = check.families()
    columns: dict[str, tuple[Mapping[str, int], int | None]] = {
        "costlab": ({f: counts["costlab"] for f, counts in families.items()}, check.profile.mult_adds)
    }
    for reading in check.readings:
        if reading.failure is None:
            columns[reading.tool] = {f: counts[reading.tool] for f, counts in families.items()}, reading.total
    if printed:
        columns[f"{printed.tool} rules"] = printed.families, printed.total
    names = list(dict.fromkeys([*families, *(printed.families if printed else ())]))
    return Table(
        [
            Column("family", names, (), "total", left=True, fit="wrap", least=8, code=True),
            *(
                Column(tool, [write(counts.get(f, 0)) for f in names], (), units.UNKNOWN if n is None else write(n))
                for tool, (counts, n) in columns.items()
            ),
        ]
    )


def activations_table(check: ActivationCheck, write: Callable[[int], str]) -> Table:
    """The elements that convolutions and matrix products write, by family: costlab's and each tool's."""
    rows = check.families.values()
    names = list(check.families)
    counts = {tool: [row[tool] for row in rows] for tool in next(iter(rows), {})}
    return Table(
        [
            Column("activations", names, (), "total", left=True, fit="wrap", least=8, code=True),
            *(Column(tool, [*map(write, column)], (), write(sum(column))) for tool, column in counts.items()),
        ]
    )


def differences_table(differences: Sequence[CountDifference]) -> Table:
    """What each tool counts differently, by how much, and why."""
    tones = [{UNEXPLAINED: "alarm", FAILED: "estimate"}.get(d.cause, "") for d in differences]
    return Table(
        [
            Column("tool", [d.tool for d in differences], tones, left=True),
            Column("counts differently", [*map(place, differences)], tones, left=True, fit="wrap", least=10, code=True),
            Column("by", [*map(gap, differences)], tones),
            Column("because", [f"{d.cause}: {d.why}" for d in differences], tones, left=True, fit="wrap", least=20),
        ]
    )


def place(difference: CountDifference) -> str:
    """Which operators: `batch_norm x52`, a family, or everything."""
    what = difference.kind or difference.family or "everything"
    return f"{what} x{difference.ops}" if difference.ops else what


def gap(difference: CountDifference) -> str:
    """How much more the tool counts, with its sign."""
    if difference.counted is None:
        return units.UNKNOWN
    return units.change(difference.counted - difference.mult_adds)


def text(
    check: CrossCheck,
    activations: ActivationCheck,
    printed: ConventionCount | None,
    width: int,
    ascii_only: bool = False,
) -> Group:
    """For terminals and pipes, `width` cells wide. Numbers are shown in full if there is room."""
    parts: list[RenderableType] = [Text(title(check.profile), style="bold"), header.text(facts(check, printed))]
    for make in (functools.partial(counts_table, check, printed), functools.partial(activations_table, activations)):
        shown = make(units.exact)
        parts += [Text(), tables.text(shown if tables.fits(shown, width) else make(units.short), width, ascii_only)]
    differences = [*check.differences, *activations.unexplained]
    if differences:
        parts += [Text(), tables.text(differences_table(differences), width, ascii_only)]
    return Group(*parts)


def markdown(check: CrossCheck, activations: ActivationCheck, printed: ConventionCount | None) -> str:
    """For issues and pull requests: a heading, a list, and two tables."""
    lines = [f"### {markdown_text(title(check.profile))}", "", *header.markdown(facts(check, printed)), ""]
    lines += [tables.markdown(counts_table(check, printed, units.exact)), ""]
    lines.append(tables.markdown(activations_table(activations, units.exact)))
    differences = [*check.differences, *activations.unexplained]
    if differences:
        lines += ["", tables.markdown(differences_table(differences))]
    return "\n".join([*lines, "", markdown_text(verdict(check, activations)), ""])


def document(check: CrossCheck, activations: ActivationCheck, printed: ConventionCount | None) -> str:
    """Everything, exact; schema version 1 (docs/conventions.md)."""
    profile = check.profile
    content = {
        "schema_version": SCHEMA_VERSION,
        "costlab": profile.costlab,
        "torch": profile.torch,
        "model": {"name": profile.name, "provider": profile.provider, "arguments": jsonable(profile.arguments)},
        "inputs": [i._asdict() for i in profile.trace.inputs],
        "mult_adds": profile.mult_adds,
        "tools": [
            {
                "tool": r.tool,
                "version": r.version,
                "total": r.total if r.failure is None else None,
                "failure": r.failure,
                "note": r.note,
            }
            for r in check.readings
        ],
        "families": [
            {"family": family, **counts, **({"convention": printed.families.get(family, 0)} if printed else {})}
            for family, counts in check.families().items()
        ],
        "convention": printed
        and {"tool": printed.tool, "total": printed.total, "families": printed.families, "stops_at": printed.stops_at},
        "differences": [*map(difference_object, check.differences)],
        "activations": {
            "families": [{"family": family, **counts} for family, counts in activations.families.items()],
            "differences": [activation_object(d) for d in activations.differences],
        },
        "unconfirmed": check.unconfirmed,
        "explained": not (check.unexplained or activations.unexplained),
    }
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json_lines(value)}" for key, value in content.items()) + "\n}\n"


def difference_object(difference: CountDifference) -> dict[str, object]:
    """A difference for JSON."""
    ours, counted = difference.mult_adds, difference.counted
    return {
        "tool": difference.tool,
        "family": difference.family or None,
        "kind": difference.kind or None,
        "ops": difference.ops,
        "mult_adds": ours,
        "counted": counted,
        "difference": None if counted is None else counted - ours,
        "cause": difference.cause,
        "why": difference.why,
    }


def activation_object(difference: CountDifference) -> dict[str, object]:
    """A difference of activations for JSON."""
    return {"activations" if key == "mult_adds" else key: v for key, v in difference_object(difference).items()}
