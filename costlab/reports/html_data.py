"""What the HTML report shows, as plain data in columns: no key is repeated, and equal words stand once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from costlab.core.graph import Op, Source, Tensor
from costlab.core.memory import storage_lifetimes
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.colours import GROUPS, ink_on
from costlab.formatting.escaping import visible
from costlab.formatting.facts import Fact, title
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.analysis.groups import group_of
from costlab.guidelines.model import Guideline, LintResult
from costlab.guidelines.registry import GUIDELINES
from costlab.latency.ceilings import ceilings, main_dtype
from costlab.latency.devices import Device
from costlab.latency.execution import AUTOCAST
from costlab.latency.prediction import Prediction
from costlab.reports import findings
from costlab.reports.header import facts
from costlab.reports.prose import blocks

SHOWN = (  # costs to choose from, as a reader meets them
    "mult_adds",
    "params",
    "memory_access",
    "bytes_accessed",
    "element_wise_ops",
    "activations",
    "activation_bytes",
)
FOLDERS = re.compile(r"[\\/]")
NAMES = 3  # of a path: a package, a folder and a file
LONGEST = 300  # characters of an operator's attributes


class Words:
    """Each different text once: columns hold its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.numbers.setdefault(visible(text), len(self.numbers))


def document(
    profile: Profile,
    result: LintResult,
    prediction: Prediction | None = None,
    device: Device | None = None,
    rules: Mapping[str, Guideline] = GUIDELINES,
) -> dict[str, Any]:
    """The data of the page of one profile; every text in it is visible (see `escaping`)."""
    words = Words()
    paths = {path: number for number, path in enumerate(module_paths(profile))}
    return {
        "title": title(profile),
        "name": visible(profile.name),
        "facts": [
            (label, visible(value), tone)
            for label, value, tone in (
                *facts(profile, prediction),
                Fact("versions", f"costlab {profile.costlab}, torch {profile.torch}"),
            )
        ],
        "costs": list(costs(profile, prediction)),
        "groups": [(group.name, group.colour, ink_on(group.colour)) for group in GROUPS],
        "modules": modules(profile, paths, words),
        "ops": operators(profile, prediction, paths, words),
        "amounts": amounts(profile, prediction),
        "tensors": tensors(profile, words),
        "roofline": roofline(profile, prediction, device) if prediction and device else None,
        "lint": lint(result, paths, rules),
        "words": list(words.numbers),
    }


def module_paths(profile: Profile) -> list[str]:
    """Every module, each after the one around it; the network itself comes first."""
    named = [*(module.path for module in profile.trace.modules), *(op.module for op in profile.ops)]
    found = {"": None}
    for path in dict.fromkeys(named):
        inside = []
        while path not in found:
            inside.append(path)
            path = path.rpartition(".")[0]
        found.update(dict.fromkeys(reversed(inside)))
    return list(found)


def costs(profile: Profile, prediction: Prediction | None) -> Iterator[dict[str, Any]]:
    """What can be chosen: the name, the unit, and how much of it the network takes."""
    for key in SHOWN:
        metric = METRICS[key]
        yield {"key": key, "name": metric.label, "unit": metric.unit, "total": getattr(profile.total, key)}
    if prediction:
        yield {"key": PREDICTED, "name": "predicted latency", "unit": "s", "total": prediction.seconds}


def modules(profile: Profile, paths: Mapping[str, int], words: Words) -> dict[str, Any]:
    infos = {module.path: module for module in profile.trace.modules}
    known = [infos.get(path) for path in paths]
    return {
        "path": [visible(path) for path in paths],
        "name": [words(path.rpartition(".")[2]) for path in paths],
        "parent": [paths[path.rpartition(".")[0]] if path else None for path in paths],
        "type": [words(info.type if info else "") for info in known],
        "output": [words(units.shape(info.output_shape) if info else units.UNKNOWN) for info in known],
        "source": [words(place(info.source) if info else "") for info in known],
        "unused_params": [info.unused_params if info else 0 for info in known],
    }


