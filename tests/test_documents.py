"""What the README and docs show is what costlab does: commands print what is shown, Python runs, links lead on."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import markdown
import pytest
from markdown_it import MarkdownIt
from stories import FENCE, PAGES, ROOT, tell

STORIES = [page for page in PAGES if page.name != "ci.md"]  # test_lint_document.py follows that one more closely


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", STORIES, ids=ids)
def test_pages_are_stories_that_come_true(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    tell(page, tmp_path, capsys)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_block_says_what_it_is(page):
    fences = re.findall(r"^ *```(.*)$", page.read_text(), re.M)
    assert len(fences) == 2 * len(FENCE.findall(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_to_files_and_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if "://" in target:
            continue
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in slugs(linked), f"{target}#{anchor}"


def slugs(page: Path) -> set[str]:
    """The anchors of headings, as code hosts make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Tags(HTMLParser):
    """How many of which element."""

    COUNTED = ("h1", "h2", "h3", "h4", "li", "ol", "ul", "table", "tr", "pre", "img", "a", "code")

    def __init__(self, html: str):
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.counts[tag] += tag in self.COUNTED


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_code_hosts_and_the_site_read_the_same_markdown(page):
    text = FENCE.sub("```\n```", page.read_text())
    host = Tags(MarkdownIt("commonmark").enable("table").render(text)).counts
    site = Tags(markdown.markdown(text, extensions=["tables", "fenced_code", "sane_lists"])).counts
    assert +host == +site
