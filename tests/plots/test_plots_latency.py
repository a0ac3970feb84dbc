"""Plots of time: breakdown, roofline, pareto, distribution and predicted-vs-measured."""

from __future__ import annotations

import json

import matplotlib
import pytest
from helpers.examples import HOSTILE, NAMES, examples
from helpers.figures import visible_boxes
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot

import costlab
from costlab import plots
from costlab.cli import run
from costlab.core.pareto import pareto_front
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.devices import find_device
from costlab.models import ModelSpec, profile_of
from costlab.plots._breakdown import HOST, time_by_kind
from costlab.plots._roofline import SMALLEST, roofline_points
from costlab.plots.network_rows import profile_row, read_rows

matplotlib.use("agg")

DEVICE = "rtx3090"
numbers = st.integers(0, 12)


@pytest.fixture(scope="module")
def networks() -> dict[str, Profile]:
    return {
        name: profile_of(ModelSpec(f"zoo:{name}", batch=8))
        for name in ("mobilenet_v2", "shufflenet_v1", "shufflenet_v2")
    }


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def untouched(ax) -> None:
    """No words of a figure touch."""
    boxes = visible_boxes(ax)
    for i, (text, box) in enumerate(boxes):
        for other, place in boxes[:i]:
            assert not box.padded(-1).overlaps(place.padded(-1)), (text, other)


# Breakdown.


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v1"])
def test_convolution_takes_most_mult_adds_and_far_from_all_of_the_time(name, networks):
    network = networks[name]
    prediction = costlab.predict(network, DEVICE, batch=32)  # in smaller batches the device mostly waits for the CPU
    times = time_by_kind(network, prediction)
    assert sum(times.values()) == pytest.approx(prediction.seconds)
    shares = {family: 0.0 for family, _ in times}
    for (group, _), seconds in times.items():
        shares[group] += seconds / prediction.seconds
    named = {group.name: share for group, share in shares.items()}
    assert named["convolution"] + named["depthwise convolution"] < 0.6
    assert named["element-wise"] > 0.1
    untouched(plots.breakdown(network, device=DEVICE))


def test_the_bar_of_time_says_which_device_and_how_long(networks):
    ax = plots.breakdown(networks["mobilenet_v2"], device=DEVICE, amp=True, fusion="bn")
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(labels) == 4
    assert labels[-1].startswith("predicted time\n")
    assert labels[-1].endswith(" ms")
    (subtitle,) = [t.get_text() for t in ax.texts if "predicted for" in t.get_text()]
    assert subtitle.endswith("rtx3090, batch 8, autocast, batch norms folded")


def test_a_network_that_waits_for_the_host_shows_it():
    profile = examples()["tiny"]
    times = time_by_kind(profile, costlab.predict(profile, DEVICE))
    assert max(times, key=times.get)[1] == HOST


# Roofline.


def test_points_have_every_operator_that_computes_and_all_of_its_time(networks):
    for network in networks.values():
        times = costlab.predict(network, DEVICE).by_op
        points = roofline_points(network, times)
        computing = [
            (op, cost)
            for op, cost in zip(network.ops, network.costs, strict=True)
            if cost.flops + cost.element_wise_ops
        ]
        assert sum(p.seconds for p in points) == pytest.approx(sum(times[op.name] for op, _ in computing))
        assert sum(p.operations for p in points) == sum(cost.flops + cost.element_wise_ops for _, cost in computing)
        assert [p.seconds for p in points] == sorted((p.seconds for p in points), reverse=True)


def test_repeated_blocks_are_one_point(networks):
    names = [
        p.name
        for p in roofline_points(networks["mobilenet_v2"], costlab.predict(networks["mobilenet_v2"], DEVICE).by_op)
    ]
    assert len(names) < len(networks["mobilenet_v2"].ops) / 2
    assert any(name.endswith("relu6 x8") for name in names)


def test_points_stand_where_their_arithmetic_and_time_put_them():
    profile = examples()["tiny"]
    times = costlab.predict(profile, DEVICE).by_op
    (conv,) = [p for p in roofline_points(profile, times) if p.name == "conv conv2d"]
    mult_adds = 2 * 8 * 16 * 16 * 3 * 3 * 3
    traffic = 4 * (2 * 3 * 16 * 16 + 2 * 8 * 16 * 16 + 8 * 3 * 3 * 3 + 8)
    assert conv.intensity == pytest.approx(2 * mult_adds / traffic)
    assert conv.speed == pytest.approx(2 * mult_adds / times["conv/conv2d"])


