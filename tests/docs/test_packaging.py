"""A wheel holds everything, and works from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "costlab"):
        os.symlink(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_every_module_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "costlab").rglob("*.py")}
    modules |= {str(path.relative_to(ROOT)) for path in (ROOT / "costlab/reports/page").iterdir()}
    assert modules <= members
    assert not any(member.startswith(("tests", "docs")) for member in members)


def test_the_wheel_reports_from_an_empty_folder(wheel, tmp_path):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    done = subprocess.run(
        [sys.executable, "-c", "import costlab; print(costlab.__file__); import costlab.cli; costlab.cli.main()"]
        + ["report", "mobilenet_v2"],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(installed) in done.stdout
    assert "300,774,272" in done.stdout
    assert "3,504,872" in done.stdout
    assert list(empty.iterdir()) == []
