"""What the README and docs show is what costlab does: commands print what is shown, Python runs, links lead on."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from costlab.cli import run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list:
    """Every fenced block of a language, with the page it stands on."""
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M), 1):
            found.append(pytest.param(text, id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_print_what_stands_below_them(block, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    commands = re.split(r"^\$ ", block, flags=re.M)[1:]
    for command in commands:
        line, _, shown = command.partition("\n")
        words = shlex.split(line, comments=True)
        if words[0] == "costlab" and shown.strip():
            assert run(words[1:]) in (0, 1)
            assert capsys.readouterr().out.split() == shown.split()


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "document", "exec"), {"__name__": "document"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
