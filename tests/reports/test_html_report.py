"""The HTML report: one file, safe for any names, and in a browser all views follow the selected module."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from helpers.examples import HOSTILE, examples
from torch import nn

from costlab.cli import run
from costlab.core.memory import peak_activation_bytes
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.guidelines import GUIDELINES, lint
from costlab.latency._predict import predict
from costlab.latency.devices import find_device
from costlab.models import load
from costlab.reports import html
from costlab.reports.guideline_pages import blocks
from costlab.reports.header import facts
from costlab.reports.html_data import CHOICES, document
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
SCRIPT = "<script>hacked = 1</script>"
MARKUP = "\"'><img src=x onerror=hacked=1>"
BIDI = "abc\u202edef\u2066\x1b[31m\u2028end"


class Named(nn.Module):
    """Modules with names that would be markup, in a module with such a name."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.inner = nn.ModuleList()
        for name in names:
            self.add_module(name, nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
        self.names = names

    def forward(self, x: Any) -> Any:
        for name in self.names:
            x = getattr(self, name)(x)
        return x


@pytest.fixture(scope="module")
def mobilenet() -> Profile:
    return profile(*load("mobilenet_v2"), name="mobilenet_v2", provider="zoo")


@pytest.fixture(scope="module")
def long() -> Profile:
    """More operators than a page of the table."""
    layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(340)]
    return profile(nn.Sequential(*layers), (1, 8, 6, 6))


def page_of(shown: Profile, device: str | None = None) -> str:
    on = find_device(device) if device else None
    return html.report(shown, lint(shown, device=on), predict(shown, on) if on else None, on)


def data_of(text: str) -> Any:
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


