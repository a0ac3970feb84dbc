"""With a device everything ranks by predicted time; tables sort by every column, and modules nest in a tree."""

from __future__ import annotations

import io
import json

import pytest
from helpers.guideline_networks import network
from rich.console import Console
from torch import nn

import costlab
from costlab.cli import run
from costlab.comparison import compare
from costlab.core.metrics import PREDICTED
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.reports import comparison as comparisons
from costlab.reports import module_tree
from costlab.reports import profile as pages
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


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_a_column_that_was_asked_for_is_never_dropped_or_cut(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    keys = ["input", "output", "kernel", "groups", "ops", "calls", "params", "trainable-params", "mult-adds"]
    keys += ["memory-access", "element-wise-ops", "activations", "read-bytes", "write-bytes"]
    assert run(["report", "zoo:mobilenet_v2", "--columns", ",".join(keys), "--depth", "2"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= width
    profile = network("MobileNet V2")
    for row in table(profile, depth=2).lines:
        words = " ".join(line for line in lines if (row.name or "(root)") in line.split()).split()
        shown = {units.short(row.cost(key.replace("-", "_"))) for key in keys[6:12]} - {"0"}
        assert all(set(number.split()) <= set(words) for number in shown), row.name
    for key in keys:
        assert set(key.split("-")) <= set(out.replace("-", " ").split()), key


def test_trainable_parameters_and_calls_are_columns():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.frozen = nn.Linear(4, 4).requires_grad_(False)
            self.idle = nn.Linear(4, 3).requires_grad_(False)

        def forward(self, x):
            return self.frozen(self.layer(self.layer(x)))

    model = Twice()
    profile = costlab.profile(model, (2, 4))
    assert profile.total.trainable_params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    rows = {row.name: row for row in table(profile, columns=["trainable_params", "calls"]).lines}
    counts = {name: (row.params, row.trainable_params, row.calls) for name, row in rows.items()}
    assert counts == {"layer": (20, 20, 2), "frozen": (20, 0, 1), "idle": (15, 0, None)}
    assert sum(row.trainable_params for row in profile.by_kind().values()) == 20
    assert "20 trainable, 35 frozen" in text_of(profile)
    read = Profile.from_json(profile.to_json())
    assert (read, read.total) == (profile, profile.total)


def text_of(profile: Profile) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(pages.text(profile, table(profile), 100))
    return console.file.getvalue()


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
    compared = compare(base, head, device=DEVICE)
    changes = comparisons.modules_table(compared, None)
    changed = [pair for pair in compared.pairs if pair.change(PREDICTED)]
    groups = comparisons.alike(changed, (PREDICTED, *comparisons.COMPARED))
    assert sorted(pair.name for group in groups for pair in group) == sorted(pair.name for pair in changed)
    sums = {comparisons.group_name(group): abs(sum(p.change(PREDICTED) for p in group)) for group in groups}
    shown = [sums[name] for name in changes.columns[0].cells if name in sums]
    assert len(shown) == len(groups)
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


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *((name, name) for name in ("name", "type", "output", "calls", "flops", "trainable_params", "unused_params")),
        *(("module", "name"), ("trainable", "trainable_params"), ("predicted", PREDICTED), ("memory", "memory_access")),
    ],
)
def test_a_table_is_sorted_by_the_name_of_any_column(name, key):
    profile, _, seconds = timed("MobileNet V2")
    rows = table(profile, sort=name, **seconds)
    assert rows.lines == table(profile, sort=key, **seconds).lines
    values = [WORDS[key](line) if key in WORDS else -(getattr(line, key) or 0) for line in rows.lines]
    assert values == sorted(values)


@pytest.mark.parametrize("name", ["nosuch", "peak", "read_byte"])
def test_a_name_that_means_no_column_is_an_error(name):
    with pytest.raises(CostlabError, match="unknown metric"):
        table(network("MobileNet V2"), sort=name)
