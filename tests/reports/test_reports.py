"""Reports: columns sum to the total, truncation keeps numbers whole, names are text in every format."""

from __future__ import annotations

import csv as csv_module
import io
import itertools
import re

import pytest
from helpers.examples import HOSTILE, NAMES, examples
from helpers.html_page import Page
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console
from torch import nn

from costlab.core.metrics import SORTABLE
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.escaping import markdown_text, spreadsheet, visible
from costlab.reports import csv
from costlab.reports.profile import html, markdown, text
from costlab.reports.profile_table import BY, default_depth, table
from costlab.tracing._profile import profile

# Words.


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.000 k"),
        (1234, "1.234 k"),
        (12345, "12.35 k"),
        (999_949, "999.9 k"),
        (999_950, "1.000 M"),
        (999_999, "1.000 M"),
        (300_774_272, "300.8 M"),
        (17_563_828_224, "17.56 G"),
        (8_800_000_000_000, "8.800 T"),
        (10**30, "1.000 Q"),
        (None, "-"),
    ],
)
def test_counts_have_four_digits_and_a_prefix(count, expected):
    assert units.short(count) == expected


def test_bytes_shapes_and_shares_as_people_read_them():
    assert [units.size(b) for b in (0, 512, 9_633_792, None)] == ["0 B", "512 B", "9.634 MB", "-"]
    assert [units.shape(s) for s in ((1, 3, 224, 224), (5,), (), None)] == ["1x3x224x224", "5", "scalar", "-"]
    assert [units.percent(s) for s in (0.0, 1e-9, 0.0004, 0.0005, 0.338, 1.0, None)] == [
        *("0.0%", "<0.1%", "<0.1%", "0.1%", "33.8%", "100.0%", "-")
    ]
    assert units.both(300_774_272) == "300.8 M (300,774,272)"
    assert units.both(12) == "12"
    assert units.times({"nms": 1, "nonzero": 3}) == "nonzero x3, nms x1"


@pytest.mark.parametrize(("share", "expected"), [(0, ""), (0.5, "██"), (0.53125, "██▏"), (1, "████"), (None, "")])
def test_bars_are_drawn_in_eighths_of_a_cell(share, expected):
    assert units.bar(share, 4) == expected


def test_ascii_bars_are_whole_cells():
    assert [units.bar(share, 4, ascii_only=True) for share in (0, 0.1, 0.13, 0.5, 1)] == ["", "", "#", "##", "####"]


# Rows.


def drawn(profile: Profile, width: int, *, ascii_only: bool = False, **choice: object) -> list[str]:
    """The lines of a report in text."""
    file = io.StringIO()
    rows = table(profile, **choice)  # type: ignore[arg-type]
    Console(file=file, width=width, color_system=None).print(text(profile, rows, width, ascii_only))
    return [line.rstrip() for line in file.getvalue().splitlines()]