def test_areas_are_in_proportion_to_time(networks):
    ax = plots.roofline(networks["mobilenet_v2"], DEVICE)
    (scatter,) = ax.collections
    times = costlab.predict(networks["mobilenet_v2"], DEVICE)
    points = roofline_points(networks["mobilenet_v2"], times.by_op)
    areas = scatter.get_sizes()
    share = (areas[0] - areas[5]) / ((points[0].seconds - points[5].seconds) / times.seconds)
    assert areas[-1] >= SMALLEST
    assert share == pytest.approx((areas[0] - SMALLEST) / (points[0].seconds / times.seconds))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rtx3090", "a100-40gb", "i9-10940x", "gtx1080ti"])
def test_ceilings_are_those_of_the_device(name, networks):
    device = find_device(name)
    ax = plots.roofline(networks["mobilenet_v2"], name)
    levels = {line.get_ydata()[0] for line in ax.lines if len({*line.get_ydata()}) == 1}
    assert levels == {device.peak_flops(dtype) for dtype in ("float32", "tfloat32", "bfloat16", "float16")}
    (foot,) = [t.get_text() for t in ax.texts if "ridge point" in t.get_text()]
    assert f"{device.ridge_point('float32'):.1f} FLOP/byte" in foot
    told = " ".join(t.get_text() for t in ax.texts)
    for dtype in ("float32", "tfloat32", "bfloat16", "float16"):
        units = dtype in device.vector_flops or dtype in device.matrix_flops
        assert (f" {dtype}" in told) is units
    untouched(ax)


def test_half_precision_has_its_own_ridge_point():
    ax = plots.roofline(profile_of(ModelSpec("zoo:shufflenet_v2", dtype="float16")), DEVICE)
    (foot,) = [t.get_text() for t in ax.texts if "ridge point" in t.get_text()]
    assert f"{find_device(DEVICE).ridge_point('float16'):.1f}" in foot


