"""Profile every network of every provider and write docs/coverage.md; exit 1 when one fails or is not fully counted."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.pool
import platform
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

from helpers.transformers_types import TypeOutcome, attempt_type, types_section  # noqa: E402


@dataclass(frozen=True)
class Outcome:
    """What came of one network."""

    target: str
    seconds: float
    operators: int = 0
    uncounted: tuple[str, ...] = ()
    guesses: tuple[tuple[str, int], ...] = ()
    error: str = ""


def attempt(target: str) -> Outcome:
    from costlab.models import ModelSpec, profile_of

    start = time.perf_counter()
    try:
        profile = profile_of(ModelSpec(target))
    except Exception as error:
        return Outcome(target, time.perf_counter() - start, error=f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    return Outcome(target, seconds, len(profile.ops), tuple(profile.uncounted), tuple(profile.guesses.items()))


def targets(folder: Path) -> dict[str, list[str]]:
    from helpers.transformers_families import FAMILIES, write_config

    from costlab.models import list_models

    groups = {p: [f"{p}:{name}" for name in names] for p, names in list_models().items()}
    groups["transformers"] = [write_config(model_type, folder) for model_type in FAMILIES]
    return groups


def published_differences() -> tuple[int, list[str]]:
    """How many published figures are reproduced, and those that are not, with the reason."""
    from helpers.published_weights import build, figures, inputs, published
    from helpers.second_stages import SECOND_STAGE

    from costlab.tracing._profile import profile

    same, differences = 0, []
    for name, weights in published():
        billions, params = figures(weights)
        result = profile(build(name, weights), inputs(name, weights))
        if f"{result.mult_adds / 1e9:.3f}" == f"{billions:.3f}" and result.params == params:
            same += 1
        else:
            reason = SECOND_STAGE.get(name, ("", "unexplained"))[1]
            differences.append(
                f"| `{weights}` | {billions:.3f} G | {result.mult_adds / 1e9:.3f} G (estimate) | {reason} |"
            )
    return same, differences


def page(groups: dict[str, list[Outcome]], same: int, differences: list[str]) -> str:
    """docs/coverage.md."""
    import timm
    import torch
    import transformers

    from costlab._version import __version__
    from costlab.models.providers.torchvision import import_torchvision

    versions = (
        f"costlab {__version__}, torch {torch.__version__}, torchvision {import_torchvision().__version__},"
        f" timm {timm.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    )
    lines = [
        "# Coverage",
        "",
        f"Written by `make soak` on {datetime.now(UTC):%Y-%m-%d} with {versions}.",
        "",
        "Every network with its provider's default input, built without weights. *Uncounted*: networks with an operator"
        " that no cost rule knows. *Estimates*: networks whose total depends on a guessed size.",
        "",
        "| provider | networks | profiled | uncounted | estimates | operators | seconds in all | slowest |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for provider, outcomes in groups.items():
        done = [o for o in outcomes if not o.error]
        slowest = max(outcomes, key=lambda o: o.seconds)
        lines.append(
            f"| {provider} | {len(outcomes)} | {len(done)} | {sum(bool(o.uncounted) for o in done)} |"
            f" {sum(bool(o.guesses) for o in done)} | {sum(o.operators for o in done):,} |"
            f" {sum(o.seconds for o in outcomes):.0f} | {short(slowest.target)}, {slowest.seconds:.1f} s |"
        )
    every = [o for outcomes in groups.values() for o in outcomes]
    lines += ["", "## Failures", ""]
    lines += [f"- `{short(o.target)}`: {o.error}" for o in every if o.error] or ["None."]
    lines += ["", "## Uncounted operators", ""]
    kinds = Counter(kind for o in every for kind in o.uncounted)
    lines += [f"- `{kind}` in {count} networks" for kind, count in kinds.items()] or ["None."]
    lines += ["", "## Estimates and their causes", ""]
    lines += [
        f"- `{short(o.target)}`: " + ", ".join(f"{kind} x{count}" for kind, count in o.guesses)
        for o in every
        if o.guesses
    ] or ["None."]
    lines += [
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
    return "\n".join(lines)


def short(target: str) -> str:
    return "hf:" + Path(target).stem if target.startswith("hf:") else target


TYPES = "## Types of transformers"


def transformers_types(pool: multiprocessing.pool.Pool, folder: Path) -> list[TypeOutcome]:
    """Every type that transformers has."""
    from costlab.models.providers.transformers import import_transformers

    types = sorted(import_transformers().CONFIG_MAPPING.keys())
    return pool.map(functools.partial(attempt_type, folder=folder), types, chunksize=4)


def main() -> int:
    groups: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(2) as pool:
        for provider, names in targets(Path(folder)).items():
            groups[provider] = []
            for outcome in pool.imap(attempt, names, chunksize=8):
                groups[provider].append(outcome)
                if sys.stderr.isatty():
                    print(f"\r{provider}: {len(groups[provider])} of {len(names)}", end="", file=sys.stderr)
            print(f"\r{provider}: {len(names)} networks", file=sys.stderr)
        types = transformers_types(pool, Path(folder))
    same, differences = published_differences()
    text = page(groups, same, differences) + "\n" + types_section(types, TYPES)
    (ROOT / "docs" / "coverage.md").write_text(text, encoding="utf-8")
    bad = [o for outcomes in groups.values() for o in outcomes if o.error or o.uncounted]
    for outcome in bad:
        print(f"{short(outcome.target)}: {outcome.error or outcome.uncounted}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
