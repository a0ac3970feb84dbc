"""The documentation of guidelines, as `costlab explain` shows it."""

import json
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from costlab.formatting.escaping import visible
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


Block = dict[str, Any]  # {"tag": "p", "spans": [[tag, text], ...]}, {"tag": "pre", "text"} or {"tag": "table", "rows"}
TAGS = {"code_inline": "code", "strong_open": "strong", "em_open": "em"}


def blocks(markdown: str) -> list[Block]:
    """Paragraphs, indented code and tables, in order; the first row of a table is its head."""
    result: list[Block] = []
    parser = MarkdownIt("zero").enable(["code", "table", "emphasis", "backticks"])
    previous = ""
    for token in parser.parse(markdown):
        if token.type == "code_block":
            result.append({"tag": "pre", "text": visible_lines(token.content)})
        elif token.type == "table_open":
            result.append({"tag": "table", "rows": []})
        elif token.type == "tr_open":
            result[-1]["rows"].append([])
        elif token.type == "inline" and previous in ("th_open", "td_open"):
            result[-1]["rows"][-1].append(visible(token.content))
        elif token.type == "inline":
            result.append({"tag": "p", "spans": spans(token.children or [])})
        previous = token.type
    return result


def spans(tokens: list[Token]) -> list[list[str]]:
    """Text as `[tag, text]`; plain text has no tag."""
    result: list[list[str]] = []
    tag = ""
    for token in tokens:
        if token.nesting:
            tag = TAGS.get(token.type, "")
        elif token.content:
            result.append([TAGS.get(token.type, tag), visible(token.content.replace("\n", " "))])
    return result


def visible_lines(text: str) -> str:
    """Lines of code with their control characters escaped."""
    return "\n".join(map(visible, text.rstrip("\n").split("\n")))