def operators(
    profile: Profile, prediction: Prediction | None, paths: Mapping[str, int], words: Words
) -> dict[str, Any]:
    ops, counted = profile.ops, profile.costs
    bounds = prediction.bound if prediction else {}
    return {
        "name": [words(op.name.removeprefix(f"{op.module}/")) for op in ops],
        "kind": [words(op.kind) for op in ops],
        "module": [paths[op.module] for op in ops],
        "group": [GROUPS.index(group_of(op)) for op in ops],
        "output": [words(units.shape(op.output.shape) if op.outputs else "") for op in ops],
        "reads": [[words(described(tensor)) for tensor in op.inputs] for op in ops],
        "writes": [[words(described(tensor)) for tensor in op.outputs] for op in ops],
        "attrs": [words(attributes(op)) for op in ops],
        "source": [words(place(op.source)) for op in ops],
        "note": [words(note(op, cost is not None)) for op, cost in zip(ops, counted, strict=True)],
        "bound": [words(bounds.get(op.name, "")) for op in ops],
    }


def amounts(profile: Profile, prediction: Prediction | None) -> dict[str, list[Any]]:
    """Of each cost that can be chosen what every operator takes: None where it is not known; parameters always are."""
    columns: dict[str, list[Any]] = {key: [getattr(cost, key, None) for cost in profile.costs] for key in SHOWN}
    columns["params"] = [op.params for op in profile.ops]
    if prediction:
        columns[PREDICTED] = [prediction.by_op.get(op.name, 0.0 if op.free else None) for op in profile.ops]
    return columns


def place(source: Source | None) -> str:
    """The file by the end of its path: enough to find it, nothing of the machine that traced it."""
    return f"{'/'.join(FOLDERS.split(source.file)[-NAMES:])}:{source.line}" if source else ""


def described(tensor: Tensor) -> str:
    """`weight 32x3x3x3 float32 parameter`; activations need no word."""
    role = "" if tensor.role == "activation" else f" {tensor.role}"
    return f"{tensor.name} {units.shape(tensor.shape)} {tensor.dtype}{role}"


def attributes(op: Op) -> str:
    said = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in op.attrs.items())
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}..."


def note(op: Op, counted: bool) -> str:
    """What has to be known of an operator's numbers."""
    if not counted:
        return "uncounted: no cost rule"
    return "free: a view" if op.free else "estimate: depends on a guessed size" if op.estimated else ""


def tensors(profile: Profile, words: Words) -> dict[str, Any]:
    """Every storage of activations: from which operator on it lives (-1: it is an input), to which, and its bytes."""
    lives = storage_lifetimes(profile.trace)
    return {
        "first": [life.first for life in lives],
        "last": [life.last for life in lives],
        "bytes": [life.bytes for life in lives],
        "shape": [words(units.shape(life.shape)) for life in lives],
    }


def roofline(profile: Profile, prediction: Prediction, device: Device) -> dict[str, Any]:
    """What a device can do at most, and the type that the network computes in there."""
    dtype = AUTOCAST[device.type] if prediction.amp else prediction.dtype or main_dtype(profile)
    return {
        "running": prediction.setup,
        "bandwidth": device.bandwidth,
        "peaks": [[peak, ", ".join(names)] for peak, names in ceilings(device).items()],
        "peak": device.peak_flops(dtype),
    }


def lint(result: LintResult, paths: Mapping[str, int], rules: Mapping[str, Guideline]) -> dict[str, Any]:
    """Of every guideline the verdict, what breaks it, and its page."""
    groups = findings.group_findings(result.findings)
    heads = ("label", "verdict", "measured", "limit", "count", "detail")
    return {
        "heading": findings.FUSIONS[result.fusion],
        "rules": [
            {
                **dict(zip(heads, cells, strict=True)),
                "page": blocks(rules[verdict.rule].page),
                "findings": [found(g, result.device, paths) for g in groups if g.first.rule == verdict.rule],
            }
            for verdict, cells in findings.verdict_rows(result)
        ],
    }


def found(group: findings.FindingGroup, device: str | None, paths: Mapping[str, int]) -> dict[str, Any]:
    """Findings that differ only in where they are, with their modules."""
    first = group.first
    return {
        "severity": first.severity,
        "where": visible(group.path) or ROOT,
        "modules": numbers((f.module for f in group.findings), paths),
        "message": visible(first.message),
        "price": visible(findings.savings(group.findings, device)),
        "advice": visible(first.advice or ""),
    }


def numbers(modules: Iterable[str], paths: Mapping[str, int]) -> Sequence[int]:
    return list(dict.fromkeys(paths[module] for module in modules if module in paths))
