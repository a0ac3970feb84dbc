"""Run documentation pages: write their files, then run their commands and their Python in order, in one folder.

```` ```console ```` holds commands after `$` with what they print (`...` stands for any words; nothing: whatever they
print), ```` ```python ```` Python, `title="net.py"` makes a block a file, ```` ```diff ```` changes one, and
```` ```sh ```` holds command lines to adapt, of which only the usage is checked.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from typer.core import TyperGroup

from costlab.cli import CliState, app, run
from costlab.cli.exits import one_line

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.S | re.M)
ANYTHING = "..."


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str  # of the file that it is; empty for what is run
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*match) for match in FENCE.findall(page.read_text(encoding="utf-8"))]


def shown_as(shown: str, printed: str) -> bool:
    """Whether a block shows what was printed, word by word; `...` stands for any words."""
    words = [r"(?:\S+ )*" if word == ANYTHING else re.escape(word) + " " for word in shown.split()]
    return re.fullmatch("".join(words), "".join(f"{word} " for word in printed.split())) is not None


def tell(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a page in a folder, which is the current one; fails where it shows what is not so."""
    code = 0
    for language, title, text in blocks_of(page):
        if title:
            path = folder / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, page.name, "exec"), {"__name__": "story"})
        elif language == "diff":
            subprocess.run(["git", "apply", "-"], input=text, text=True, check=True)
        elif language == "console":
            for line, shown in commands(text):
                if line == "echo $?":
                    assert shown == f"{code}\n", f"{code} is the exit code"
                    continue
                capsys.readouterr()
                code = called(line)
                out, err = capsys.readouterr()
                assert code in (0, 1), err
                assert not shown.strip() or shown_as(shown, out) or shown_as(shown, out + err), line + "\n" + out + err
        elif language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                check_usage(line)


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it shows."""
    pairs = (command.partition("\n") for command in re.split(r"^\$ ", text, flags=re.M)[1:])
    return [(line, shown) for line, _, shown in pairs]


def called(line: str) -> int:
    """The exit code of a command."""
    program, *arguments = shlex.split(line, comments=True)
    if program == "costlab":
        return run(arguments)
    if program == "python":
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done.returncode
    raise AssertionError(f"{program} is not a program that pages may run")


def check_usage(line: str) -> None:
    """Whether `costlab` takes a command line; other programs are not looked at."""
    words = shlex.split(line, comments=True)
    if words and words[0] == "costlab":
        group = typer.main.get_command(app)
        assert isinstance(group, TyperGroup)
        context = group.make_context("costlab", [], obj=CliState())
        command = group.get_command(context, words[1])
        assert command, line
        try:
            command.make_context(words[1], words[2:], parent=context)
        except Exception as error:
            raise AssertionError(f"{line}: {one_line(error)}") from None