CHOICES = [
    {"by": by, "top": top, "sort": sort}
    for by, top, sort in itertools.product(BY, (None, 1, 2, 100), (None, "params", "bytes_accessed"))
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_columns_sum_to_the_total_whatever_the_rows(name, choice):
    shown = examples()[name]
    records = list(csv_module.DictReader(io.StringIO(csv.report(table(shown, **choice)))))
    for key in SORTABLE:
        assert sum(int(record[key] or 0) for record in records) == getattr(shown.total, key)
    assert sum(int(record["unused_params"]) for record in records) == shown.total.unused_params
    assert sum(int(record["uncounted"]) for record in records) == sum(shown.uncounted.values())
    assert sum(int(record["estimated"]) for record in records) == sum(shown.estimated.values())


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_columns_sum_to_the_total_at_every_depth(depth):
    shown = examples()["wasteful"]
    rows = table(shown, depth=depth)
    assert sum(line.params for line in rows.lines) == shown.params == 10 * 4 + 10 + 4 * 4 + 7 + (3 * 3 + 3)
    assert sum(line.mult_adds for line in rows.lines) == 2 * 6 * 4 * 4 + 2 * 6 * 4 * 10
    assert {line.name.count(".") for line in rows.lines} <= set(range(max(depth, 1)))


def test_rows_are_in_the_order_of_execution_or_most_expensive_first():
    tiny = examples()["tiny"]
    assert [line.name for line in table(tiny, "op").lines] == ["conv/conv2d", "act/relu", "mean", "head.1/linear"]
    assert [line.name for line in table(tiny).lines] == ["", "conv", "act", "head.1"]
    assert [line.name for line in table(tiny, "kind").lines][:2] == ["conv2d", "linear"]
    for key in SORTABLE:
        costs = [getattr(line, key) for line in table(tiny, "op", sort=key).lines]
        assert costs == sorted(costs, reverse=True)
    assert table(tiny, "op", sort="memory-access").lines[0].name == "act/relu"


def test_top_keeps_the_most_expensive_and_sums_the_rest():
    rows = table(examples()["tiny"], "op", top=1, sort="params")
    assert [line.name for line in rows.lines] == ["conv/conv2d"]
    assert [(line.name, line.params) for line in rows.rest] == [("3 others", 5 * 8 + 5)]


def test_rows_without_cost_are_folded_and_counted():
    tiny = examples()["tiny"]
    assert [line.name for line in table(tiny).lines] == ["", "conv", "act", "head.1"]
    assert [line.name for line in table(tiny, fold=False).lines] == ["", "conv", "act", "head", "head.0", "head.1"]
    assert "not shown: modules without a cost of their own (2)" in drawn(tiny, 80)
    assert "not shown: free operators (1)" in drawn(tiny, 80, by="op")


@pytest.mark.parametrize("layers", [5, 29, 30, 31, 100])
def test_the_default_depth_is_the_deepest_that_fits_a_screen(layers):
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU())) for _ in range(layers)))
    shown = profile(nn.Sequential(nn.Linear(2, 2), blocks), (1, 2))
    # One row at the first level and those of the blocks: 1 + layers, then 1 + 2 layers, then the same again.
    expected = 1 if 1 + layers > 30 else 2 if 1 + 2 * layers > 30 else 4
    assert default_depth(shown) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"by": "layer"}, "by module, kind or op, got 'layer'"),
        ({"top": 0}, "must be 1 or greater, got 0"),
        ({"depth": -1}, "must be 0 or greater, got -1"),
        ({"by": "kind", "depth": 1}, "got rows by kind"),
        ({"sort": "flop"}, "unknown metric 'flop'"),
    ],
)
def test_rows_that_cannot_be_are_an_error_of_the_user(choice, message):
    with pytest.raises(CostlabError, match=re.escape(message)):
        table(examples()["tiny"], **choice)


# Text.

TINY_IN_60_COLUMNS = """\
tiny (zoo, width=0.5, sizes=[1])
input            x 2x3x16x16 float32
mode             eval, one forward pass
mult-adds        110.7 k (110,672)
FLOPs            221.3 k (1 mult-add = 2 FLOPs)
params           269
memory access    18.23 k elements, 72.92 kB
peak activation  32.77 kB
operators        4 counted, 1 free (views)

                                            memory
module  type    params  mult-adds   share   access
──────────────────────────────────────────────────
(root)  Tiny         0          0    0.0%  4.112 k
conv    Conv2d     224    110.6 k   99.9%  5.856 k
act     ReLU         0          0    0.0%  8.192 k
head.1  Linear      45         80    0.1%       71
──────────────────────────────────────────────────
total              269    110.7 k  100.0%  18.23 k
not shown: modules without a cost of their own (2)"""


def test_a_report_in_60_columns():
    assert "\n".join(drawn(examples()["tiny"], 60)) == TINY_IN_60_COLUMNS


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 50, 60, 70, 80, 100, 120, 200])
@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_wider_than_the_report_and_no_number_is_cut(name, width):
    shown = examples()[name]
    for choice in CHOICES[::5]:
        lines = drawn(shown, width, **choice)
        assert max(map(len, lines)) <= width
        rows = table(shown, **choice)
        body = lines[lines.index("") :]
        for row in (*rows.lines, *rows.rest):
            if row.cost("mult_adds") is not None:
                number = units.short(row.mult_adds)
                assert any(re.search(rf"(?<![\d.]){number}(  |$)", line) for line in body)


