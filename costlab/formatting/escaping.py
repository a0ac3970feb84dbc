"""Names come from models and may contain anything: how each format writes them so that they stay text."""

import html
import re
import unicodedata

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format, surrogate, private, unassigned, separators
WILD = re.compile(r"(?<![^\W_])_|_(?![^\W_])|[^\w .,:;%()/=+?!-]")  # may be markup in Markdown or HTML
FORMULA = ("=", "+", "-", "@")  # a spreadsheet evaluates what begins with one of these


def visible(text: str) -> str:
    """The text with control characters, direction marks and unpaired surrogates escaped, so that none has an effect."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in INVISIBLE else escape(c) for c in text)


def escape(character: str) -> str:
    """A character as Python escapes it: `\\x1b`."""
    return character.encode("unicode_escape").decode("ascii")


def markdown_code(text: str) -> str:
    """A code span that is safe in a table cell; HTML if no span would be."""
    text = visible(text)
    if not text:
        return ""
    if "`" in text or "|" in text or text != text.strip():
        return f"<code>{markdown_text(text)}</code>"
    return f"`{text}`"


def markdown_text(text: str) -> str:
    """Text within a line of Markdown: characters that could be markup become entities."""
    return WILD.sub(lambda match: f"&#{ord(match[0])};", visible(text))


def html_text(text: str) -> str:
    """Text in HTML: nothing in it is markup."""
    return html.escape(visible(text))


def spreadsheet(text: str) -> str:
    """A cell that no spreadsheet reads as a formula, not even one that splits it at semicolons."""
    return ";".join(f"'{part}" if is_formula(part) else part for part in visible(text).split(";"))


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may evaluate a text; it takes full-width signs too, and drops quotes."""
    return unicodedata.normalize("NFKC", text).lstrip(" \"'").startswith(FORMULA)
