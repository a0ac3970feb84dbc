"""The page answers three questions on its first screen, and breaks no rule of axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import SCREENS, browsing, opened, violations
from helpers.guideline_networks import network

import costlab
from costlab.latency.devices import find_device
from costlab.reports import html
from costlab.reports.profile_table import default_depth, table

pytestmark = pytest.mark.slow

DEVICE = "raspberry-pi-5"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as opened_browser:
        yield opened_browser


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    profile, device = network("MobileNet V2"), find_device(DEVICE)
    page = html.report(profile, costlab.lint(profile, device=device), costlab.predict(profile, device), device)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page)
    return path


def opened_report(browser: Any, file: Path, screen: str, scheme: str = "light") -> Any:
    page = opened(browser, file, screen, scheme)
    page.wait_for_selector("html[data-ready]", state="attached")
    return page


def on_first_screen(page: Any, text: str) -> bool:
    """Whether an element with this text is in view before anything is scrolled."""
    box = page.get_by_text(text, exact=False).first.bounding_box()
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


@pytest.mark.parametrize("screen", SCREENS)
def test_three_questions_are_answered_on_the_first_screen(screen, browser, file):
    profile = network("MobileNet V2")
    prediction = costlab.predict(profile, DEVICE)
    rows = table(profile, depth=default_depth(profile), seconds=prediction.by_op, predicted_seconds=prediction.seconds)
    page = opened_report(browser, file, screen)
    for row in rows.lines[:5]:  # which five modules take most time
        assert on_first_screen(page, row.name), row.name
    assert on_first_screen(page, "memory-bound")  # is it memory-bound
    first = costlab.lint(profile, device=DEVICE).what_ifs.changes[0]
    assert on_first_screen(page, f"1. {first.change}")  # what to do first
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_no_violation(screen, scheme, browser, file):
    page = opened_report(browser, file, screen, scheme)
    assert violations(page) == []
    page.close()


def test_skip_links_lead_to_modules_guidelines_and_operators(browser, file):
    page = opened_report(browser, file, "desktop")
    for name in ("tree", "findings", "operators"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('href')") == f"#{name}"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "operators"
    page.close()