# Pareto.


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30), st.booleans(), st.booleans())
def test_the_front_is_exactly_the_points_that_no_other_dominates(points, larger_x, larger_y):
    def no_worse(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return (a[0] >= b[0] if larger_x else a[0] <= b[0]) and (a[1] >= b[1] if larger_y else a[1] <= b[1])

    dominated = {i for i, b in enumerate(points) for a in points if a != b and no_worse(a, b)}
    assert sorted(pareto_front(points, larger_x, larger_y)) == [i for i in range(len(points)) if i not in dominated]


def test_networks_stand_at_their_costs(networks):
    ax = plots.pareto(list(networks.values()), x="params", y="predicted_seconds", device=DEVICE)
    found = {tuple(offset) for scatter in ax.collections for offset in scatter.get_offsets().tolist()}
    assert found == {(n.params, costlab.predict(n, DEVICE).seconds) for n in networks.values()}
    assert {"mobilenet_v2", "shufflenet_v1", "shufflenet_v2"} <= {t.get_text() for t in ax.texts}
    assert ax.get_xlabel() == "params (less is better)"
    assert ax.get_ylabel() == "predicted time (less is better)"
    untouched(ax)


def test_one_profile_and_a_data_frame_are_drawn(networks):
    pandas = pytest.importorskip("pandas")
    one = next(iter(networks.values()))
    frame = pandas.DataFrame([{"name": "a", "params": 5, "top1": 70}, {"name": "b", "params": 7, "top1": None}])
    for drawn, count in ((one, 1), ([one, one], 2), (frame, 2)):
        for ax in (plots.pareto(drawn, "params", "params"), plots.distribution(drawn, "params")):
            assert ax.get_title(loc="left") == f"{count} network{'s' * (count > 1)}"
    assert plots.pareto(frame, "params", "top1").get_title(loc="left") == "1 network"


def test_rows_without_a_number_are_left_out_and_counted():
    rows = [{"name": "a", "mult_adds": 5, "top1": 70}, {"name": "b", "mult_adds": None, "top1": 71}]
    ax = plots.pareto([*rows, {"name": "c", "mult_adds": 7, "top1": ""}], y="top1", larger=["top1"])
    assert ax.get_title(loc="left") == "1 network"
    assert any("2 without these numbers left out" in t.get_text() for t in ax.texts)


def test_columns_that_no_row_has_both_of_cannot_be_drawn():
    with pytest.raises(CostlabError, match="no row has numbers in both 'mult_adds' and 'top1'"):
        plots.pareto([{"mult_adds": 5}, {"top1": 70}], y="top1")


def test_many_networks_have_names_at_the_front_only():
    rows = [{"name": f"n{i}", "mult_adds": 10**6 * (1 + i), "top1": (i * 7919) % 400 / 10} for i in range(400)]
    ax = plots.pareto(rows, y="top1", larger=["top1"])
    front = {rows[i]["name"] for i in pareto_front([(r["mult_adds"], r["top1"]) for r in rows], False, True)}
    assert 0 < len({t.get_text() for t in ax.texts} & {r["name"] for r in rows}) <= len(front)
    assert {t.get_text() for t in ax.texts if t.get_text().startswith("n")} <= front
    untouched(ax)


def test_arguments_tell_networks_of_one_name_apart():
    assert profile_row(examples()["tiny"])["name"] == "tiny width=0.5 sizes=[1]"


# Predicted vs measured.


def test_errors_are_those_of_the_rows():
    rows = [
        {"name": n, "predicted_seconds": p, "measured_seconds": 0.01}
        for n, p in zip("abc", (0.009, 0.011, 0.02), strict=True)
    ]
    ax = plots.predicted_vs_measured(rows)
    (told,) = [t.get_text() for t in ax.texts if "median" in t.get_text()]
    assert told == "median error 10.0%, 66.7% within 20.0%"
    assert {"a", "b", "c"} <= {t.get_text() for t in ax.texts}
    assert ax.get_xlim() == ax.get_ylim()


def test_hundreds_of_times_keep_their_words_apart():
    rows = [
        {
            "name": f"network {i}",
            "predicted_seconds": 1e-4 * 1.03**i * (1 + (i * 37 % 60) / 100),
            "measured_seconds": 1e-4 * 1.03**i,
        }
        for i in range(300)
    ]
    ax = plots.predicted_vs_measured(rows)
    untouched(ax)
    worst = sorted(range(300), key=lambda i: -(i * 37 % 60))[:24]
    named = {t.get_text() for t in ax.texts if t.get_text().startswith("network")}
    assert len(named) > 10
    assert named <= {f"network {i}" for i in worst}


@pytest.mark.parametrize("wrong", [None, 0, -1, "soon", float("nan"), True])
def test_a_time_that_is_none_is_named(wrong):
    rows = [{"name": "good", "predicted_seconds": 1, "measured_seconds": 1}]
    with pytest.raises(CostlabError, match=r"row 2 \(bad\) needs"):
        plots.predicted_vs_measured([*rows, {"name": "bad", "predicted_seconds": wrong, "measured_seconds": 1}])


# Tables.


TABLES = {
    "t.csv": "\ufeffname,mult_adds,top1\na,5,70.5\nb,,71\n",
    "t.jsonl": '{"name": "a", "mult_adds": 5, "top1": 70.5}\n\n{"name": "b", "top1": 71}\n',
    "t.json": '[{"name": "a", "mult_adds": 5, "top1": 70.5}, {"name": "b", "top1": 71}]',
}


@pytest.mark.parametrize("name", TABLES)
def test_every_kind_of_table_draws_the_same(name, tmp_path):
    path = tmp_path / name
    path.write_text(TABLES[name])
    ax = plots.pareto(read_rows(path), y="top1", larger=["top1"])
    assert [s.get_offsets().tolist() for s in ax.collections] == [[], [[5, 70.5]]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "has no rows"),
        ("t.csv", "a,b\n1,2,3\n", "more cells than the first line"),
        ("t.csv", 'a\n"x', "is not valid"),
        ("t.jsonl", '{"a": 1}\n[2]\n', "expected a list of objects"),
        ("t.jsonl", "{\n", "is not valid"),
        ("t.json", '{"a": 1}', "expected a list of objects"),
        ("t.json", '[{"a": NaN}]', "is not valid"),
        ("t.json", "[" * 100_000, "is not valid"),
        ("t.txt", "x", "use .csv, .json, .jsonl or .parquet"),
        ("t.csv", None, "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(name, text, message, tmp_path):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(CostlabError, match=message):
        read_rows(path)


def test_a_column_that_is_not_there_names_those_that_are():
    with pytest.raises(CostlabError, match="no numbers in column 'top5'; choose one of mult_adds, top1"):
        plots.pareto([{"name": "a", "mult_adds": 5, "top1": 70}], y="top5")


# The command.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "tiny.json").write_text(examples()["tiny"].to_json())
    (folder / "hostile.json").write_text(examples()["hostile"].to_json())
    rows = [{"name": HOSTILE[:20], "predicted_seconds": 0.001, "measured_seconds": 0.002, "top1": 70}]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "roofline tiny.json --device rtx3090",
        "roofline tiny.json --device i9-10940x --fusion pointwise --channels-last",
        "breakdown tiny.json --device rtx3090 --amp",
        "pareto tiny.json hostile.json",
        "pareto tiny.json hostile.json --device rtx3090 -x params -y predicted_seconds",
        "pareto rows.jsonl -x measured_seconds -y top1 --larger top1",
        "predicted-vs-measured rows.jsonl",
    ],
)
def test_commands_write_pictures(words, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for suffix in (".png", ".svg"):
        assert run(["plot", *words.split(), "-o", f"out{suffix}"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("roofline tiny.json", "roofline needs --device"),
        ("roofline tiny.json --device rtx", "did you mean 'rtx"),
        ("roofline tiny.json --device rtx3090 --amp", "--amp does not go with roofline"),
        ("breakdown tiny.json --amp", "name a --device"),
        ("memory tiny.json --device rtx3090", "--device does not go with memory"),
        ("memory tiny.json -x params", "-x does not go with memory"),
        ("memory tiny.json hostile.json", "memory takes one MODEL, got 2"),
        ("pareto tiny.json -y top1", "no numbers in column 'top1'; choose one of mult_adds"),
        ("predicted-vs-measured rows.jsonl rows.jsonl", "takes one MODEL"),
        ("predicted-vs-measured tiny.json", "is not a table"),
        ("pareto tiny.json --larger top1", "larger='top1' is neither x"),
        ("pareto rows.jsonl -x top1 -y top1 --batch 2", "--batch needs a MODEL"),
        ("predicted-vs-measured rows.jsonl --input 1,3,8,8", "--input needs a MODEL"),
        ("predicted-vs-measured rows.jsonl --device rtx3090", "--device does not go with predicted-vs-measured"),
        ("pareto missing.csv", "missing.csv cannot be read"),
    ],
)
def test_wrong_usage_is_one_line(words, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run(["plot", *words.split(), "-o", "never.png"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not (folder / "never.png").exists()


# In notebooks.


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_results_without_script_or_markup_of_names(name, capsys):
    from helpers.html_page import Page

    profile = examples()[name]
    results = [costlab.lint(profile), costlab.compare(examples()["tiny"], profile), costlab.predict(profile, DEVICE)]
    for result in [*results, costlab.lint(profile, device=DEVICE), costlab.compare(profile, profile, device=DEVICE)]:
        page = Page(result._repr_html_())
        assert set(page.tags) <= set("div style strong table thead tbody tr th td br".split())
        assert set(page.attributes) <= {"class"}
        assert all(c.isprintable() or c in "\n" for c in page.text)
    assert capsys.readouterr() == ("", "")


def test_what_has_a_page_of_its_own_is_short_in_words(networks):
    network = networks["mobilenet_v2"]
    linted, predicted = costlab.lint(network), costlab.predict(network, DEVICE)
    for result in (network, predicted, linted, costlab.compare(network, network)):
        assert repr(result).startswith(type(result).__name__)
        assert len(repr(result)) < 2000


def test_a_notebook_shows_the_verdicts_and_the_most_expensive_findings(networks):
    from helpers.html_page import Page

    result = costlab.lint(networks["mobilenet_v2"])
    rows = Page(result._repr_html_()).rows
    told = {row[0][:2]: row[1] for row in rows if len(row) == 6 and row[0][0] in "GX"}
    assert {rule for rule, verdict in told.items() if verdict == "BROKEN"} == set(result.broken)
    assert [row for row in rows if row[0] == "warning"]
    shown = sum(int(row[2].partition("(")[2].partition(" ")[0] or 1) for row in rows if row[0] in ("warning", "note"))
    (rest,) = [int(row[2].split()[0]) for row in rows if row[2].endswith(" not shown")]
    assert shown + rest == len(result.findings)


def test_a_notebook_shows_all_of_the_predicted_time(networks):
    from helpers.html_page import Page

    prediction = costlab.predict(networks["mobilenet_v2"], DEVICE)
    rows = [row for row in Page(prediction._repr_html_()).rows if len(row) == 4][1:]
    assert rows[0][0] == max(prediction.by_op, key=prediction.by_op.get)
    shares = sum(float(row[2].strip("%")) for row in rows)
    assert shares == pytest.approx(100 * (1 - prediction.overhead_seconds / prediction.seconds), abs=1.5)
