"""Pages of the site from outside docs/: the README is the home page, and notebooks are pages with their outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parent
EMPTY_HEAD = re.compile(r"<th[^<>]*>\s*</th>")
NOTEBOOK = re.compile(r"\]\(\.\./((?:\.\./)*notebooks/[\w-]+)\.ipynb\)")
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages from outside docs/, with their links adjusted."""
    for name, content in outside():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links of docs/ to notebooks, which are pages here."""
    return NOTEBOOK.sub(r"](\1.md)", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Make heads without words plain cells, for screen readers."""
    return EMPTY_HEAD.sub("<td></td>", html)


def outside() -> Iterator[tuple[str, str | bytes]]:
    """Files from outside docs/, by their path on the site."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](").replace(".ipynb)", ".md)")
        for other, target in PAGES.items():
            text = text.replace(f"]({other}", f"]({target}")
        yield page, text
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text, resources = MarkdownExporter().from_filename(str(notebook))
        for name, content in resources["outputs"].items():
            text = text.replace(f"]({name})", f"]({notebook.stem}/{name})")
            yield f"notebooks/{notebook.stem}/{name}", content
        yield f"notebooks/{notebook.stem}.md", text.replace("](../docs/", "](../").replace(".ipynb)", ".md)")
