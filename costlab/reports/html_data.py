"""The data of the HTML report: columns, so that no key repeats, and each distinct text once."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from costlab.core.graph import ModuleInfo, Op, Source, Tensor, TrainingStep
from costlab.core.memory import share_of, storage_lifetimes
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.colours import GROUPS, MEMORY, ink_on
from costlab.formatting.escaping import visible
from costlab.formatting.facts import Fact, title
from costlab.formatting.module_paths import ROOT
from costlab.guidelines.analysis.op_classes import group_of
from costlab.guidelines.model import FindingGroup, Guideline, LintResult, group_findings
from costlab.guidelines.registry import GUIDELINES
from costlab.latency.ceilings import ceilings, main_dtype
from costlab.latency.device import Device
from costlab.latency.execution import AUTOCAST
from costlab.latency.prediction import Prediction
from costlab.reports import findings
from costlab.reports.guideline_pages import blocks
from costlab.reports.header import facts, latency, what_first
from costlab.reports.profile_table import default_depth, table

CHOICES = (  # the metrics to choose from, in this order
    "mult_adds",
    "params",
    "memory_access",
    "bytes_accessed",
    "element_wise_ops",
    "activations",
    "activation_bytes",
)
FOLDERS = re.compile(r"[\\/]")
MODULES = 5  # that take most
ADVICE = 3  # findings
NAMES = 3  # of a path that are shown: a package, a folder and a file
LONGEST = 300  # characters of an operator's attributes that are shown


class Words:
    """Every distinct text once; columns contain its number."""

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
    """The data of the page of one profile; control characters in its text are escaped."""
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
        "summary": summary(profile, result, prediction),
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
    """The path of every module, parents first; the network itself is the first."""
    named = [*(module.path for module in profile.trace.modules), *(op.module for op in profile.ops)]
    paths = {"": None}
    for path in dict.fromkeys(named):
        new = []
        while path not in paths:
            new.append(path)
            path = path.rpartition(".")[0]
        paths.update(dict.fromkeys(reversed(new)))
    return list(paths)


def costs(profile: Profile, prediction: Prediction | None) -> Iterator[dict[str, Any]]:
    """The metrics to choose from: name, unit, and total of the network. The first is the one that the page opens on."""
    if prediction:
        yield {"key": PREDICTED, "name": "predicted latency", "unit": "s", "total": prediction.seconds}
    for key in CHOICES:
        metric = METRICS[key]
        yield {"key": key, "name": metric.label, "unit": metric.unit, "total": getattr(profile.total, key)}


def summary(profile: Profile, result: LintResult, prediction: Prediction | None) -> list[dict[str, Any]]:
    """What a reader looks for first: where the cost is, what bounds it, what to do. Each with its lines."""
    rows = table(
        profile,
        depth=default_depth(profile),
        top=MODULES,
        seconds=prediction.by_op if prediction else None,
        predicted_seconds=prediction.seconds if prediction else None,
    )
    metric = METRICS[rows.key]
    most = [
        [visible(row.name) or ROOT, f"{metric.format(row.cost(rows.key))}, {units.percent(rows.share(row))}"]
        for row in rows.lines
    ]
    entries = [{"title": f"Most {'time' if prediction else metric.label}", "modules": most}]
    if prediction:
        entries.append({"title": "Bound", "lines": [visible(fact.value) for fact in latency(prediction)]})
    return [*entries, {"title": "Do first", "lines": advice(result)}]


def advice(result: LintResult) -> list[str]:
    """The best changes of the whole network; without a device the most expensive findings."""
    if result.what_ifs:
        return [visible(fact.value) for fact in what_first(result.what_ifs)]
    groups, _ = findings.top_groups((f for f in result.findings if f.advice), ADVICE)
    prices = [findings.savings(group.findings, None) for group in groups]
    return [
        f"{findings.location(g)}: {price}; {visible(g.first.advice or '')}"
        for g, price in zip(groups, prices, strict=True)
    ]


def modules(profile: Profile, paths: Mapping[str, int], words: Words) -> dict[str, Any]:
    """The columns of the modules; the parent is an index."""
    infos = {module.path: module for module in profile.trace.modules}
    known = [infos.get(path) for path in paths]
    return {
        "path": [visible(path) for path in paths],
        "name": [words(path.rpartition(".")[2]) for path in paths],
        "parent": [paths[path.rpartition(".")[0]] if path else None for path in paths],
        "type": [words(info.type if info else "") for info in known],
        "output": [words(output_of(info, profile) if info else units.UNKNOWN) for info in known],
        "source": [words(place(info.source) if info else "") for info in known],
        "unused_params": [info.unused_params if info else 0 for info in known],
    }


def output_of(module: ModuleInfo, profile: Profile) -> str:
    """The shape of the first output of a module, or why it has none."""
    return "never ran" if module.unused_params and module.path in profile.uncalled else units.shape(module.output_shape)


def operators(
    profile: Profile, prediction: Prediction | None, paths: Mapping[str, int], words: Words
) -> dict[str, Any]:
    """The columns of the operators; module and group are indices."""
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
    """Each metric of every operator; None if it is unknown. Parameters are always known."""
    columns: dict[str, list[Any]] = {key: [getattr(cost, key, None) for cost in profile.costs] for key in CHOICES}
    columns["params"] = [op.params for op in profile.ops]
    if prediction:
        columns[PREDICTED] = [prediction.by_op.get(op.name, 0.0 if op.free else None) for op in profile.ops]
    return columns


def place(source: Source | None) -> str:
    """A line of a file, by the end of its path: nothing of the machine that traced it."""
    return f"{'/'.join(FOLDERS.split(source.file)[-NAMES:])}:{source.line}" if source else ""


def described(tensor: Tensor) -> str:
    """`weight 32x3x3x3 float32 parameter`; activations have no role."""
    role = "" if tensor.role == "activation" else f" {tensor.role}"
    return f"{tensor.name} {units.shape(tensor.shape)} {tensor.dtype}{role}"


def attributes(op: Op) -> str:
    """`stride=[1, 1], groups=1`, shortened."""
    text = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in op.attrs.items())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def note(op: Op, counted: bool) -> str:
    """What a reader has to know about an operator's numbers."""
    if not counted:
        return "uncounted: no cost rule"
    return "free: a view" if op.free else "estimate: depends on a guessed size" if op.estimated else ""