class Tags(HTMLParser):
    """What a browser takes for elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


# The file.


@pytest.mark.parametrize("name", examples())
def test_every_page_has_the_elements_of_the_template_whatever_names_hold(name):
    plain = Tags(page_of(examples()["tiny"])).tags
    assert [tag for tag, _ in Tags(page_of(examples()[name])).tags] == [tag for tag, _ in plain]


def test_the_page_refers_to_nothing_outside_itself(mobilenet):
    text = page_of(mobilenet, "rtx3090")
    for tag, attributes in Tags(text).tags:
        assert "src" not in attributes
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "link" or attributes["href"] == "data:,"
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|@font-face", style)
    assert set(re.findall(r"https?://[^\"\s]*", html.bundled())) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("means", ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "fetch("])
def test_no_script_makes_markup_or_code_of_text(means):
    assert means not in html.bundled()


def test_nothing_runs_but_the_script_and_the_style_of_the_page(mobilenet):
    text = page_of(mobilenet)
    (policy,) = (a["content"] for tag, a in Tags(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    style = text.partition("<style>")[2].partition("</style>")[0]
    script = text.partition('<script type="module">')[2].partition("</script>")[0]
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src {html.digest(script)}",
        f"style-src {html.digest(style)}",
        *("img-src data:", "base-uri 'none'", "form-action 'none'"),
    ]


@pytest.mark.parametrize("name", examples())
def test_the_data_of_the_page_is_the_document(name):
    shown = examples()[name]
    assert data_of(page_of(shown)) == json.loads(json.dumps(document(shown, lint(shown))))


def test_names_cannot_end_the_data_and_show_what_is_in_them():
    shown = profile(Named([SCRIPT, MARKUP, BIDI]), (2, 4), name=SCRIPT)
    text = page_of(shown)
    assert SCRIPT not in text
    assert MARKUP not in text
    assert not set("\x1b\u202e\u2066\u2028") & set(text)
    data = data_of(text)
    assert SCRIPT in data["modules"]["path"]
    assert r"abc\u202edef\u2066\x1b[31m\u2028end" in data["modules"]["path"]


@pytest.mark.parametrize("name", examples())
def test_columns_sum_to_the_totals_of_the_network(name):
    shown = examples()[name]
    data = document(shown, lint(shown))
    unused = sum(data["modules"]["unused_params"])
    for cost in data["costs"]:
        column = sum(value or 0 for value in data["amounts"][cost["key"]])
        assert column + unused * (cost["key"] == "params") == cost["total"] == getattr(shown.total, cost["key"])
    lives = list(zip(*(data["tensors"][key] for key in ("first", "last", "bytes")), strict=True))
    alive = [sum(b for first, last, b in lives if first <= at <= last) for at in range(len(shown.ops))]
    assert max(alive, default=0) == peak_activation_bytes(shown.trace)


def test_the_heading_says_what_the_text_report_says(mobilenet):
    data = document(mobilenet, lint(mobilenet))
    assert data["facts"][:-1] == facts(mobilenet)
    assert data["facts"][-1][1] == f"costlab {mobilenet.costlab}, torch {mobilenet.torch}"


def test_modules_come_after_the_one_around_them_even_where_only_operators_know_them(mobilenet):
    for shown in (mobilenet, *examples().values()):
        parents = document(shown, lint(shown))["modules"]["parent"]
        assert parents[0] is None
        assert all(parent < number for number, parent in enumerate(parents) if number)


def test_a_thousand_operators_take_far_less_than_the_file_may(long):
    assert len(long.ops) == 1020
    assert len(page_of(long, "rtx3090").encode()) < 1_000_000


def test_sources_name_the_file_but_not_the_machine(mobilenet):
    data = document(mobilenet, lint(mobilenet))
    (source,) = {data["words"][number] for number in data["modules"]["source"][:1]}
    assert re.fullmatch(r"costlab/zoo/_mobilenet_v2\.py:\d+", source)


def test_scripts_import_what_earlier_ones_export():
    exported: dict[str, set[str]] = {}
    for name in html.SCRIPTS:
        text = html.page_file(name)
        for names, file in re.findall(r'^import \{([^}]*)\} from "\./([^"]+)";$', text, re.M):
            wanted = {each.strip() for each in names.split(",") if each.strip()}
            assert wanted <= exported[file], name
            used = html.IMPORTS.sub("", text)
            assert all(re.search(rf"\b{each}\b", used) for each in wanted), name
        exported[name] = set(re.findall(r"^export (?:function|const) (\w+)", text, re.M))
        exported[name] |= {"root"} if "export const [root]" in text else set()
    assert {path.name for path in (Path(html.__file__).parent / "page").glob("*.js")} == set(html.SCRIPTS)


def test_pages_of_guidelines_become_paragraphs_code_and_tables():
    found = blocks(
        "Do **this**, not `that` or *such*.\nYes.\n\n    a = b\n      c\n\n| x | y |\n| --- | ---: |\n| 1 | 2 |\n"
    )
    words = (
        ["", "Do "],
        ["strong", "this"],
        ["", ", not "],
        ["code", "that"],
        ["", " or "],
        ["em", "such"],
        ["", ". Yes."],
    )
    assert found == [
        {"tag": "p", "spans": list(words)},
        {"tag": "pre", "text": "a = b\n  c"},
        {"tag": "table", "rows": [["x", "y"], ["1", "2"]]},
    ]
    for guideline in GUIDELINES.values():
        assert not any("**" in words for block in blocks(guideline.page) for _, words in block.get("spans", []))


# The command.


def test_the_command_writes_the_page_of_a_saved_profile_without_torch(mobilenet, tmp_path):
    (tmp_path / "profile.json").write_text(mobilenet.to_json())
    code = "import sys; from costlab.cli import run; code = run(sys.argv[1:]); assert 'torch' not in sys.modules"
    words = ["report", "profile.json", "--format", "html", "--device", "rtx3090", "-o", "report.html"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "report.html").read_text() == page_of(mobilenet, "rtx3090")


def test_a_pipe_gets_the_page_and_a_terminal_an_advice(capsys, monkeypatch):
    assert run(["report", "mobilenet_v2", "--format", "html"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["report", "mobilenet_v2", "--format", "html"]) == 2
    assert capsys.readouterr().err == "error: an html report is for a browser: name a file for it with -o report.html\n"


# In a browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, tmp_path) -> Iterator[Callable[..., Any]]:
    """Open the page of a profile. What it logs, throws or asks the network for fails the test in the end."""
    contexts, complaints = [], []

    def open_page(text: str, address: str = "", width: int = 1280, scheme: str = "light", **options: Any) -> Any:
        file = tmp_path / f"report{len(contexts)}.html"
        file.write_text(text)
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
        )
        page.goto(f"{file.as_uri()}{address}")
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def followed(page: Any) -> dict[str, Any]:
    """What each view says it looks at."""
    return {
        "crumbs": " / ".join(page.locator("#crumbs li").all_inner_texts()),
        "tree": page.locator("#tree [aria-selected=true] .name").get_attribute("title"),
        "table": page.locator("#operators .note").inner_text().partition(" in ")[2],
        "memory": page.locator("#memory .span").count() > 0,
        "roofline": page.locator("#roofline .mark.faded").count() > 0,
        "address": page.evaluate("new URLSearchParams(location.hash.slice(1)).get('module') ?? ''"),
    }


def follows(path: str) -> dict[str, Any]:
    """What each view of mobilenet_v2 says when a module is chosen."""
    crumbs = " / ".join(["mobilenet_v2", *(path.split(".") if path else [])])
    return {
        "crumbs": crumbs,
        "tree": path or "mobilenet_v2",
        "table": path,
        "memory": bool(path),
        "roofline": bool(path),
        "address": path,
    }


def in_the_tree(page: Any, path: str) -> Any:
    return page.locator("#tree [role=treeitem]", has=page.get_by_title(path, exact=True))


def click_treemap(page: Any) -> str:
    page.locator("#treemap .branch", has_text="2.conv").first.click(position={"x": 4, "y": 4})
    return "features.2.conv"


def click_tree(page: Any) -> str:
    in_the_tree(page, "features.3").click()
    return "features.3"


def click_words(place: str) -> Callable[[Any], str]:
    """Click on the first path of a module in a view; that of the whole network moves nothing."""

    def click(page: Any) -> str:
        page.evaluate("document.querySelectorAll('#findings details').forEach((part) => { part.open = true; })")
        button = page.locator(f"{place} button", has_not_text="mobilenet_v2").first
        path = button.inner_text().partition("/")[0]
        button.click()
        return path

    return click


def click_roofline(page: Any) -> str:
    page.locator("#roofline .mark").first.hover(force=True)
    path = page.locator(".tip div").first.inner_text().partition("/")[0]
    page.locator("#roofline .mark").first.click(force=True)
    return path


def click_memory(page: Any) -> str:
    picture = page.locator("#memory svg")
    place = {"x": picture.bounding_box()["width"] / 2, "y": 100}
    picture.hover(position=place)
    path = page.locator(".tip div").first.inner_text().partition("/")[0]
    picture.click(position=place)
    return path


@pytest.mark.parametrize(
    "click",
    [
        click_tree,
        click_treemap,
        click_roofline,
        click_memory,
        click_words("#memory .moment"),
        click_words("#memory .alive ul"),
        click_words("#operators tbody"),
        click_words("#findings .places"),
    ],
)
def test_a_click_in_any_view_moves_all_of_them(click, opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"))
    assert followed(page) == follows("")
    path = click(page)
    assert path in {module.path for module in mobilenet.trace.modules if module.path}
    assert followed(page) == follows(path)


def test_the_treemap_zooms_to_the_module_and_its_costs_stand_above(opened, mobilenet):
    page = opened(page_of(mobilenet))
    assert page.locator("#treemap .note").inner_text() == "area: share of mult-adds"
    before = page.locator("#treemap .box").count()
    in_the_tree(page, "features.3").click()
    assert page.locator("#treemap .note").inner_text() == "features.3; area: share of mult-adds"
    assert 0 < page.locator("#treemap .box").count() < before
    row = mobilenet.by_module(depth=2)["features.3"]
    tile = page.locator(".tile", has_text="memory access")
    assert tile.locator(".value").inner_text() == units.short(row.memory_access)
    assert tile.locator(".share").inner_text() == units.percent(row.memory_access / mobilenet.total.memory_access)


def test_crumbs_escape_and_the_way_back_lead_to_where_one_was(opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"), "#module=features.3.conv.0")
    assert followed(page) == follows("features.3.conv.0")
    page.keyboard.press("Escape")
    assert followed(page) == follows("features.3.conv")
    page.locator("#crumbs button", has_text="features").click()
    assert followed(page) == follows("features")
    page.go_back()
    assert followed(page) == follows("features.3.conv")
    page.go_back()
    assert followed(page) == follows("features.3.conv.0")
    page.evaluate("location.hash = ''")
    page.wait_for_function("document.querySelector('#crumbs .here').textContent == 'mobilenet_v2'")
    assert followed(page) == follows("")


def test_an_address_that_names_nothing_is_the_whole_network(opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"), "#module=no.such&cost=beauty")
    assert followed(page)["crumbs"] == "mobilenet_v2"
    assert page.locator("#cost-predicted_seconds").is_checked()


@pytest.mark.parametrize("key", CHOICES)
def test_the_chosen_cost_is_that_of_tree_treemap_and_table(key, opened, mobilenet):
    page = opened(page_of(mobilenet))
    page.locator(f".tile:has(#cost-{key})").click()
    name = page.locator(f".tile:has(#cost-{key}) .name").inner_text()
    total, unit = getattr(mobilenet.total, key), units.unit_of(key)
    assert page.locator("#tree .row .number").first.inner_text() == units.quantity(total, unit)
    assert page.locator("#treemap .note").inner_text() == f"area: share of {name}"
    assert page.locator("#operators tfoot .cost").inner_text() == units.quantity(total, unit)
    assert page.locator("#operators th.cost").get_attribute("aria-sort") == "descending"
    largest = max(getattr(cost, key) for cost in mobilenet.costs if cost)
    assert page.locator("#operators tbody td.cost").first.inner_text() == units.quantity(largest, unit)


def test_headers_sort_by_click_and_by_key_and_keep_the_focus(opened, mobilenet):
    page = opened(page_of(mobilenet))
    header = page.locator("#operators th.params")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    ordered = sorted((op.params for op in mobilenet.ops), reverse=True)
    cells = page.locator("#operators tbody td.params").all_inner_texts()
    assert cells == [units.short(params) for params in ordered[:100]]
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.textContent") == "params"
    page.locator("#operators th.title button").click()
    assert header.get_attribute("aria-sort") == "none"
    names = page.locator("#operators tbody td.title").all_inner_texts()
    assert names == sorted(names, key=lambda name: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", name)])
    page.locator("#operators th.index button").click()
    assert page.locator("#operators tbody td.title").first.inner_text() == mobilenet.ops[0].name


def test_a_slash_leads_to_the_filter_which_takes_every_word_and_escape_empties_it(opened, mobilenet):
    page = opened(page_of(mobilenet))
    page.keyboard.press("/")
    page.keyboard.type("CONV2D features.1")
    kept = [op for op in mobilenet.ops if op.kind == "conv2d" and op.module.startswith("features.1")]
    assert page.locator("#operators .note").inner_text() == f"{len(kept)} of {len(mobilenet.ops)} operators"
    assert page.locator("#operators tbody tr").count() == len(kept)
    assert page.locator("#operators tfoot .params").inner_text() == units.short(sum(op.params for op in kept))
    page.keyboard.press("Escape")
    assert page.locator("#operators .note").inner_text() == f"{len(mobilenet.ops)} of {len(mobilenet.ops)} operators"
    assert page.locator("#filter").input_value() == ""
    assert followed(page)["crumbs"] == "mobilenet_v2"


def test_a_long_table_comes_a_page_at_a_time(opened, long):
    page = opened(page_of(long))
    assert page.locator("#operators tbody tr").count() == 100
    page.get_by_role("button", name="Show 100 of the remaining 920").click()
    assert page.locator("#operators tbody tr").count() == 200
    page.locator("#filter").fill("1x8x6x6 relu")
    assert page.locator("#operators .note").inner_text() == "340 of 1020 operators"
    assert page.locator("#operators tbody tr").count() == 100


def test_an_operator_opens_to_what_else_is_known_of_it(opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"))
    page.locator("#filter").fill("features.0.0/conv2d")
    name = page.locator("#operators tbody .own")
    name.click()
    assert name.get_attribute("aria-expanded") == "true"
    words = page.locator("#operators tr.detail").inner_text()
    for known in ("input 1x3x224x224 float32", "weight 32x3x3x3 float32 parameter", "stride=[2, 2]", "called from"):
        assert known in words
    assert page.locator("#memory .moment").inner_text().endswith("features.0.0/conv2d")
    assert page.locator("#roofline .mark.chosen").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("#operators tr.detail").count() == 0


def test_the_tree_opens_and_closes_by_click(opened, mobilenet):
    page = opened(page_of(mobilenet))
    rows = page.locator("#tree [role=treeitem]")
    before = rows.count()
    block = in_the_tree(page, "features.3")
    assert block.get_attribute("aria-expanded") == "false"
    block.locator(".twist").click()
    assert block.get_attribute("aria-expanded") == "true"
    assert rows.count() == before + 1
    in_the_tree(page, "features").locator(".twist").click()
    assert rows.count() < before
    assert followed(page)["crumbs"] == "mobilenet_v2"


def test_arrow_keys_walk_the_tree(opened, mobilenet):
    page = opened(page_of(mobilenet))
    page.locator("#tree [tabindex='0']").focus()

    def pressed(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        return page.evaluate("document.activeElement.querySelector('.name').title")

    assert pressed("ArrowDown") == "features"
    assert pressed("ArrowDown", "ArrowDown") == "features.1"
    assert pressed("ArrowRight") == "features.1"
    assert pressed("ArrowRight") == "features.1.conv"
    assert pressed("ArrowLeft") == "features.1"
    assert pressed("ArrowLeft", "ArrowLeft") == "features"
    assert pressed("ArrowLeft", "ArrowDown") == "classifier"
    assert pressed("Home") == "mobilenet_v2"
    assert pressed("ArrowUp") == "mobilenet_v2"
    assert pressed("End") == page.locator("#tree .name").last.get_attribute("title")
    assert page.locator("#tree [tabindex='0']").count() == 1
    path = pressed("Enter")
    assert followed(page)["crumbs"] == f"mobilenet_v2 / {path.replace('.', ' / ')}"


def test_arrow_keys_walk_the_memory_timeline(opened, mobilenet):
    page = opened(page_of(mobilenet))
    moment = page.locator("#memory .moment")
    said = {fact.label: fact.value for fact in facts(mobilenet)}
    assert moment.inner_text().startswith(f"{said['peak activation']} live at the peak, at features.2.conv.0")
    page.locator("#memory svg").focus()
    page.keyboard.press("Home")
    assert moment.inner_text().endswith(f"live at {mobilenet.ops[0].name}")
    page.keyboard.press("ArrowRight")
    assert moment.inner_text().endswith(f"live at {mobilenet.ops[1].name}")
    assert page.locator("#memory svg").get_attribute("aria-valuenow") == "1"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#memory svg").get_attribute("aria-valuenow") == "0"


def test_guidelines_show_verdicts_findings_and_why(opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"))
    result = lint(mobilenet, device="rtx3090")
    rules = page.locator("#findings .rule")
    assert rules.count() == sum(not guideline.training for guideline in GUIDELINES.values())
    broken = page.locator("#findings .rule.broken > summary .label").all_inner_texts()
    assert [label.split()[0] for label in broken] == list(result.broken)
    assert page.locator("#findings .rule.broken[open] article").count() > 0
    page.locator("#findings .rule.broken .page > summary").first.click()
    why = page.locator("#findings .rule.broken .page").first
    assert GUIDELINES[result.broken[0]].summary in why.inner_text()
    assert why.locator("table").count() == 1


def test_the_roofline_has_a_point_for_every_operator_that_computes(opened, mobilenet):
    computing = sum(bool(cost and cost.flops + cost.element_wise_ops) for cost in mobilenet.costs)
    page = opened(page_of(mobilenet, "rtx3090"))
    assert page.locator("#roofline h2").inner_text() == "Roofline"
    page.locator("#roofline .mark").first.wait_for()  # drawn once the panel has its size
    assert page.locator("#roofline .mark").count() == computing
    assert "TFLOP/s" in page.locator("#roofline .named").first.text_content()
    without = opened(page_of(mobilenet))
    assert without.locator("#roofline h2").inner_text() == "Arithmetic intensity"
    without.locator("#roofline .mark").first.wait_for()
    assert without.locator("#roofline .mark").count() == computing


@pytest.mark.parametrize("name", examples())
@pytest.mark.parametrize("width", [400, 1280])
def test_every_profile_opens_and_no_page_is_wider_than_its_window(name, width, opened):
    page = opened(page_of(examples()[name], "rtx3090"), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#tree [role=treeitem]").count() >= 1


def test_a_narrow_page_has_one_column_and_still_follows(opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"), width=400)
    lefts = {page.locator(f"#{view}").bounding_box()["x"] for view in ("tree", "treemap", "roofline", "findings")}
    assert len(lefts) == 1
    in_the_tree(page, "features.3").click()
    assert followed(page) == follows("features.3")
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def luminance(colour: str) -> float:
    red, green, blue = (int(n) / 255 for n in re.findall(r"\d+", colour)[:3])
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(page: Any, words: str, ground: str) -> float:
    """Of the colour of words with that behind them (WCAG 2.2)."""
    colours = [
        page.locator(place).first.evaluate(f"node => getComputedStyle(node).{what}")
        for place, what in ((words, "color"), (ground, "backgroundColor"))
    ]
    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark_and_a_button_changes_between_them(scheme, opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"), "#module=features.3", scheme=scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    for _ in range(2):
        for words in ("h2", ".note", "#tree .type", "#crumbs .link", ".rule.broken .verdict", "article .severity"):
            assert contrast(page, words, ".panel") >= 4.5, words
        assert contrast(page, ".tile:has(:checked) .name", ".tile:has(:checked)") >= 4.5
        before = page.evaluate(ground)
        assert (luminance(before) < 0.1) == (scheme == "dark")
        page.locator("#theme").click()
        scheme = "light" if scheme == "dark" else "dark"
        assert page.locator("#theme").inner_text().lower() != scheme
    assert page.evaluate(ground) != before


def test_paper_gets_a_light_page_with_nothing_cut_off(opened, mobilenet):
    page = opened(page_of(mobilenet, "rtx3090"), scheme="dark", width=703)  # A4 less margins
    page.emulate_media(media="print")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.8
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    assert not page.locator("#filter").is_visible()
    assert not page.locator("#theme").is_visible()
    for view in ("tree", "operators"):
        assert page.locator(f"#{view} .body").evaluate("node => node.scrollHeight <= node.clientHeight + 1")


def test_keys_show_where_they_are(opened, mobilenet):
    page = opened(page_of(mobilenet))
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement.closest('.tile') ?? document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
        reached.add(page.evaluate("document.activeElement.closest('[id]').id"))
        if "filter" in reached:
            break
    assert {"skip", "theme", "cost-mult_adds", "findings", "filter"} <= reached


def test_names_that_would_be_markup_are_words_in_every_view(opened):
    shown = profile(Named([SCRIPT, MARKUP, BIDI, HOSTILE.replace(".", "")]), (2, 4), name=SCRIPT)
    page = opened(page_of(shown, "rtx3090"))
    for row in range(1, page.locator("#tree .row").count()):
        page.locator("#tree .row").nth(row).click()
        path = page.locator("#tree [aria-selected=true] .name").get_attribute("title")
        assert page.locator("#crumbs .here").inner_text().strip() in path
        assert page.evaluate("new URLSearchParams(location.hash.slice(1)).get('module')") == path
        assert page.locator("#operators .note").inner_text().endswith(path.strip())
    assert page.title() == f"{SCRIPT} (python) - costlab"
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("img, body b").count() == 0
    assert page.locator("script").count() == 2


def test_the_browser_refuses_scripts_and_requests_that_are_not_of_the_page(browser, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page_of(examples()["tiny"]).replace("</main>", "<script>hacked = 1</script></main>"))
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"
    page.close()


def numbers() -> list[int]:
    random_ones = random.Random(0)
    edges = [n + d for n in (0, 999, 1000, 999_949, 999_950, 999_999, 1_062_500, 1_187_500, 10**6) for d in (0, 1, 2)]
    ties = [odd * 62_500 for odd in range(17, 15_999, 97)]  # lie exactly between two of four digits
    return edges + ties + [random_ones.randrange(10 ** random_ones.randrange(1, 16)) for _ in range(2000)]


def test_numbers_in_the_browser_are_those_of_every_other_report(browser):
    counts = numbers()
    times = [0.0, 1.0, *(n / 10 ** random.Random(n).randrange(3, 19) for n in counts if n)]
    times = [t for t in times if 1e-11 < t < 999 or not t]
    shares = [n / (n + m) for n, m in zip(counts, reversed(counts), strict=True) if n + m] + [
        n / 800 for n in range(801)
    ]
    script = html.EXPORTS.sub("", html.page_file("units.js"))
    page = browser.new_page()
    words = page.evaluate(
        f"([counts, times, shares]) => {{ {script}"
        "const [sizes, short_] = ['B', ''].map((unit) => counts.map((n) => quantity(n, unit)));"
        "return [short_, sizes, times.map(seconds), shares.map(percent)] }",
        [counts, times, shares],
    )
    page.close()
    assert words[0] == [units.short(n) for n in counts]
    assert words[1] == [units.size(n) for n in counts]
    assert words[2] == [units.seconds(t) for t in times]
    assert words[3] == [units.percent(s) for s in shares]
