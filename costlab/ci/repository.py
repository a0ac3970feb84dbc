"""Where a network is written in the repository: the lines that reports point to."""

from pathlib import Path

from costlab.core.graph import Source
from costlab.core.profile import Profile

INSTALLED = {"site-packages", "dist-packages"}  # folders of installed code, which may lie inside a repository


def find_repository(folder: Path) -> Path:
    """The root of the git repository around a folder, or the folder itself if there is none."""
    folder = folder.resolve()
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)


def source_in_repository(source: Source, root: Path) -> Source | None:
    """A line with its file relative to the repository; None if the file is installed code, outside or missing."""
    path = (root / source.file).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        return None
    relative = path.relative_to(root)
    return None if INSTALLED & set(relative.parts) else Source(relative.as_posix(), max(source.line, 1))


def module_sources(profile: Profile, root: Path) -> dict[str, Source]:
    """The lines of all modules that are defined in the repository, by module path."""
    files = {m.source.file for m in profile.trace.modules if m.source}
    inside = {file: found.file for file in files if (found := source_in_repository(Source(file, 1), root))}
    return {
        m.path: Source(inside[m.source.file], max(m.source.line, 1))
        for m in profile.trace.modules
        if m.source and m.source.file in inside
    }