def tensors(profile: Profile, words: Words) -> dict[str, Any]:
    """Every activation storage: the first and last operator it is alive at (-1: an input), and its size.

    Of a training step, everything that lives, with its category in place of a shape; what lives alike is one.
    """
    if profile.trace.step is not None:
        return step_storages(profile.trace.step, words)
    lives = storage_lifetimes(profile.trace)
    return {
        "first": [life.first for life in lives],
        "last": [life.last for life in lives],
        "bytes": [life.bytes for life in lives],
        "shape": [words(units.shape(life.shape)) for life in lives],
    }


def step_storages(step: TrainingStep, words: Words) -> dict[str, Any]:
    """The storages of a training step on one device, those of one category with the same lifetime together."""
    groups = {category: group for group in MEMORY for category in group.families}
    lives = Counter[tuple[str, int, int]]()
    for storage in step.storages:
        lives[storage.category, storage.first, storage.last] += share_of(storage, step)
    return {
        "first": [first for _, first, _ in lives],
        "last": [last for _, _, last in lives],
        "bytes": list(lives.values()),
        "shape": [words(groups[category].name) for category, _, _ in lives],
        "colour": [words(groups[category].colour) for category, _, _ in lives],
    }


def roofline(profile: Profile, prediction: Prediction, device: Device) -> dict[str, Any]:
    """The ceilings of the device, and the peak of the dtype that the network computes in."""
    dtype = AUTOCAST[device.type] if prediction.amp else prediction.dtype or main_dtype(profile)
    return {
        "running": prediction.setup,
        "bandwidth": device.bandwidth,
        "peaks": [[peak, ", ".join(names)] for peak, names in ceilings(device).items()],
        "peak": device.peak_flops(dtype),
    }


def lint(result: LintResult, paths: Mapping[str, int], rules: Mapping[str, Guideline]) -> dict[str, Any]:
    """For every guideline its verdict, its findings and its page."""
    groups = group_findings(result.findings)
    heads = ("label", "verdict", "measured", "limit", "count", "detail")
    return {
        "heading": findings.heading(result),
        "rules": [
            {
                **dict(zip(heads, cells, strict=True)),
                "page": blocks(rules[verdict.rule].page),
                "findings": [finding_entry(g, result.device, paths) for g in groups if g.first.rule == verdict.rule],
            }
            for verdict, cells in sorted(findings.verdict_rows(result), key=lambda pair: saving(result, pair[0].rule))
        ],
    }


def saving(result: LintResult, rule: str) -> tuple[float, float, int]:
    """What the advice of a rule saves together: seconds if there is a device, then elements; then its findings."""
    found = [f for f in result.findings if f.rule == rule and f.helps]
    seconds = sum(f.predicted_seconds_saved or 0.0 for f in found)
    return -seconds, -sum(f.excess_memory_access or 0 for f in found), -len(found)


def finding_entry(group: FindingGroup, device: str | None, paths: Mapping[str, int]) -> dict[str, Any]:
    """Findings that differ only in the repetition of a block, with their modules."""
    first = group.first
    return {
        "severity": first.severity,
        "where": visible(group.path) or ROOT,
        "modules": numbers((f.module for f in group.findings), paths),
        "message": visible(first.message),
        "price": visible(findings.savings(group.findings, device)),
        "advice": visible(first.advice if first.advice and first.helps else ""),
    }


def numbers(modules: Iterable[str], paths: Mapping[str, int]) -> Sequence[int]:
    """The indices of modules, each once."""
    return list(dict.fromkeys(paths[module] for module in modules if module in paths))
