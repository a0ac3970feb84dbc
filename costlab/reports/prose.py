"""The Markdown that pages of guidelines are written in, taken apart into data: nothing in it can become markup."""

from __future__ import annotations

import re
from typing import Any

from costlab.formatting.escaping import visible

INDENT = "    "  # of code
SPANS = re.compile(r"\*\*(?P<strong>.+?)\*\*|`(?P<code>[^`]+)`|(?<![\w*])\*(?P<em>[^*\s][^*]*)\*(?!\w)")
RULED = re.compile(r"[\s|:-]+")  # the line between the head and the body of a table

Block = dict[str, Any]  # {"tag": "p", "spans": [[tag, words], ...]}, {"tag": "pre", "text"} or {"tag": "table", "rows"}


def blocks(markdown: str) -> list[Block]:
    """Paragraphs, indented code and tables, in order; the first row of a table is its head."""
    return [block([visible(line) for line in part.splitlines()]) for part in re.split(r"\n\s*\n", markdown.strip("\n"))]


def block(lines: list[str]) -> Block:
    if all(line.startswith(INDENT) for line in lines):
        return {"tag": "pre", "text": "\n".join(line.removeprefix(INDENT) for line in lines)}
    if all(line.startswith("|") for line in lines):
        rows = [line.strip("|").split("|") for line in lines if not RULED.fullmatch(line)]
        return {"tag": "table", "rows": [[cell.strip() for cell in row] for row in rows]}
    return {"tag": "p", "spans": spans(" ".join(map(str.strip, lines)))}


def spans(words: str) -> list[list[str]]:
    """Words as `[tag, words]`: plain ones have no tag."""
    found = []
    end = 0
    for match in SPANS.finditer(words):
        tag = match.lastgroup or ""
        found += [["", words[end : match.start()]], [tag, match[tag]]]
        end = match.end()
    return [span for span in [*found, ["", words[end:]]] if span[1]]
