"""What the site takes from outside docs/: its first page is the README, and notebooks are pages with their outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parent


def on_files(files: Files, *, config: Any) -> Files:
    """Add what is outside docs/, with links that lead to the same files from there."""
    for name, content in outside():
        files.append(File.generated(config, name, content=content))
    return files


def outside() -> Iterator[tuple[str, str | bytes]]:
    """Files of the site, by path."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = readme.replace("](docs/", "](").replace("](CHANGELOG.md", "](changes.md")
    yield "index.md", readme.replace(".ipynb)", ".md)")
    yield "changes.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text, resources = MarkdownExporter().from_filename(str(notebook))
        for name, content in resources["outputs"].items():
            text = text.replace(f"]({name})", f"]({notebook.stem}/{name})")
            yield f"notebooks/{notebook.stem}/{name}", content
        yield f"notebooks/{notebook.stem}.md", text.replace("](../docs/", "](../").replace(".ipynb)", ".md)")
