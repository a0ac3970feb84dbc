"""docs/guidelines.md and docs/verdicts.md, written from the guidelines and from profiles of published networks."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from unittest import mock

from helpers.guideline_networks import NETWORKS, network

from costlab.cli import run
from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines import GUIDELINES, LintResult, RuleVerdict, lint
from costlab.reports.findings import measured_text as measure
from costlab.reports.guideline_pages import page

PAPER = ("G1", "G2", "G3", "G4")
THRESHOLDS: dict[str, tuple[float, ...]] = {
    "G1": (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06),
    "G2": (0.005, 0.01, 0.02, 0.05, 0.1, 0.15),
    "G3": (2, 3, 4, 5, 7, 9),
    "G4": (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65),
}

INTRODUCTION = """# Guidelines

Generated from the guidelines by `make verdicts`; `costlab explain RULE` prints the same pages.

`costlab lint MODEL` and `costlab.lint(profile)` check a network against guidelines for networks that are fast, not just
small: G1 to G4 of ShuffleNet V2 (Ma et al., arXiv 1807.11164), and our own X1 to X19. Every finding has a price: how many
elements and bytes of memory access and how many launches following the guideline would save and, with a device, how many
seconds. Linting a saved profile does not need torch.

"""

USE = """
In Python, `select`, `ignore`, `fusion`, `thresholds` and `device` are arguments:

```python
import costlab

profile = costlab.profile(*costlab.load("zoo:shufflenet_v1"))
result = costlab.lint(profile, select=["G1", "G2"], fusion="none", thresholds={"G1": 0.02})
result.broken                                       # the codes of broken guidelines
result.findings[0].excess_memory_access             # the most expensive finding, in elements
```

Your own guideline is a function from a profile to its findings, passed as
`rules=costlab.GUIDELINES | {"MY1": Guideline("MY1", "my-rule", page, check, limit=0.01)}`; `costlab.guidelines` has
`Guideline`, `CheckResult` and `Finding` ([how to add a guideline](extending/guideline.md)).

## Verdicts, severities, exit codes

Each guideline measures a network: G1 and G2 the share of their summed prices in the memory access of the network, G3 the
width of the widest block, G4 the share of element-wise operators. It is *broken* from its limit on (G4: above it). Findings
of a broken guideline are warnings, findings of one that holds are notes. Our own but X6 have no limit and only report
notes, unless `thresholds` sets one. An operator without a cost rule (X6) is an error: every share depends on the totals.

`costlab lint` exits with 0 if there are only notes, 1 if a finding is a warning or an error, 2 if a model could not be
linted. Findings are sorted, most expensive first; text groups those of repeated blocks, JSON lists them one by one.

A price is that of one finding alone. It says how far one layer is from the guideline; prices do not add up to what a
redesign would save, because neighbouring layers change with it.

## Seconds

`costlab lint MODEL --device rtx3090` (`device="rtx3090"` in Python and `[tool.costlab.lint]`) adds to each finding what
following its advice would save on that device, `predicted_seconds_saved`: the predicted latency of the whole network, less
that of the network with the fix and everything else unchanged. Findings are then sorted by seconds, those without any last.

| guideline | the network that follows the advice |
| --- | --- |
| G1 | the layer has the channels of the advice; `null` if there is none |
| G2 | the layer has one group and the same mult-adds |
| G3 | in each level of the block (fragments equally far from its start), operators of one kind become one: it has the mult-adds of all, writes what they wrote and reads every value once |
| G4 | element-wise operators that follow each other are one kernel, and the last of them has the price; a depthwise layer has half of its channels; a normalisation that would fold is gone; others: `null` |
| X1, X5 | the operator is removed |
| X2 | the layer is padded to the next multiples of 8 |
| X3 | the batch norm is folded; all others stay |
| X9 | attention is one operator |
| X10 | with a device only: this layer alone at the width, with the rows or in the heads that the finding names |
| X11 | the island computes in half precision, and its input is not converted |
| X12 | the layer has no bias |
| X13 | with a device only: the whole network in channels-last |
| X14 | with a device only: the GPU does not wait for launches |
| X15 | the layers are one |
| X18 | with a device only: the layer has the channels that the advice names first |
| X19 | with a device only: a norm that a batch norm in its place would fold is gone; others: `null`, with the reason |
| X4, X6, X7, X8, X16, X17 | none: `null` |

- Both networks are predicted like any other (`costlab report --device`): as traced, at the traced batch, or as generated code
  with `--compile`. The header says which.
- Findings that differ only in the repetition of a block are fixed together, and each has its part of what that saves.
- Advice that saves no time on the device is not given: such a finding is a note and fails no run. The verdict stays, since it
  is on elements, and says so.
- The last linear layer has as many outputs as there are classes or tokens. G1 gives no advice on it and says "not priced" and why.
- Savings are of the whole forward pass. While a GPU waits for the CPU to launch kernels, a faster operator saves next to
  nothing, and a removed one saves its launch. Memory access counts for more at larger batches (`--batch 64`).

## What to do first

