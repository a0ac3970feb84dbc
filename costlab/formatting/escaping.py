"""Names come from models and may hold anything: each format has them written so that they stay text."""

from __future__ import annotations

import re
import unicodedata

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format, surrogate, private, unassigned, separators
WILD = re.compile(r"(?<![^\W_])_|_(?![^\W_])|[^\w .,:;%()/=+?!-]")  # may mean something to Markdown or HTML
FORMULA = ("=", "+", "-", "@")  # a spreadsheet runs what begins with one of these


def visible(text: str) -> str:
    """Control characters, direction marks and halves of characters as escapes, so that none of them takes effect."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in INVISIBLE else escape(c) for c in text)


def escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def markdown_code(text: str) -> str:
    """A code span that is safe in a table cell; where one could not be, HTML."""
    text = visible(text)
    if not text:
        return ""
    if "`" in text or "|" in text or text != text.strip():
        return f"<code>{markdown_text(text)}</code>"
    return f"`{text}`"


def markdown_text(text: str) -> str:
    """Words within a line of Markdown: what could mean anything becomes an entity, which never does."""
    return WILD.sub(lambda match: f"&#{ord(match[0])};", visible(text))


def spreadsheet(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = visible(text)
    return f"'{text}" if unicodedata.normalize("NFKC", text).lstrip().startswith(FORMULA) else text
