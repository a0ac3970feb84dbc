"""What the site takes from outside docs/: its first page is the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent


def on_files(files: Files, *, config: Any) -> Files:
    """Add README.md as the first page and CHANGELOG.md beside it; links lead to the same files from there."""
    readme, changes = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CHANGELOG.md"))
    readme = readme.replace("](docs/", "](").replace("](CHANGELOG.md", "](changes.md")
    for name, content in {"index.md": readme, "changes.md": changes}.items():
        files.append(File.generated(config, name, content=content))
    return files