With a device, `lint`, `report --device` and the HTML report begin with at most five changes of the whole network, best first:
fold batch norms, compile, channels-last, half precision (if the device has units for it), two and four times the batch (the time
of each batch of now), a CUDA graph (the kernels without the time that they wait for the CPU), and the advice of the three best
groups of findings that change different operators, followed together. Each is predicted by running the changed network through the model. A change that saves
2 % or less is not named. In Python: `costlab.lint(profile, device="rtx3090").what_ifs`.

## Training steps

With `--mode step`, all rules check the forward pass of the step, and seconds are those of the forward pass. X16 and X17 check
the step as a whole: what it keeps for the backward pass, in bytes. They say nothing about forward passes.

## Fusion

G1 to G4 check the network with batch norm folded, as the paper does, and seconds are those of the network as traced.
`--fusion` sets both: `bn` folds batch norm with fixed statistics into the convolution before it; `pointwise` (or `--compile`)
also fuses connected element-wise operators; `none` takes every operator as traced. `profile.fused("bn")` is again a profile.

- A batch norm folds if no other operator reads the convolution's output and its weight is not shared with a convolution
  that another batch norm follows. Then the convolution has a bias, and the batch norm is gone.
- Element-wise operators (and batch norms that cannot be folded) are fused if one reads, element by element, what another
  wrote, and no operator outside has read or overwritten it in between. The group reads each outside value once and writes
  each value that is used outside once; it runs where its last member ran, so that nothing else moves.
- Mult-adds stay the same. Memory access and the peak of live activations never grow: a group that would raise the peak is
  not fused.
- `params` are the parameters of the network, which fusion does not change: a folded convolution has the parameters of
  both. (When exported, it has one bias in place of scale and shift.)
- Fusing a fused profile changes nothing.

## JSON

`costlab lint --format json`, schema version 1; keys may be added to it, but are never removed. Unknown values are `null`.

