"""The documentation site builds without warnings, has no broken links, and loads nothing from other sites."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from generate.cli_page import PAGE, cli_page
from helpers.browser import browsing, opened, violations

import costlab

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """What `make docs` does; with --quiet, --strict would let warnings pass."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / ".mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> dict[str, str]:
    """By path, without the one that a server shows where there is none."""
    found = {str(path.relative_to(site)): path.read_text() for path in sorted(site.rglob("*.html"))}
    found.pop("404.html")
    return found


def test_every_page_is_in_the_navigation_once_and_on_the_site(site):
    named = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / ".mkdocs.yml").read_text(), re.M)
    assert len(named) == len(set(named))
    written = {str(path.relative_to(ROOT / "docs").with_suffix(".html")) for path in (ROOT / "docs").rglob("*.md")}
    written = {re.sub(r"README\.html$", "index.html", page) for page in written}
    notebooks = {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert (
        written | notebooks | {"index.html", "changes.html", "contributing.html", "security.html"} <= pages(site).keys()
    )


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = r'<(?:script|img|iframe)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*\bhref="(?:https?:)?//'
    for name, html in pages(site).items():
        assert not re.search(fetched, html), name
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text()), style


def test_every_link_of_the_site_has_a_target(site):
    html = pages(site)
    for name, text in html.items():
        for link in re.findall(r'<a\b[^>]*\bhref="([^"]*)"', text):
            target, _, anchor = link.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            path = ((site / name).parent / target).resolve() if target else (site / name).resolve()
            assert path.exists(), f"{name}: {link}"
            if anchor and anchor != "__top" and path.suffix == ".html":
                assert f'id="{anchor}"' in path.read_text(), f"{name}: {link}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(scheme, site):
    with browsing() as browser:
        for name in ("index", "cli", "api", "ci", "guidelines", "notebooks/4-designing-a-network"):
            page = opened(browser, site / f"{name}.html", scheme=scheme)
            assert violations(page) == [], name
            page.close()


def test_a_broken_link_fails_the_build(tmp_path):
    for name in (".mkdocs.yml", ".mkdocs.py", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    config = yaml.safe_load((tmp_path / ".mkdocs.yml").read_text())
    (tmp_path / ".mkdocs.yml").write_text(
        yaml.safe_dump(
            {**config, "nav": ["index.md", "changes.md", "contributing.md", "security.md", "page.md"], "plugins": []}
        )
    )
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        (tmp_path / name).write_text("# Home\n")
    page = tmp_path / "docs" / "page.md"
    for text, code in (("[here](#page)", 0), ("[there](nowhere.md)", 1), ("[there](#nowhere)", 1)):
        page.write_text(f"# Page\n\n{text}\n")
        done = build(tmp_path / ".mkdocs.yml", tmp_path / "site")
        assert done.returncode == code, done.stderr


def test_every_public_name_is_in_the_reference(site):
    text = (ROOT / "docs" / "api.md").read_text()
    for name in set(costlab.__all__) - {"__version__"}:
        assert f"costlab.{name}" in text, name
    html = pages(site)["api.html"]
    assert "the positional arguments of" in html
    for name in ("profile", *(f"{m.__name__[8:]}.{name}" for m in (costlab.plots, costlab.zoo) for name in m.__all__)):
        assert f'id="costlab.{name}"' in html, name


def test_the_page_of_commands_is_up_to_date():
    assert PAGE.read_text() == cli_page(), "make docs regenerates it"
