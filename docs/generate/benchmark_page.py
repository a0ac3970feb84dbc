"""docs/benchmarks.md, from the results of tests/bench/benchmark.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from costlab.formatting import units
from costlab.formatting.table import markdown_row as row

FOLDER = Path(__file__).parents[1] / "benchmarks"
PAGE = FOLDER.with_suffix(".md")
RESULTS = "results.json"
EXACT = 0.0005  # share of the true number up to which an answer is called exact
FAR = 0.1

GOALS = {  # times `import torch`
    "costlab --help": 0.15,
    "costlab report mobilenet_v2": 0.25,
    "costlab report zoo:mobilenet_v2 --no-cache": 1.25,
}
IMPORT_TORCH = "python -c 'import torch'"


def saved(folder: Path = FOLDER) -> dict[str, Any]:
    return json.loads((folder / RESULTS).read_text(encoding="utf-8"))


def page(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Written by `make bench` on {results['date']}: costlab {machine['costlab']}, torch {machine['torch']},"
            f" Python {machine['python']}, {machine['cpu']}, {machine['threads']} of {machine['cores']} cores,"
            f" {machine['system']}. Times are medians on that machine; ratios compare times of one run, measured in"
            " turn, and transfer better to other machines.",
            "",
            *processes(results["processes"], results["rounds"]),
            *calls(results["calls"], results["rounds"]),
            *steps(results["steps"], results["rounds"]),
            *growth(results["growth"], results["rounds"]),
            *accuracy(results["accuracy"], results["rounds"]),
        ]
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """The first `left` columns to the left, the others to the right; an empty line after it."""
    rules = ["---"] * left + ["---:"] * (len(headings) - left)
    return [row(headings), row(rules), *map(row, rows), ""]


def processes(measured: Mapping[str, Any], rounds: Mapping[str, int]) -> list[str]:
    base = next(each["seconds"] for each in measured["commands"] if each["name"] == IMPORT_TORCH)
    own, tools = [], []
    for each in measured["commands"]:
        name, seconds = each["name"], each.get("seconds")
        shown = units.seconds(seconds) if seconds is not None else f"fails: {each['failure']}"
        cells = [shown, units.factor(None if seconds is None else seconds / base)]
        if name.startswith(("costlab", "python")):
            goal = f"at most {units.factor(GOALS[name])}" if name in GOALS else ""
            own.append([f"`{name}`", *cells, goal])
        else:
            tools.append([name, *cells])
    heavy = ", ".join(f"`{package}`" for package in measured["imported"])
    lines = [
        "## Whole processes",
        "",
        f"From start to exit, {rounds['process_rounds']} rounds in turn. The second report on a named network is read"
        " from the cache, as `costlab report mobilenet_v2` is here.",
        "",
        *table(["command", "median", "times `import torch`", "goal"], own),
        f"Of torch, torchvision, timm, transformers, fvcore, matplotlib, pandas, scipy, numpy and networkx, the cached"
        f" report imports {heavy or 'none'}.",
        "",
    ]
    if tools:
        lines += [
            "The same for torchvision's mobilenet_v2 with every other installed tool,"
            f" {rounds['tool_process_rounds']} rounds: import, build the network, count, print.",
            "",
            *table(["tool", "median", "times `import torch`"], tools),
        ]
    return lines


def calls(measured: Sequence[Mapping[str, Any]], rounds: Mapping[str, int]) -> list[str]:
    rows, ratios = [], []
    for each in measured:
        warm, first = each["warm"], each["first"]
        found = (
            warm["profile"] / warm["forward"],
            warm["FlopCounterMode"] / warm["profile"],
            warm["fvcore"] / warm["profile"],
            first["profile"] / first["forward"],
        )
        ratios.append(found)
        times = map(units.seconds, (*warm.values(), *first.values()))
        rows.append([each["name"], *times, *map(units.factor, found)])
    middle = [units.factor(median(column)) for column in zip(*ratios, strict=True)]
    empty = [""] * (len(rows[0]) - 1 - len(middle))
    rows.append(["**median**", *empty, *(f"**{ratio}**" for ratio in middle)])
    rows.append(["goal", *empty, "at most 0.30", "at least 4.00", "at least 10.0", "at most 0.80"])
    return [
        "## Calls",
        "",
        "`costlab.profile` compared with a bare forward pass of the network on the meta device, with FlopCounterMode"
        " over that pass, and with fvcore, which runs the network with real weights on the CPU. Warm: one process,"
        f" {rounds['call_rounds']} rounds after a warm-up round, a new instance of the network each time."
        " First: the first call in a process that has imported everything and built the network,"
        f" {rounds['first_rounds']} rounds. No profile comes from a cache.",
        "",
        *table(
            [
                "torchvision's",
                *("profile", "forward", "FlopCounterMode", "fvcore", "first profile", "first forward"),
                *("profile / forward", "FlopCounterMode / profile", "fvcore / profile", "first profile / forward"),
            ],
            rows,
        ),
    ]


def steps(measured: Mapping[str, Any], rounds: Mapping[str, int]) -> list[str]:
    rows, ratios = [], []
    for each in measured["networks"]:
        warm = each["warm"]
        ratios.append((warm["step"] / warm["profile"], warm["FlopCounterMode"] / warm["step"]))
        rows.append([each["name"], *map(units.seconds, warm.values()), *map(units.factor, ratios[-1])])
    middle = (f"**{units.factor(median(column))}**" for column in zip(*ratios, strict=True))
    rows.append(["**median**", "", "", "", *middle])
    rows.append(["goal", "", "", "", "at most 3.00", "at least 2.00"])
    return [
        "## Training steps",
        "",
        "`costlab.profile` of a training step compared with that of a forward pass, and with FlopCounterMode over a"
        f" forward and a backward pass on meta, {rounds['call_rounds']} rounds in turn after a warm-up round."
        f" The load average was {measured['load']} at the end; if not near 1, other programs were running.",
        "",
        *table(
            ["torchvision's", "forward", "step", "FlopCounterMode", "step / forward", "FlopCounterMode / step"], rows
        ),
    ]


def growth(measured: Mapping[str, Any], rounds: Mapping[str, int]) -> list[str]:
    sizes, large = measured["sizes"], measured["large"]
    shown = {
        "`costlab.profile`" if step == "profile" else step: (grown, units.seconds)
        for step, grown in measured["steps"].items()
    }
    shown["memory of `costlab.profile`"] = measured["bytes"], units.size
    rows = [
        [step, *map(number, grown["values"]), units.factor(grown["slope"]), units.factor(grown["last_slope"])]
        for step, (grown, number) in shown.items()
    ]
    return [
        "## Growth",
        "",
        f"N equal blocks of {measured['operators']} operators (convolution, batch norm, ReLU, addition). CPU seconds,"
        f" median of {rounds['growth_rounds']} rounds after a warm-up round; memory is the peak of Python's"
        " allocations."
        " The slope is that of the least-squares line on log-log axes, 1 for linear growth (goal for"
        " `profile`: at most 1.05); the last slope is that of the two largest sizes.",
        "",
        *table(["", *(f"N = {units.exact(size)}" for size in sizes), "slope", "last slope"], rows),
        f"A network of {units.exact(large['operators'])} operators takes {units.seconds(large['seconds'])} (goal: under"
        " 60 s).",
        "",
    ]


def accuracy(measured: Mapping[str, Any], rounds: Mapping[str, int]) -> list[str]:
    tools = [tool for tool in measured["tools"] if tool["version"]]
    absent = [tool["name"] for tool in measured["tools"] if not tool["version"]]
    networks = [subject for subject in measured["subjects"] if not subject["single"]]
    singles = [subject for subject in measured["subjects"] if subject["single"]]
    lines = [
        "## Accuracy",
        "",
        "Mult-adds of one forward pass in eval mode, batch 1: the multiply-accumulates of convolutions, matrix"
        " products, attention and recurrent layers. The networks have real weights and are on the CPU, or on the meta"
        " device if stated; every tool is called as documented, with the same network, in its own process. Its number"
        " is taken as what the tool says it is, so a tool that includes biases or norms in its MACs is off by them."
        f" Exact means within {EXACT:.2%}. The true number is costlab's, confirmed by a second source: torchvision's"
        " published figures, or the products of the sizes computed by hand.",
        "",
        *summary(tools, measured["subjects"]),
    ]
    if absent:
        lines += [f"Not installed, so not measured: {', '.join(absent)}.", ""]
    lines += [
        f"*Time* is the time of a call divided by that of `costlab.profile` in the same process and on the same"
        f" network, warm, in turn, median of {rounds['tool_rounds']}: the median and the range over the networks that"
        " it ran.",
        "",
        "### Networks",
        "",
        *answers(tools, networks),
        "### Single layers, and ways to write them",
        "",
        *answers(tools, singles),
    ]
    failures = [
        f"- {tool['name']}, {subject['name']}: `{answer['failure'][:160].replace('`', '')}`"
        for tool in tools
        for subject in measured["subjects"]
        if "failure" in (answer := subject["answers"][tool["name"]])
    ]
    return [*lines, "### Failures", "", *(failures or ["None."]), ""]


def summary(tools: Sequence[Mapping[str, Any]], subjects: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row a tool."""
    rows = []
    for tool in tools:
        given = [(subject, subject["answers"][tool["name"]]) for subject in subjects]
        ran = [(answer["mult_adds"], subject["mult_adds"]) for subject, answer in given if "failure" not in answer]
        errors = [count / true - 1 for count, true in ran]
        times = [a["seconds"] / a["costlab_seconds"] for _, a in given if a.get("seconds") is not None]
        left = sorted({kind for _, answer in given for kind in answer["left"]})
        rows.append(
            [
                f"{tool['name']} {tool['version']}",
                tool["claims"],
                ", ".join(left) or "nothing",
                f"{len(ran)} of {len(given)}",
                str(sum(abs(error) <= EXACT for error in errors)),
                str(sum(abs(error) > FAR for error in errors)),
                f"{max(errors, key=abs):+.1%}" if errors else "",
                spread(times),
            ]
        )
    headings = [
        "tool",
        "counts, by its own words",
        "leaves on the model",
        "ran",
        "exact",
        "off by more than 10 %",
        "worst",
        "time",
    ]
    return table(headings, rows, left=3)


def spread(values: Sequence[float]) -> str:
    """The median and the range."""
    if not values:
        return ""
    return f"{units.factor(median(values))} ({units.factor(min(values))} to {units.factor(max(values))})"


def answers(tools: Sequence[Mapping[str, Any]], subjects: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row a network: the true number and how far off each tool is."""
    rows = [
        [
            subject["name"],
            units.exact(subject["mult_adds"]),
            f"torchvision: {subject['published']:.3f} G" if subject["published"] else "by hand",
            *(off(subject["answers"][tool["name"]], subject["mult_adds"]) for tool in tools),
        ]
        for subject in subjects
    ]
    return table(["", "mult-adds", "second source", *(tool["name"] for tool in tools)], rows)


def off(answer: Mapping[str, Any], true: int) -> str:
    """How far an answer is from the true number."""
    if "failure" in answer:
        return "fails"
    if answer["mult_adds"] == 0:
        return "**counts 0**"
    error = answer["mult_adds"] / true - 1
    if abs(error) <= EXACT:
        return "exact"
    return f"**{error:+.1%}**" if abs(error) > FAR else f"{error:+.1%}"
