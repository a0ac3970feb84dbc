"""Every file from outside has a limit, and reading it takes time and memory in proportion to its size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from costlab.core.files import read_bytes, read_profile, read_text
from costlab.errors import CostlabError

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)); from costlab.cli import run; "


def test_a_file_is_read_up_to_its_limit_and_no_further(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, 100) == b"x" * 100
    with pytest.raises(CostlabError, match="file is too large: more than 99 bytes"):
        read_bytes(path, 99)
    with pytest.raises(CostlabError, match="/dev/zero is too large"):
        read_bytes(Path("/dev/zero"), 1000)


def test_text_is_utf_8_with_lines_of_a_limited_length(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("é\r\nab\n".encode())
    assert read_text(path, 100, longest_line=2) == "é\nab\n"
    with pytest.raises(CostlabError, match="a line of more than 1 characters"):
        read_text(path, 100, longest_line=1)
    path.write_bytes(b"\xff")
    with pytest.raises(CostlabError, match="not UTF-8"):
        read_text(path, 100)


@pytest.mark.parametrize("path", ["gone.json", "null\0.json", "."])
def test_what_cannot_be_read_is_one_line(path):
    with pytest.raises(CostlabError, match="cannot be read"):
        read_profile(Path(path))


@pytest.mark.parametrize(
    "content",
    [".".join("a" * 60_000) + " = 1\n", 'x = "' + "y" * (2 << 20) + '"\n', "[tool.costlab]\nx = " + "[" * 1000 + "\n"],
    ids=["a dotted key", "a large file", "nested lists"],
)
def test_a_bomb_in_a_configuration_is_one_line_in_little_memory(content, tmp_path):
    (tmp_path / "pyproject.toml").write_text(content)
    code = LIMITED + "raise SystemExit(run(['lint', '--config', 'pyproject.toml']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert done.stderr.strip().count("\n") == 0
    assert "pyproject.toml" in done.stderr
