"""Choosing networks: budgets, accuracies, the frontier, the cache, and tables of the user's."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import costlab
from costlab.choosing._choose import frontier
from costlab.choosing.catalogue import published
from costlab.choosing.margins import FITTED, UNSEEN, factor_of
from costlab.choosing.result import Network
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig

TABLE = """model,image_size,top1,top5
resnet18.a1_in1k,288,73.2,91.0
mobilenetv3_small_100.lamb_in1k,224,67.7,
torchvision:mobilenet_v2,,71.9,90.3
vit_tiny_patch16_224.augreg_in21k_ft_in1k,160,75.5,92.8
nonsense_net,224,50,
"""


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A table of networks, and a cache of its own for the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        path = tmp_path_factory.mktemp("table") / "nets.csv"
        path.write_text(TABLE)
        yield path


def chosen(cached, *budgets, **changes):
    return costlab.choose(**{"device": "rtx4090", "budgets": budgets, "table": cached, **changes})


@pytest.mark.slow
def test_costs_are_those_of_the_network_at_its_evaluation_size(cached):
    choice = chosen(cached, batch=4, amp=True)
    by_name = {n.model: n for n in choice.networks}
    for target, size, options in (
        ("timm:resnet18", 288, {}),
        ("torchvision:mobilenet_v2", 224, {}),
        ("timm:vit_tiny_patch16_224", 160, {"img_size": 160}),
    ):
        model, _ = costlab.load(target, **options)
        profile = costlab.profile(model, (1, 3, size, size))
        network = next(n for name, n in by_name.items() if name.startswith(target.removeprefix("timm:")))
        assert (network.mult_adds, network.params) == (profile.mult_adds, profile.params)
        assert network.peak_activation_bytes == profile.total.peak_activation_bytes
        expected = costlab.predict(profile, "rtx4090", batch=4, amp=True).seconds
        assert network.predicted_seconds == pytest.approx(expected, rel=1e-9)
    assert list(choice.failed) == ["nonsense_net"]


def test_a_first_question_traces_what_its_filter_leaves(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []
    found = costlab.choose(device="t4", filter="mobilenetv3_small_05*", progress=lambda *counts: asked.append(counts))
    assert [n.model for n in found.networks] == ["mobilenetv3_small_050.lamb_in1k"]
    assert asked == [(0, 1), (1, 1)]


@pytest.mark.slow
def test_a_second_question_needs_neither_torch_nor_a_trace(cached, monkeypatch):
    chosen(cached)
    code = f"""
import os, sys, costlab
os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # as the command line
for ways in ({{}}, dict(batch=64, amp=True), dict(device="rtx3090"), dict(fusion="pointwise"),
             dict(device="h100", amp=True), dict(device="raspberry-pi-5"), dict(device="i9-10940x", amp=True)):
    asked = []
    costlab.choose(**{{"device": "rtx4090", "table": {str(cached)!r}, **ways}}, progress=lambda *n: asked.append(n))
    assert asked == [], ways
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_budgets_are_kept_and_the_best_comes_first(cached):
    every = chosen(cached).networks
    assert [n.top1 for n in every] == sorted((n.top1 for n in every), reverse=True)
    inside = chosen(cached, "params<=6M", "mult_adds<=1G")
    assert {n.model for n in inside.networks} == {
        n.model for n in every if n.params <= 6_000_000 and n.mult_adds <= 10**9
    }
    assert chosen(cached, sort="params").networks[0].params == min(n.params for n in every)
    assert {n.model for n in chosen(cached, filter="*mobilenet*").networks} == {
        n.model for n in every if "mobilenet" in n.model
    }


def test_a_budget_of_time_leaves_a_margin(cached):
    every = chosen(cached).networks
    slowest = max(every, key=lambda n: n.predicted_seconds)
    limit = f"latency<={slowest.predicted_seconds * 1e9 + 1:.0f}ns"
    assert slowest in chosen(cached, limit, margin=0.5).networks
    assert slowest not in chosen(cached, limit, margin=0.9).networks
    config = ExecutionConfig(find_device("rtx4090"))
    assert factor_of(0.5, config) == pytest.approx(1)
    assert 1 < factor_of(0.8, config) < factor_of(0.95, config)


