"""With a device everything ranks by predicted time; tables sort by every column, and modules nest in a tree."""

from __future__ import annotations

import json

import pytest
from helpers.guideline_networks import network

import costlab
from costlab.cli import run
from costlab.comparison import compare
from costlab.core.metrics import PREDICTED
from costlab.errors import CostlabError
from costlab.reports import comparison as comparisons
from costlab.reports import module_tree
from costlab.reports.html_data import document
from costlab.reports.profile_table import WORDS, default_depth, table

DEVICE = "raspberry-pi-5"


def timed(name: str):
    profile = network(name)
    prediction = costlab.predict(profile, DEVICE)
    return profile, prediction, {"seconds": prediction.by_op, "predicted_seconds": prediction.seconds}


@pytest.mark.parametrize("by", ["module", "kind", "op"])
@pytest.mark.parametrize("name", ["MobileNet V2", "ResNet-50", "Swin-T"])
def test_rows_rank_by_predicted_time_if_it_is_known(name, by):
    profile, prediction, seconds = timed(name)
    shown = table(profile, by, **seconds)
    times = [row.predicted_seconds for row in shown.lines]
    assert times == sorted(times, reverse=True)
    assert shown.key == PREDICTED
    kept = table(profile, by, top=5, **seconds)
    assert [row.name for row in kept.lines] == [row.name for row in shown.lines[:5]]
    everything = sum(row.predicted_seconds or 0 for row in (*kept.lines, *kept.rest))
    assert everything == pytest.approx(prediction.seconds - prediction.overhead_seconds)


def test_without_a_device_rows_keep_their_order():
    profile = network("MobileNet V2")
    names = [row.name for row in table(profile).lines]
    assert names == [name for name in profile.by_module() if name in names]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("by", ["module", "kind", "op"])
def test_tables_sort_by_every_column(word, by):
    profile = network("ShuffleNet V1, 3 groups")
    rows = table(profile, by, sort=word).lines
    values = [WORDS[word](row) for row in rows]
    assert values == sorted(values)
    assert {row.name for row in rows} == {row.name for row in table(profile, by).lines}
    assert [row.name for row in table(profile, by, sort=word, top=3).lines] == [row.name for row in rows[:3]]


def test_columns_are_shown_as_asked(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    columns = "type,input,output,kernel,groups,ops,mult-adds"
    assert run(["report", "zoo:mobilenet_v2", "--by", "op", "--columns", columns, "--top", "3"]) == 0
    out = capsys.readouterr().out
    head = next(line for line in out.splitlines() if line.startswith("op "))
    assert head.split()[1:8] == ["type", "input", "output", "kernel", "groups", "ops", "mult-adds"]
    assert "3x3" in out or "1x1" in out
    assert run(["report", "zoo:mobilenet_v2", "--columns", "inptu"]) == 2
    assert "input" in capsys.readouterr().err


def test_an_unknown_column_is_an_error():
    with pytest.raises(CostlabError, match="needs a device"):
        table(network("MobileNet V2"), columns=["predicted_seconds"])


# The tree.


@pytest.mark.parametrize("name", ["MobileNet V2", "ResNet-50", "NASNet-A Large", "ViT-B/16", "GoogLeNet"])
def test_the_tree_sums_to_the_network_and_folds_only_equal_modules(name):
    profile, prediction, _ = timed(name)
    root = module_tree.tree_of(profile, prediction.by_op)
    total = root.cost
    assert (total.mult_adds, total.params) == (profile.total.mult_adds, profile.total.params)
    assert total.memory_access == profile.total.memory_access
    assert root.seconds == pytest.approx(sum(prediction.by_op.values()))
    for line in module_tree.tree_lines(root):
        assert len({(node.type, node.cost) for node in line.nodes}) == 1

    def added(node) -> int:
        below = list(module_tree.tree_lines(node, 0, 1))
        return node.own.mult_adds + sum(len(line.nodes) * line.nodes[0].cost.mult_adds for line in below)

    assert added(root) == total.mult_adds


def test_repeated_blocks_are_one_line(capsys):
    assert run(["report", "torchvision:resnet50", "--tree", "--depth", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:4] == ["{1-5}", "Bottleneck", "x", "5"] for line in lines)
    assert run(["report", "torchvision:resnet50", "--tree", "--by", "kind"]) == 2


# Other views.


def test_a_comparison_ranks_modules_by_the_change_of_time():
    base, head = network("MobileNet V2"), network("MobileNet V1")
    changes = comparisons.modules_table(compare(base, head, device=DEVICE), None)
    pairs = {comparisons.module_name(p): abs(p.change(PREDICTED)) for p in compare(base, head, device=DEVICE).pairs}
    shown = [pairs[name] for name in changes.columns[0].cells]
    assert shown == sorted(shown, reverse=True)


def test_the_page_opens_on_time_and_its_guidelines_are_in_order_of_price():
    profile, prediction, seconds = timed("MobileNet V2")
    data = document(profile, costlab.lint(profile, device=DEVICE), prediction, None)
    assert data["costs"][0]["key"] == PREDICTED
    assert json.dumps(data)
    most, bound, first = data["summary"]
    rows = table(profile, depth=default_depth(profile), **seconds).lines[:5]
    assert [name for name, _ in most["modules"]] == [row.name for row in rows]
    assert "memory-bound" in bound["lines"][1]
    assert first["lines"][0].startswith("1. ")
    labels = [rule["label"].split()[0] for rule in data["lint"]["rules"]]
    assert labels.index("X3") < labels.index("G2")  # it saves most
