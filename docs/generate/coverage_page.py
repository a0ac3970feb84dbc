"""docs/coverage.md: what came of every network of every provider, from the journal of tests/soak/coverage.py."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from helpers.transformers_types import NEVER_READ, TypeOutcome

Record = dict[str, Any]
TYPES = "## Types of transformers"
PARTS = ("types", "heads")  # groups with sections of their own


def page(records: Sequence[Record], same: int, differences: Sequence[str]) -> str:
    """The whole page."""
    listed = [r for r in records if r["group"] not in PARTS]
    return "\n".join([*head(), *providers(listed), *published(same, differences), types_section(records)])


def head() -> list[str]:
    """The title, and the versions of everything."""
    import timm
    import torch
    import transformers

    from costlab._version import __version__
    from costlab.models.providers.torchvision import import_torchvision

    versions = (
        f"costlab {__version__}, torch {torch.__version__}, torchvision {import_torchvision().__version__},"
        f" timm {timm.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    )
    return ["# Coverage", "", f"Written by `make soak` on {datetime.now(UTC):%Y-%m-%d} with {versions}.", ""]


def providers(records: Sequence[Record]) -> list[str]:
    """The networks that providers list by name: how many go through, and what is inexact."""
    lines = [
        "Every network with its provider's default input, built without weights. *Uncounted*: networks with an operator"
        " that no cost rule knows. *Estimates*: networks whose total depends on a guessed size.",
        "",
        "| provider | networks | profiled | uncounted | estimates | operators | seconds in all | slowest |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for provider in dict.fromkeys(r["group"] for r in records):
        group = [r for r in records if r["group"] == provider]
        done = [r for r in group if not r["error"]]
        slowest = max(group, key=lambda r: r["seconds"])
        lines.append(
            f"| {provider} | {len(group)} | {len(done)} | {sum(bool(r['uncounted']) for r in done)} |"
            f" {sum(bool(r['guesses']) for r in done)} | {sum(r['operators'] for r in done):,} |"
            f" {sum(r['seconds'] for r in group):.0f} | {slowest['name']}, {slowest['seconds']:.1f} s |"
        )
    done = [r for r in records if not r["error"]]
    kinds = Counter(kind for r in done for kind in r["uncounted"])
    lines += ["", "## Failures", ""]
    lines += [f"- `{r['name']}`: {r['error']}" for r in records if r["error"]] or ["None."]
    lines += ["", "## Uncounted operators", ""]
    lines += [f"- `{kind}` in {count} networks" for kind, count in kinds.items()] or ["None."]
    lines += ["", "## Estimates and their causes", ""]
    guessed = [(r["name"], ", ".join(f"{kind} x{count}" for kind, count in r["guesses"])) for r in done if r["guesses"]]
    return [*lines, *([f"- `{name}`: {causes}" for name, causes in guessed] or ["None."])]


def published(same: int, differences: Sequence[str]) -> list[str]:
    """How many of torchvision's published figures are reproduced, and why the others are not."""
    return [
        "",
        "## Published figures",
        "",
        f"torchvision publishes mult-adds (3 decimals, in billions) and parameters with {same + len(differences)}"
        f" weights. {same} are reproduced to every digit, with the network as torchvision builds it for the weights."
        " Parameters agree everywhere. Quantised weights publish the figures of their floating-point network, which are"
        " compared. The others:",
        "",
        "| weights | published | counted | reason |",
        "| --- | ---: | ---: | --- |",
        *differences,
        "",
    ]


def types_section(records: Sequence[Record]) -> str:
    """The types and heads of transformers: how many of what transformers itself can run are profiled."""
    types, heads = ([outcome(r) for r in records if r["group"] == group] for group in PARTS)
    groups = {"types": types, "types with an AutoModel": [o for o in types if o.automatic], "head classes": heads}
    compared = [o for o in types if not o.error and not o.refused and o.counted is not None]
    equal = [o for o in compared if o.counted == o.mult_adds]
    lines = [
        TYPES,
        "",
        "Every type, and every other class that transformers exports for its configuration, from the configuration that"
        " `save_pretrained` writes by default, with default inputs. *Transformers cannot*: transformers itself builds"
        " no network from that configuration, or its forward pass fails without costlab as well, for the reason in the"
        " table. A head is tried with `architectures` naming it.",
        "",
        "| | all | transformers cannot | left | profiled | share of what is left | exact | all parameters reached |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(summary(name, outcomes) for name, outcomes in groups.items()),
        "",
        f"*All parameters reached*: at least {1 - NEVER_READ:.0%} of them are read. Torch's own counter, on torch's"
        f" fake tensors and without costlab's tracing, counts the mult-adds of {len(compared)} types as well:"
        f" {len(equal)} are equal to the last digit, {len(compared) - len(equal)} differ.",
        "",
        "| type | network | mult-adds | parameters | torch counts | state |",
        "| --- | --- | ---: | ---: | --- | --- |",
        *(type_row(o) for o in types),
        "",
        "### Heads that are not profiled",
        "",
        "| type | class | state |",
        "| --- | --- | --- |",
        *(f"| `{o.type}` | {o.architecture} | {cell(o.state)} |" for o in heads if o.error or o.refused),
    ]
    return "\n".join([*lines, ""])


def outcome(record: Record) -> TypeOutcome:
    """A line of the journal as an outcome; a process that came to no end has told nothing but its error."""
    model_type, _, architecture = record["name"].partition(" ")
    names = TypeOutcome.__dataclass_fields__
    known = {key: value for key, value in record.items() if key in names}
    return TypeOutcome(**{**known, "type": model_type, "architecture": architecture})


def summary(name: str, outcomes: Sequence[TypeOutcome]) -> str:
    """One line of the summary."""
    left = [o for o in outcomes if not o.refused]
    done = [o for o in left if not o.error]
    exact = [o for o in done if not o.uncounted and not o.guesses]
    whole = [o for o in done if o.never_read <= NEVER_READ]
    return (
        f"| {name} | {len(outcomes)} | {len(outcomes) - len(left)} | {len(left)} | {len(done)} |"
        f" {len(done) / max(len(left), 1):.1%} | {len(exact)} | {len(whole)} |"
    )


def type_row(o: TypeOutcome) -> str:
    """One type."""
    if o.error or o.refused:
        return f"| `{o.type}` |  |  |  |  | {cell(o.state)} |"
    same = "" if o.counted is None else "the same" if o.counted == o.mult_adds else f"{o.counted:,}"
    return f"| `{o.type}` | {o.network} | {o.mult_adds:,} | {o.params:,} | {same} | {cell(o.state)} |"


def cell(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|")
