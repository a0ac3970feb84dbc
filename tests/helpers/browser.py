"""A browser for tests of pages, and what axe-core has to say about one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREENS = {"desktop": (1400, 900), "phone": (420, 900)}


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser without a window; the test is skipped if none is installed."""
    api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no browser is installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def opened(browser: Any, file: Path, screen: str = "desktop", scheme: str = "light") -> Any:
    """A page on a screen, in light or dark colours."""
    width, height = SCREENS[screen]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(file.as_uri())
    return page


def violations(page: Any) -> list[tuple[str, list[Any]]]:
    """The rules of axe-core that a page breaks, each with some of the places."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [(v["id"], [(node["target"], node["failureSummary"]) for node in v["nodes"][:3]]) for v in found]