def test_columns_give_way_as_the_width_shrinks():
    tiny = examples()["tiny"]
    headings = []
    for width in (100, 66, 56, 45, 40):
        (line,) = [line for line in drawn(tiny, width) if line.startswith("module")]
        headings.append(" ".join(line.split()))
    assert headings == [
        "module type output params mult-adds share access",
        "module type output params mult-adds share access",
        "module type params mult-adds share access",
        "module params mult-adds share access",
        "module mult-adds share access",
    ]
    assert any("█" in line for line in drawn(tiny, 100))
    assert not any("█" in line for line in drawn(tiny, 66))


def test_the_cost_sorted_by_is_shown_at_every_width():
    for key, word in (("params", "params"), ("element_wise_ops", "element-wise"), ("bytes_accessed", "accessed")):
        assert any(word in line for line in drawn(examples()["tiny"], 40, sort=key))


def test_of_long_names_the_end_is_kept():
    deep = nn.Linear(2, 2)
    for _ in range(30):
        deep = nn.Sequential(deep)
    lines = drawn(profile(deep, (1, 2)), 60)
    assert any(re.match(r"…[0.]*0 +Linear", line) or re.match(r"…[0.]*0 +\d", line) for line in lines)
    assert any(line.startswith("~0.0") for line in drawn(profile(deep, (1, 2)), 60, ascii_only=True))


def test_wide_characters_do_not_break_the_columns():
    network = nn.Sequential()
    network.add_module("層" * 20, nn.Linear(2, 2))
    lines = drawn(profile(network, (1, 2)), 60)
    assert max(map(cell_len, lines)) <= 60
    (row,) = [line for line in lines if "層" in line]
    (total,) = [line for line in lines if line.startswith("total")]
    assert cell_len(row) == cell_len(total)


@pytest.mark.parametrize("name", NAMES)
def test_a_report_in_ascii_is_ascii(name):
    assert "\n".join(drawn(examples()[name], 80, ascii_only=True)).isascii()


# Every format says what the totals depend on.


def every_format(shown: Profile) -> dict[str, str]:
    rows = table(shown)
    return {"text": "\n".join(drawn(shown, 200)), "markdown": markdown(shown, rows), "html": html(shown)}


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_an_estimate_is_called_one_with_what_made_it_one(form):
    report = every_format(examples()["guessed"])[form]
    assert "sizes guessed by index x1; 2 operators depend on them" in report
    assert f"about {2 * 6 * 4 * 4}" in report  # every row kept
    assert "guessed by" not in every_format(examples()["tiny"])[form]


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_uncounted_operators_are_reported_prominently(form):
    report = every_format(examples()["hostile"])[form]
    assert "UNCOUNTED" in report
    assert "no cost rule for special_bessel_j0 x1" in report
    assert f"at least {5 * 3 * 4 + 5 * 4 * 4}" in report
    assert "UNCOUNTED" not in every_format(examples()["tiny"])[form]


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_both_conventions_stand_side_by_side(form):
    report = every_format(examples()["tiny"])[form]
    assert "110.7 k (110,672)" in report
    assert "221.3 k (1 mult-add = 2 FLOPs)" in report


def test_csv_counts_estimates_and_leaves_what_is_unknown_empty():
    records = list(csv_module.DictReader(io.StringIO(csv.report(table(examples()["hostile"], "op")))))
    assert [record["mult_adds"] for record in records] == [str(5 * 3 * 4), str(5 * 4 * 4), ""]
    assert [record["uncounted"] for record in records] == ["0", "0", "1"]
    records = list(csv_module.DictReader(io.StringIO(csv.report(table(examples()["guessed"], "kind")))))
    assert {record["kind"]: record["estimated"] for record in records}["index"] == "1"


# Names stay text.


def test_what_is_invisible_becomes_visible():
    assert visible("a\x1b[31m\u202e\r\n\t\x7f\ud800\u200bz") == r"a\x1b[31m\u202e\r\n\t\x7f\ud800\u200bz"
    assert visible("層 é ß 1x1") == "層 é ß 1x1"