def test_margins_are_those_of_the_published_errors():
    def share(percents):
        return float(percents.rstrip("%")) / 100

    page = (Path(__file__).parents[2] / "docs/latency.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    fitting = {row[0]: (share(row[3]), share(row[4])) for row in rows if len(row) > 5 and row[1] == "fitting"}
    titles = {("rtx3090", "eager"): "RTX 3090, eager, autocast", ("rtx4090", "eager"): "RTX 4090, eager, autocast"}
    titles[("rtx4090", "compiled")] = "RTX 4090, compiled, autocast"
    titles[("i9-10940x", "compiled")] = "i9-10940X, compiled, float32"
    assert FITTED.keys() == titles.keys()
    for key, title in titles.items():
        assert fitting[title] == pytest.approx(FITTED[key], abs=0.01)
    unseen = page[page.index("<!-- unseen -->") : page.index("<!-- /unseen -->")]
    others = [(row[0], *row[2:4]) for row in rows if len(row) == 5 and row[0] in unseen and row[3].endswith("%")]
    others += [(row[0], *row[3:5]) for row in rows if len(row) > 5 and row[1] == "unseen"]
    for mode, expected in UNSEEN.items():
        pairs = [(share(middle), share(high)) for title, middle, high in others if f", {mode}," in title]
        assert [statistics.median(column) for column in zip(*pairs, strict=True)] == pytest.approx(expected, abs=0.02)


def test_half_of_the_errors_are_within_the_median_and_a_tenth_beyond_the_percentile():
    config = ExecutionConfig(find_device("rtx3090"))
    middle, high = FITTED["rtx3090", "eager"]
    assert factor_of(0.75, config) == pytest.approx(1 + middle)  # a quarter is slower by more, a quarter faster
    assert factor_of(0.95, config) == pytest.approx(1 + high)
    factors = [factor_of(0.5 + n / 100, config) for n in range(50)]
    assert factors == sorted(factors)


def test_a_budget_that_nobody_meets_names_the_nearest(cached, capsys):
    choice = chosen(cached, "params<=1k")
    assert choice.networks == ()
    assert choice.nearest.params == min(n.params for n in choice.considered)
    assert run(["choose", "--device", "rtx4090", "--from", str(cached), "--budget", "params<=1k"]) == 0
    assert "comes nearest" in capsys.readouterr().out


def test_no_network_of_the_frontier_is_beaten():
    def network(name, top1, seconds):
        return Network(name, 224, top1, None, seconds, 1, 1, 1)

    nets = [
        network("a", 70, 1.0),
        network("b", 75, 2.0),
        network("c", 74, 3.0),
        network("d", 80, 3.0),
        network("e", 75, 2.5),
    ]
    assert [n.model for n in frontier(nets)] == ["a", "b", "d"]
    for mine in frontier(nets):
        assert not any(n.top1 >= mine.top1 and n.predicted_seconds < mine.predicted_seconds for n in nets)


def test_the_published_accuracies_are_complete():
    networks = published()
    assert len(networks) == 1556
    assert len({(n.model, n.image_size) for n in networks}) == len(networks)
    assert all(20 < n.top1 < 95 and n.top1 <= n.top5 for n in networks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,top1\nx,1\n", "has no column 'model'"),
        ("model,top1\n", "has no rows"),
        ("", "has no column"),
        ("model,top1\nresnet18,high\n", "line 2: top1, top5 and image_size are numbers"),
        ("model,top1\nresnet18,nan\n", "line 2: accuracies are percents"),
        ("model,top1\nresnet18,-1\n", "line 2: accuracies are percents"),
        ("model,top1\n,71\n", "line 2: it does not have a model"),
        ("model,top1\nresnet18,71,3\n", "line 2: it does not have a model"),
        ("model,top1,image_size\nresnet18,71,100000\n", "line 2: image_size"),
        ('model,top1\n"resnet18,71\n', "line"),
    ],
)
def test_a_broken_table_is_one_line(content, message, tmp_path):
    path = tmp_path / "nets.csv"
    path.write_text(content)
    with pytest.raises(CostlabError, match=message) as caught:
        costlab.choose(device="rtx4090", table=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "rtx4091"}, "no device 'rtx4091'"),
        ({"budgets": ["latency"]}, "'latency': expected one of"),
        ({"budgets": ["top1>=80"]}, "'top1>=80': budgets are on latency, mult_adds, params or peak_activation_bytes"),
        ({"budgets": ["beauty<=1"]}, "'beauty<=1': budgets are on latency, mult_adds, params or"),
        ({"budgets": ["latency<=5 MB"]}, "s, ms, us or ns"),
        ({"budgets": ["params<=+1%"]}, "a change needs a base"),
        ({"sort": "beauty"}, "unknown sort 'beauty'"),
        ({"margin": 1.0}, "margin must be from 0.5 to 0.99"),
        ({"filter": "xyz*"}, "no network matches 'xyz*'"),
        ({"table": "missing.csv"}, "cannot be read"),
        ({"batch": 0}, "batch must be a positive integer"),
    ],
)
def test_bad_arguments_are_one_line(changes, message, cached):
    with pytest.raises(CostlabError) as caught:
        costlab.choose(**{"device": "rtx4090", "table": cached, **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_that_cannot_be_written_is_an_error_before_anything_is_traced(capsys):
    for name, message in (("plot.xyz", "its name must end in .png, .svg, .pdf"), ("none/plot.svg", "does not exist")):
        assert run(["choose", "--device", "rtx4090", "--plot", name]) == 2
        assert message in capsys.readouterr().err


def test_every_format_shows_the_same_networks(cached, capsys, tmp_path):
    def shown(*options):
        assert run(["choose", "--device", "rtx4090", "--from", str(cached), *options]) == 0
        return capsys.readouterr().out

    data = json.loads(shown("--format", "json", "--top", "2"))
    assert data["schema_version"] == 1
    assert [n["model"] for n in data["networks"]] == [n.model for n in chosen(cached).networks[:2]]
    assert data["frontier"] == [n.model for n in chosen(cached).frontier]
    assert len(shown("--format", "csv").splitlines()) == 5
    assert "| `resnet18.a1_in1k` |" in shown("--format", "markdown")
    assert "4 of 4 networks on rtx4090" in shown("--plot", str(tmp_path / "front.svg"))
    assert (tmp_path / "front.svg").stat().st_size > 1000
    assert "4 of 4 networks" in chosen(cached)._repr_html_()