| key | value |
| --- | --- |
| `schema_version`, `costlab`, `fusion`, `device`, `predicted_fusion` | 1, the version, the fusion of what is checked, the device of the seconds (or `null`) and how the network runs there |
| `verified` | whether measurements on the device were compared with predictions ([devices](devices.md#unverified-devices)), or `null` |
| `what_ifs` | with a device, for each `model`: `setup`, `predicted_seconds`, and `changes` of the whole network, best first: `change`, `how`, `predicted_seconds`, `seconds_saved`, `share` |
| `findings` | most expensive first, in seconds if there is a device, else in elements: `rule`, `severity` (`"error"`, `"warning"`, `"note"`), `model`, `module`, `op` (`""`: the whole module), `message`, `advice` (or `null`), `excess_memory_access` (elements), `excess_bytes`, `excess_launches`, `kept_bytes` (that a training step would keep less for its backward pass), `predicted_seconds_saved`, `unpriced` (why a device has no seconds for it, or `null`) |
| `verdicts` | one for each guideline: `model`, `rule`, `verdict` (`"broken"` or `"holds"`; of a budget without a base `"not checked"`), `share` (of all prices in the memory access of the network), `value` and `limit` (what is compared), `detail` |
| `summary` | warnings and errors by guideline |

"""

MOVING = """## Verdicts under other limits

Batch norm folded. An x means that the network breaks the guideline at that limit; the default limit is bold. There is room
between the paper's verdicts: G1 separates the networks that the paper blames (ShuffleNet V1, MobileNet V2) from
ShuffleNet V2 anywhere between {g1_low} and {g1_high}, G2 anywhere up to {g2_high}, G3 with a width of 3 to {g3_high}, and G4
separates MobileNet V2 from ShuffleNet V2 anywhere between {g4_low} and {g4_high}.
"""


def verdict(result: LintResult, rule: str) -> RuleVerdict:
    return next(v for v in result.verdicts if v.rule == rule)


def value(profile: Profile, rule: str, fusion: str = "bn") -> float:
    """What a guideline measures."""
    measured = verdict(lint(profile, select=[rule], fusion=fusion), rule).value
    assert measured is not None
    return measured


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def moving(rule: str) -> list[str]:
    """A table of networks and limits."""
    guideline = GUIDELINES[rule]
    limits = THRESHOLDS[rule]
    heads = []
    for limit in limits:
        text = measure(limit) if limit < 1 else f"{limit:g} wide"
        heads.append(f"**{text}**" if limit == guideline.limit else text)
    extra = ["nothing fused", "element-wise fused"] if rule == "G4" else []
    lines = [
        f"### {rule} {guideline.name}",
        "",
        row(["network", "measured", *heads, *extra]),
        row(["---", "---:", *[":---:"] * len(limits), *["---:"] * len(extra)]),
    ]
    for name in NETWORKS:
        measured = value(network(name), rule)
        marks = ["x" if measured and guideline.breaks(measured, limit) else "" for limit in limits]
        others = [measure(value(network(name), rule, fusion)) for fusion in ("none", "pointwise") if extra]
        lines.append(row([name, measure(measured), *marks, *others]))
    return [*lines, ""]


def between(rule: str, blamed: Iterable[str], praised: Iterable[str]) -> tuple[float, float]:
    """The largest value of the networks that must hold, and the smallest of those that must break."""
    return (max(value(network(name), rule) for name in praised), min(value(network(name), rule) for name in blamed))


def shown(command: list[str]) -> list[str]:
    """A command and what it prints in a terminal of 100 columns, in a folder without a configuration."""
    out = io.StringIO()
    plain = {"COLUMNS": "100", "NO_COLOR": "1"}
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, plain),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        run(command)
    return ["```console", f"$ costlab {' '.join(command)}", *out.getvalue().splitlines(), "```"]


def guidelines_page() -> str:
    """docs/guidelines.md."""
    v1 = ("ShuffleNet V1, 3 groups", "ShuffleNet V1, 8 groups")
    v2 = tuple(name for name in NETWORKS if name.startswith("ShuffleNet V2"))
    g1 = between("G1", (*v1, "MobileNet V2"), v2)
    g4 = between("G4", ("MobileNet V2",), v2)
    g3 = between("G3", ("NASNet-A Large", "PNASNet-5 Large"), v2)
    moves = MOVING.format(
        g1_low=percent(g1[0]),
        g1_high=percent(g1[1]),
        g2_high=percent(between("G2", v1, v2)[1]),
        g3_high=g3[1],
        g4_low=percent(g4[0]),
        g4_high=percent(g4[1]),
    )
    lines = [
        INTRODUCTION
        + "\n".join(shown(["lint", "mobilenet_v2", "--select", "G1,G2,G3,G4", "--top", "3"]))
        + "\n"
        + USE
        + moves
    ]
    for rule in PAPER:
        lines += moving(rule)
    for guideline in GUIDELINES.values():
        lines += [*page(guideline), ""]
    return "\n".join(lines)


@dataclass(frozen=True)
class Judged:
    """One row of docs/verdicts.md."""

    target: str
    measured: tuple[float | None, ...]  # by PAPER, batch norm folded
    unfused: float | None  # G4's share with nothing fused
    broken: tuple[str, ...]
    findings: int
    unpriced: tuple[str, ...]  # rules of findings without a price
    found: dict[str, tuple[int, int]]  # findings of each rule, and how many of them are warnings or errors


def judged(target: str, profile: Profile) -> Judged:
    """What the guidelines say of a network."""
    result = lint(profile)
    return Judged(
        target=target,
        measured=tuple(verdict(result, rule).value for rule in PAPER),
        unfused=verdict(lint(profile, select=["G4"], fusion="none"), "G4").value,
        broken=result.broken,
        findings=len(result.findings),
        unpriced=tuple(sorted({f.rule for f in result.findings if f.excess_memory_access is None})),
        found={rule: (sum(f.rule == rule for f in result.findings), severe) for rule, severe in result.summary.items()},
    )


def cells(each: Judged) -> str:
    """One row of the table."""
    measured = [
        f"**{measure(v)}**" if rule in each.broken else measure(v) for rule, v in zip(PAPER, each.measured, strict=True)
    ]
    return row([f"`{each.target}`", *measured, measure(each.unfused), str(each.findings)])


def by_rule(rows: list[Judged]) -> list[str]:
    """How often each rule finds something."""
    lines = [row(["guideline", "networks with findings", "findings", "warnings"]), row(["---", "---:", "---:", "---:"])]
    for rule, guideline in GUIDELINES.items():
        if guideline.training:
            continue
        found = [each.found.get(rule, (0, 0)) for each in rows]
        counts = sum(n > 0 for n, _ in found), sum(n for n, _ in found), sum(warnings for _, warnings in found)
        lines.append(row([f"{rule} {guideline.name}", *(f"{count:,}" for count in counts)]))
    return lines


def verdicts_page(groups: dict[str, list[Judged]], versions: str) -> str:
    """docs/verdicts.md."""
    lines = [
        "# Verdicts",
        "",
        f"Written by `make verdicts` with {versions}: every network of torchvision and every network of our own, with"
        " its default input, without a device (X10, X13, X14, X18 and X19 need one). Bold: broken at the default limits (G1 1 %, G2 2 %, G3 3 wide, G4 above"
        ' one half). Batch norm is folded, except in the column "nothing fused". G1 and G2 are the shares of'
        " their prices in the memory access of the network, G3 is the width of the widest block, G4 the share of"
        " element-wise operators ([guidelines](guidelines.md)).",
    ]
    for provider, rows in groups.items():
        broken = {rule: sum(rule in each.broken for each in rows) for rule in PAPER}
        unpriced = sorted({rule for each in rows for rule in each.unpriced})
        lines += [
            "",
            f"## {provider}",
            "",
            f"{len(rows)} networks; broken: {', '.join(f'{rule} by {count}' for rule, count in broken.items())}."
            f" {sum(each.findings for each in rows):,} findings, each with a price except those of"
            f" {', '.join(unpriced) or 'no guideline'}.",
            "",
            *by_rule(rows),
            "",
            row(["network", *PAPER, "G4, nothing fused", "findings"]),
            row(["---", *["---:"] * (len(PAPER) + 2)]),
            *map(cells, rows),
        ]
    return "\n".join([*lines, ""])
