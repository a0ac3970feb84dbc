"""README and docs are true: commands print what is shown, Python blocks run, links work."""

from __future__ import annotations

import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import markdown
import pytest
import torch
from helpers.stories import FENCE, PAGES, ROOT, tell
from markdown_it import MarkdownIt
from torch.utils.flop_counter import FlopCounterMode

STORIES = [page for page in PAGES if page.name != "ci.md"]  # test_lint_document.py follows that one more closely


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", STORIES, ids=ids)
@pytest.mark.slow
def test_pages_are_stories_that_come_true(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    try:
        tell(page, tmp_path, capsys)
    finally:
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]


@pytest.mark.parametrize(
    "page",
    [
        "```console\n$ costlab devices show l4\nl4: a device of another name\n```\n",
        "```console\n$ costlab explain no-such-rule\n```\n",
        "```console\n$ rm -r /\n```\n",
        "```python\nassert False\n```\n",
        "```sh\ncostlab report mobilenet_v2 --no-such-option\n```\n",
        "```sh\ncostlab no-such-command\n```\n",
    ],
)
def test_a_page_that_is_not_true_fails(page, tmp_path, capsys):
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(AssertionError):
        tell(tmp_path / "page.md", tmp_path, capsys)


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


def figures(text: str) -> set[str]:
    """The numbers of a text; large ones in billions as well."""
    found = {number.replace(",", "") for number in re.findall(r"(?<![\w./-])\d[\d,.]*(?<=\d)(?![\w/])", text)}
    return found | {f"{int(number) / 1e9:.2f}" for number in found if number.isdecimal()}


def test_the_figures_of_the_readme_stand_on_the_pages_that_it_names():
    text = (ROOT / "README.md").read_text()
    claims = text[text.index("## What makes it different") : text.index("## More")]
    checked = 0
    for claim in re.split(r"^- ", claims, flags=re.M):
        pages = re.findall(r"\]\((docs/[^)#]+)\)", claim)
        said = figures(re.sub(r"\]\([^)]*\)|`[^`]*`", "", claim)) - {TORCH_COUNTS}
        if pages:
            assert {n for n in said if not n.startswith("0.")} <= figures("".join(map(read, pages))), claim
            checked += len(said)
    assert checked > 10


TORCH_COUNTS = "11.27"


def test_torch_counts_less_of_a_vision_transformer(torchvision):
    model = torchvision.models.vit_b_16().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 224, 224))
    assert f"{counter.get_total_flops() / 2e9:.2f}" == TORCH_COUNTS
    assert f"FlopCounterMode {TORCH_COUNTS} G on a CPU" in read("README.md")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_code_hosts_and_the_site_read_the_same_markdown(page):
    text = FENCE.sub("```\n```", page.read_text())
    host = Tags(MarkdownIt("commonmark").enable("table").render(text)).counts
    site = Tags(markdown.markdown(text, extensions=["tables", "fenced_code", "sane_lists"])).counts
    assert +host == +site
