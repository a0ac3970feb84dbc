"""Lint every network of torchvision and our own; write docs/guidelines.md and docs/verdicts.md."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

VARIANTS = (
    *((f"zoo:shufflenet_v1 -a groups={groups}", {"groups": groups}) for groups in (1, 2, 3, 4, 8)),
    *((f"zoo:shufflenet_v2 -a width={width}", {"width": width}) for width in (0.5, 1.0, 1.5, 2.0)),
)


def targets() -> dict[str, list[tuple[str, dict[str, float]]]]:
    """By provider, what to load and the arguments for it, as the command line takes them."""
    from costlab.models import list_models

    varied = {text.split()[0] for text, _ in VARIANTS}
    ours = [(f"zoo:{name}", {}) for name in list_models("zoo")["zoo"] if f"zoo:{name}" not in varied]
    theirs = [(f"torchvision:{name}", {}) for name in sorted(list_models("torchvision")["torchvision"])]
    return {"Our own": sorted([*ours, *VARIANTS], key=lambda pair: pair[0]), "torchvision": theirs}


def main() -> int:
    import torch
    from generate.guideline_pages import Judged, guidelines_page, judged, verdicts_page

    from costlab._version import __version__
    from costlab.models import ModelSpec, profile_of
    from costlab.models.providers.torchvision import import_torchvision

    groups: dict[str, list[Judged]] = {}
    for provider, chosen in targets().items():
        groups[provider] = []
        for text, arguments in chosen:
            groups[provider].append(judged(text, profile_of(ModelSpec(text.split()[0], arguments))))
        print(f"{provider}: {len(chosen)} networks", file=sys.stderr)
    versions = f"costlab {__version__}, torch {torch.__version__}, torchvision {import_torchvision().__version__}"
    (ROOT / "docs" / "verdicts.md").write_text(verdicts_page(groups, versions), encoding="utf-8")
    (ROOT / "docs" / "guidelines.md").write_text(guidelines_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
