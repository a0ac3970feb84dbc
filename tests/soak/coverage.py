"""Profile every network of every provider and write docs/coverage.md; exit 1 if one of a listed provider fails.

Each network has a process of its own with limits on time and memory, and a line in a journal: a run that was
interrupted goes on where it ended, and `--again` repeats what failed. Types and heads of transformers come last.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

from helpers.isolation import isolated  # noqa: E402
from helpers.transformers_types import attempt_type, exported_classes, without_costlab  # noqa: E402

SECONDS, GIBIBYTES = 60, 12  # for one network
COUNTED = 220  # types that torch counts as well
IMPORTED = "auto bert clip detr gemma3 llama llava mimi qwen2_vl siglip timm_backbone wav2vec2 whisper".split()

Attempt = Callable[[], dict[str, Any]]


def attempt(target: str) -> dict[str, Any]:
    """Profile a network that a provider lists."""
    from costlab.models import ModelSpec, profile_of

    try:
        profile = profile_of(ModelSpec(target))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    guesses = list(profile.guesses.items())
    return {"operators": len(profile.ops), "uncounted": list(profile.uncounted), "guesses": guesses, "error": ""}


def targets(folder: Path) -> Iterator[tuple[str, str, Attempt]]:
    """Group, name and attempt of every network."""
    from helpers.transformers_families import FAMILIES, write_config

    from costlab.models import list_models
    from costlab.models.providers.transformers import import_transformers

    for provider, names in list_models().items():
        yield from ((provider, f"{provider}:{n}", functools.partial(attempt, f"{provider}:{n}")) for n in names)
    for family in FAMILIES:
        yield "transformers", f"hf:{family}", functools.partial(attempt, write_config(family, folder))
    types = sorted(import_transformers().CONFIG_MAPPING.keys())
    for name in types:
        yield "types", name, functools.partial(attempt_as_data, name, folder)
    for name in types:
        for architecture in exported_classes(name):
            yield "heads", f"{name} {architecture}", functools.partial(attempt_as_data, name, folder, architecture)


def attempt_as_data(model_type: str, folder: Path, architecture: str = "") -> dict[str, Any]:
    """A type or a head as a line of the journal."""
    return dataclasses.asdict(attempt_type(model_type, folder, architecture))


def run(journal: Path, again: bool) -> list[dict[str, Any]]:
    """Try what the journal does not have; gives its lines, the last one of each network."""
    done = read(journal)
    counted = sum(record.get("counted") is not None for record in done.values())
    with tempfile.TemporaryDirectory() as folder:
        for group, name, attempt_one in targets(Path(folder)):
            old = done.get((group, name))
            model_type, _, architecture = name.partition(" ")
            if group == "heads" and done["types", model_type].get("network") == architecture:
                continue
            if old and not (again and old["error"] and not old.get("refused")):
                continue
            record = {"group": group, "name": name, **isolated(attempt_one, SECONDS, GIBIBYTES)}
            asked = group == "types" and counted < COUNTED
            if group in ("types", "heads") and (asked or record["error"]) and not record.get("refused"):
                alone = functools.partial(without_costlab, *name.split())
                answer = isolated(alone, SECONDS, GIBIBYTES)
                record |= {key: answer[key] for key in ("refused", "counted", "uncounted_because") if key in answer}
                counted += answer.get("counted") is not None
            done[group, name] = record
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
    return list(done.values())


def read(journal: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The last line of each network."""
    if not journal.exists():
        return {}
    records = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return {(record["group"], record["name"]): record for record in records}


def warm_up() -> None:
    """Import in this process what every forked one needs."""
    import torch

    from costlab.models import ModelSpec, profile_of
    from costlab.models.providers.transformers import import_transformers

    torch.set_num_threads(1)
    import_transformers()
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in IMPORTED:
        importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    importlib.import_module("helpers.transformers_alone")
    profile_of(ModelSpec("zoo:mobilenet_v1"))
    gc.collect()
    gc.freeze()


def main() -> int:
    from generate.coverage_page import page
    from helpers.published_figures import published_differences

    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(tempfile.gettempdir()) / "costlab-coverage.jsonl"
    parser.add_argument("--journal", type=Path, default=default, help=f"default: {default}")
    parser.add_argument("--again", action="store_true", help="try networks again that failed")
    options = parser.parse_args()
    warm_up()
    records = run(options.journal, options.again)
    (ROOT / "docs" / "coverage.md").write_text(page(records, *published_differences()), encoding="utf-8")
    bad = [r for r in records if r["group"] not in ("types", "heads") and (r["error"] or r["uncounted"])]
    for record in bad:
        print(f"{record['name']}: {record['error'] or record['uncounted']}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
