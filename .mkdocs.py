"""What the site takes from outside docs/: its first page is the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent


def on_files(files: Files, *, config: Any) -> Files:
    """Add README.md as the first page and CHANGELOG.md beside it; links lead to the same files from there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](").replace("](CHANGELOG.md", "](changes.md")
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "changes.md", content=(ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    return files
