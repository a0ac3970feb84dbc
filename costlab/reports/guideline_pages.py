"""The documentation of guidelines, as `costlab explain` shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from costlab.guidelines.model import Guideline


def text(guidelines: Sequence[Guideline]) -> str:
    """The pages of guidelines with their examples."""
    return "\n\n".join("\n".join(page(guideline)) for guideline in guidelines) + "\n"


def page(guideline: Guideline) -> list[str]:
    """The lines of one guideline as Markdown: its page, then networks that break it and networks that satisfy it."""
    lines = [f"## {guideline.code} {guideline.name}", "", *guideline.page.strip().splitlines()]
    for label, examples in (("Bad", guideline.bad), ("Good", guideline.good)):
        for title, code in examples.items():
            lines += ["", f"{label}: {title}", "", "```python", *code.strip().splitlines(), "```"]
    return lines


def document(guidelines: Sequence[Guideline]) -> str:
    """The pages as JSON, schema version 1."""
    rules = [
        {
            "code": g.code,
            "name": g.name,
            "summary": g.summary,
            "page": g.page.strip(),
            "limit": g.limit,
            "severity": g.severity if g.limit is not None else "note",
            "bad": [{"title": title, "code": code} for title, code in g.bad.items()],
            "good": [{"title": title, "code": code} for title, code in g.good.items()],
        }
        for g in guidelines
    ]
    return json.dumps({"schema_version": 1, "rules": rules}, indent=1, allow_nan=False) + "\n"