def test_a_terminal_gets_names_as_they_are_spelt_and_no_codes():
    report = "\n".join(drawn(examples()["hostile"], 400))
    assert "[red]x[/red]" in report
    assert all(c.isprintable() or c == "\n" for c in report)


def test_no_cell_of_a_spreadsheet_is_a_formula():
    for by in BY:
        rows = list(csv_module.reader(io.StringIO(csv.report(table(examples()["hostile"], by)))))
        assert len({len(row) for row in rows}) == 1
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert spreadsheet("+x") == "'+x"
    assert spreadsheet("\N{FULLWIDTH EQUALS SIGN}x") == "'\N{FULLWIDTH EQUALS SIGN}x"
    assert spreadsheet("conv-1") == "conv-1"


def test_markdown_renders_to_the_names_and_to_nothing_else():
    for name in NAMES:
        shown = examples()[name]
        rows = table(shown)
        rendered = MarkdownIt("commonmark", {"linkify": False}).enable("table").render(markdown(shown, rows))
        page = Page(rendered)
        assert set(page.tags) <= {"h3", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td", "strong", "p"}
        lengths = {len(row) for row in page.rows}
        assert len(lengths) == 1
        body = [row[0] for row in page.rows[1:-1]]
        assert body == [(visible(line.name) or "(root)") + " !" * bool(line.uncounted) for line in rows.lines]


def test_markdown_words_cannot_begin_anything():
    words = "a*b* _c_ [d](e) <f> `g` |h| & ~i~ \\j snake_case"
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"x {markdown_text(words)}")
    assert Page(rendered).text.strip() == f"x {words}"
    assert markdown_text("mobilenet_v2 1x3x224 (a, b) = 50.1%") == "mobilenet_v2 1x3x224 (a, b) = 50.1%"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_gets_a_table_without_script_or_markup_of_names(name):
    page = Page(examples()[name]._repr_html_())
    assert set(page.tags) <= set("div style strong table thead tbody tfoot tr th td br i".split())
    assert set(page.attributes) <= {"class", "style"}
    if name == "hostile":
        assert visible(HOSTILE) in [row[0] for row in page.rows]


def test_a_notebook_shows_the_numbers_of_the_text():
    page = Page(html(examples()["tiny"]))
    assert ["module", "type", "output", "params", "mult-adds", "share", "", "memory access"] in page.rows
    assert ["conv", "Conv2d", "2x8x16x16", "224", "110.6 k", "99.9%", "", "5.856 k"] in page.rows
    assert ["total", "", "", "269", "110.7 k", "100.0%", "", "18.23 k"] in page.rows


TINY_IN_MARKDOWN = """\
| kind | ops | params | mult-adds | share | memory access |
| --- | ---: | ---: | ---: | ---: | ---: |
| `conv2d` | 1 | 224 | 110.6 k | 99.9% | 5.856 k |
| `linear` | 1 | 45 | 80 | 0.1% | 71 |
| `relu` | 1 | 0 | 0 | 0.0% | 8.192 k |
| `mean` | 1 | 0 | 0 | 0.0% | 4.112 k |
| **total** |  | **269** | **110.7 k** | **100.0%** | **18.23 k** |
"""


def test_a_table_in_markdown():
    assert markdown(examples()["tiny"], table(examples()["tiny"], "kind")).endswith(TINY_IN_MARKDOWN)


CONV_IN_CSV = """\
kind,output_shape,ops,mult_adds,element_wise_ops,params,memory_access,read_bytes,write_bytes,activations,\
activation_bytes,param_bytes,bytes_accessed,unused_params,uncounted,estimated
conv2d,,1,110592,0,224,5856,7040,16384,4096,16384,896,23424,0,0,0
relu,,1,0,4096,0,8192,16384,16384,0,16384,0,32768,0,0,0
"""


def test_a_table_in_csv():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    assert csv.report(table(profile(network, (2, 3, 16, 16)), "kind")) == CONV_IN_CSV


def test_a_profile_prints_nothing(capsys):
    shown = profile(nn.ReLU(), (2, 3))
    html(shown)
    shown.to_json()
    assert capsys.readouterr() == ("", "")
