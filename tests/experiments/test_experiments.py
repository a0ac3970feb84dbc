"""The paper's experiments: its figures, the networks of its rows, fair rounds, and the conclusions."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import prod, sqrt
from pathlib import Path

import pytest
import torch
from generate import experiment_pages
from hypothesis import given
from hypothesis import strategies as st

import costlab
from costlab.cli import run
from costlab.core.correlation import rank_correlation
from costlab.errors import CostlabError
from costlab.experiments import pictures, report, running
from costlab.experiments import savings as experiment_savings
from costlab.experiments.designs import EXPERIMENTS, WIDTHS, rows_of, speeds
from costlab.experiments.networks import build
from costlab.experiments.results import Cell, Record, read_record
from costlab.experiments.running import in_rounds, run_experiment
from costlab.experiments.savings import savings_of
from costlab.latency.device import Device
from costlab.measurement.result import Timing

GUIDELINES = ("g1", "g2", "g3", "g4")
PLACES = [(name, widths) for name in EXPERIMENTS for widths in WIDTHS]


def made(name: str, seconds: dict[str, float] | None = None, predicted: bool = False, **changes: object) -> Record:
    """A record of a machine on which a network takes 1 ns a mult-add, or what `seconds` says of its row."""
    cells = []
    for subject in EXPERIMENTS[name].subjects("arm"):
        mult_adds, memory_access = counted(subject)
        taken = (seconds or {}).get(subject.row, mult_adds * 1e-9)
        cells.append(
            Cell(
                row=subject.row,
                column=subject.column,
                network=subject.network,
                arguments=subject.arguments,
                input=(1, *subject.shape),
                mult_adds=mult_adds,
                params=1,
                memory_access=memory_access,
                measured=Timing((taken, taken * 1.02, taken * 0.98), 2),
                predicted_seconds=taken * 1.5 if predicted else None,
                paper=subject.paper,
            )
        )
    given = {
        "name": name,
        "date": "2026-01-02",
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "widths": "arm",
        "predicted_for": "i9-10940x" if predicted else None,
        "environment": {"cpu": "A processor", "torch": "2", "gpu": None},
        "cells": tuple(cells),
    }
    return Record(**{**given, **changes})


COUNTED: dict[str, tuple[int, int]] = {}


def counted(subject) -> tuple[int, int]:
    """Mult-adds and memory access of a subject at batch 1."""
    key = f"{subject.network} {subject.arguments} {subject.shape}"
    if key not in COUNTED:
        total = costlab.profile(build(subject), (1, *subject.shape)).total
        COUNTED[key] = total.mult_adds, total.memory_access
    return COUNTED[key]


# The paper's figures.


def test_scales_multiply_channels_since_tables_2_and_3_begin_with_the_same_network():
    for machine in WIDTHS:
        for ours, theirs in zip(rows_of("g2")[0][machine], rows_of("g3")[0][machine], strict=True):
            assert ours == pytest.approx(theirs, rel=0.015)


def test_a_larger_batch_than_one_would_exceed_the_papers_gpu():
    (subject,) = (s for s in EXPERIMENTS["g2"].subjects("gpu") if (s.row, s.column) == ("1 group", "x4"))
    flops = 2 * counted(subject)[0] * subject.paper["gpu"]
    assert flops < 11.34e12 < 2 * flops


@pytest.mark.parametrize(("machine", "expected"), [("gpu", 0.74), ("arm", 0.95)])
def test_over_the_37_timed_rows_the_papers_mult_adds_correlate_as_published(machine, expected):
    rows = rows_of("networks")
    assert len(rows) == 37
    mult_adds, times = [row["mult_adds"] for row in rows], [1 / row[machine][0] for row in rows]
    assert rank_correlation(mult_adds, times) == pytest.approx(expected, abs=0.005)


def test_published_tables_are_whole_and_every_table_falls_in_speed_as_the_paper_says():
    for name in ("g1", "g2"):
        for machine in WIDTHS:
            for place in range(3):
                column = [row[machine][place] for row in rows_of(name)]
                assert column == sorted(column, reverse=True)
    for machine in WIDTHS:
        assert all(speeds(rows_of("g4")[-1], i)[machine] > speeds(rows_of("g4")[0], i)[machine] for i in range(3))


# The networks.


@pytest.mark.parametrize(("name", "widths"), PLACES)
@pytest.mark.slow
def test_every_network_runs_and_has_the_input_it_says(name, widths):
    for subject in EXPERIMENTS[name].subjects(widths):
        model, x = build(subject), torch.empty(2, *subject.shape, device="meta")
        y = model.eval()(x)
        assert y.shape == ((2, 1000) if name == "networks" else x.shape)


@pytest.mark.parametrize(("name", "drift"), [("g1", 0.06), ("g2", 0.04), ("g3", 0.02), ("g4", 0)])
@pytest.mark.parametrize("widths", WIDTHS)
def test_rows_of_a_column_have_equal_mult_adds(name, drift, widths):
    subjects = EXPERIMENTS[name].subjects(widths)
    first = {s.column: counted(s)[0] for s in reversed(subjects)}
    for subject in subjects:
        assert counted(subject)[0] == pytest.approx(first[subject.column], rel=drift)


def test_mult_adds_are_those_of_the_papers_layers():
    found = {(name, s.row, s.column): counted(s)[0] for name in EXPERIMENTS for s in EXPERIMENTS[name].subjects("gpu")}
    area = 56 * 56
    assert found["g1", "1:12", "x2"] == 10 * area * (72 * 864 + 864 * 72)
    assert found["g2", "8 groups", "x1"] == 10 * area * 360 * 360 // 8
    assert found["g3", "4 in parallel", "x4"] == 10 * area * 4 * 256 * 256
    assert found["g3", "4 in series", "x4"] == 10 * area * 4 * 256 * 256
    assert found["g4", "ReLU only", "x4"] == 10 * area * (128 * 32 + 9 * 32 * 32 + 32 * 128)
    assert found["kernel", "5x5", "dense"] == 10 * area * 25 * 128 * 128
    assert found["kernel", "5x5", "depthwise"] == 10 * area * 25 * 128


def test_memory_access_grows_with_what_the_guidelines_forbid():
    """Excess over the bound of G1 at 56 x 56 is that of the paper's equation 2."""
    ratio = {}
    for subject in EXPERIMENTS["g1"].subjects("gpu"):
        if subject.column == "x1":
            c1, c2 = subject.arguments["c1"], subject.arguments["c2"]
            mult_adds = counted(subject)[0] // 20
            ratio[subject.row] = counted(subject)[1] / 20 / (2 * sqrt(56 * 56 * mult_adds) + c1 * c2)
    assert ratio == pytest.approx({"1:1": 1.0, "1:2": 1.0595, "1:6": 1.4203, "1:12": 1.8593}, abs=5e-5)


def test_bottlenecks_have_what_their_row_says():
    (with_both, *_, neither) = (s for s in EXPERIMENTS["g4"].subjects("gpu") if s.column == "x1")
    kinds = [costlab.profile(build(s), (1, *s.shape)).by_kind() for s in (with_both, neither)]
    assert (kinds[0]["relu"].ops, kinds[0]["add"].ops) == (30, 10)
    assert set(kinds[1]) == {"conv2d"}


def test_zoo_rows_have_the_mult_adds_that_the_paper_prints():
    printed = {row["name"]: row["mult_adds"] for row in rows_of("networks")}
    subjects = EXPERIMENTS["networks"].subjects("gpu")
    assert len(subjects) == 17
    for subject in subjects:
        assert counted(subject)[0] == pytest.approx(printed[subject.row], rel=0.08)


def test_a_row_that_repeats_another_has_its_speeds():
    rows = {row["name"]: row for row in rows_of("networks")}
    repeated = [row for row in rows.values() if "same" in row]
    assert len(repeated) == 2
    for row in repeated:
        assert all(row[machine] == rows[row["same"]][machine] for machine in WIDTHS)


# The times.


class World:
    """A clock, and work that takes time on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[int] = []
        self.slow = 1.0

    def clock(self) -> float:
        return self.now

    def work(self, number: int, seconds: float):
        def doing() -> None:
            self.done.append(number)
            self.now += seconds * self.slow

        return doing


def test_every_network_has_its_turn_in_every_round():
    world = World()
    runs = [world.work(i, seconds) for i, seconds in enumerate((1 / 1024, 1 / 128, 1.0))]
    timings, interrupted = in_rounds(runs, 5, 1 / 64, world.clock, lambda words, part: None)
    assert [len(t.seconds) for t in timings] == [5, 5, 5]
    assert [t.median for t in timings] == [1 / 1024, 1 / 128, 1.0]
    assert [t.number for t in timings] == [16, 2, 1]
    assert not interrupted


def test_turns_of_a_round_come_in_changing_order():
    world = World()
    in_rounds([world.work(i, 1.0) for i in range(6)], 8, 0.02, world.clock, lambda words, part: None)
    rounds = [tuple(world.done[6 + 6 * i : 12 + 6 * i]) for i in range(8)]
    assert all(sorted(order) == list(range(6)) for order in rounds)
    assert len(set(rounds)) > 4


def test_an_interruption_keeps_complete_rounds_alone():
    world = World()
    runs = [world.work(i, 1.0) for i in range(3)]

    def interrupted() -> None:
        runs[2]()
        if len(world.done) == 11:
            raise KeyboardInterrupt

    timings, stopped = in_rounds([*runs[:2], interrupted], 50, 0.02, world.clock, lambda words, part: None)
    assert stopped
    assert {len(t.seconds) for t in timings} <= {1, 2}
    assert len({len(t.seconds) for t in timings}) == 1


def test_an_interruption_before_a_round_is_complete_ends_everything():
    world = World()

    def interrupted() -> None:
        world.now += 1
        if world.now > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_rounds([interrupted], 5, 0.02, world.clock, lambda words, part: None)


def test_a_slow_round_leaves_relative_speeds_as_they_are():
    record = made("g1", {"1:1": 1.0, "1:12": 2.0})
    slowed = tuple(
        replace(cell, measured=Timing(tuple(s * f for s, f in zip(cell.measured.seconds, (1, 5, 7), strict=True))))
        for cell in record.cells
    )
    relative = [record.relative(cell) for cell in record.cells]
    assert [replace(record, cells=slowed).relative(cell) for cell in slowed] == pytest.approx(relative)


@pytest.fixture(scope="module")
def quick() -> Record:
    return run_experiment("g4", rounds=2, turn=1e-4)


def test_a_run_has_every_network_of_the_experiment(quick):
    subjects = EXPERIMENTS["g4"].subjects("arm")
    assert [(c.row, c.column, c.arguments) for c in quick.cells] == [(s.row, s.column, s.arguments) for s in subjects]
    assert [(c.mult_adds, c.memory_access) for c in quick.cells] == [counted(s) for s in subjects]
    assert (quick.device, quick.threads, quick.batch, quick.widths) == ("cpu", 1, 1, "arm")
    assert all(cell.predicted_seconds is None for cell in quick.cells)
    assert quick.environment["torch"] == torch.__version__


@pytest.mark.slow
def test_a_larger_batch_is_what_runs():
    record = run_experiment("g2", widths="gpu", batch=2, rounds=1, turn=1e-4)
    for cell, subject in zip(record.cells, EXPERIMENTS["g2"].subjects("gpu"), strict=True):
        assert cell.input == (2, *subject.shape)
        assert cell.mult_adds == 2 * counted(subject)[0]


def test_predictions_stand_beside_the_times(monkeypatch):
    asked = []

    def foretold(traced: costlab.Profile, device: Device) -> float:
        asked.append((traced.mult_adds, device.name))
        return 2.0 * traced.mult_adds

    monkeypatch.setattr(running, "predicted_seconds", foretold)
    record = run_experiment("g1", rounds=1, turn=1e-4, predict_for="i9-10940x")
    assert asked == [(cell.mult_adds, "i9-10940x") for cell in record.cells]
    assert [cell.predicted_seconds for cell in record.cells] == [2.0 * cell.mult_adds for cell in record.cells]
    assert record.predicted_for == "i9-10940x"


def test_a_saved_result_can_be_predicted_later():
    record = running.with_predictions(made("g3", batch=2), "i9-10940x")
    for cell, subject in zip(record.cells, EXPERIMENTS["g3"].subjects("arm"), strict=True):
        traced = costlab.profile(build(subject), (2, *subject.shape))
        assert cell.predicted_seconds == running.predict(traced, "i9-10940x").seconds
    assert [cell.measured for cell in record.cells] == [cell.measured for cell in made("g3").cells]
    assert record.predicted_for == "i9-10940x"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("g5", {}, "use one of g1, g2, g3, g4, kernel, networks"),
        ("g1", {"threads": 0}, "threads must be 1 or more, got 0"),
        ("g1", {"rounds": -1}, "rounds must be 1 or more, got -1"),
        ("g1", {"batch": -2}, "batch must be 1 or more, got -2"),
        ("g1", {"batch": 0}, "batch must be 1 or more, got 0"),
        ("g1", {"widths": "tpu"}, "gpu or arm"),
        ("g1", {"device": "abacus"}, "abacus"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(name, options, words):
    with pytest.raises(CostlabError, match=words):
        run_experiment(name, **options)


# What is said of them.


@pytest.mark.parametrize(
    ("name", "slow", "verdict"),
    [
        ("g1", "1:12", "holds"),
        ("g1", "1:1", "reversed"),
        ("g4", "ReLU and shortcut", "holds"),
        ("g4", "neither", "reversed"),
    ],
)
def test_a_guideline_holds_if_the_row_that_follows_it_is_faster(name, slow, verdict):
    record = made(name, dict.fromkeys((s.row for s in EXPERIMENTS[name].subjects("arm")), 1.0) | {slow: 2.0})
    assert [record.verdict(column) for column in record.columns] == [verdict] * 3


def test_a_guideline_is_open_where_rounds_disagree():
    record = made("g1", dict.fromkeys(("1:1", "1:2", "1:6", "1:12"), 1.0))
    assert [record.verdict(column) for column in record.columns] == ["open"] * 3  # all rounds tie
    assert "is open at x1, x2 and x4" in report.conclusions(record)[0]


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=9))
def test_rounds_faster_of_one_and_the_other_make_all_rounds(pairs):
    record = made("g1")
    one, other = (replace(record.cells[0], measured=Timing(seconds)) for seconds in zip(*pairs, strict=True))
    assert record.rounds_faster(one, other) + record.rounds_faster(other, one) == pytest.approx(1)


def test_a_saving_is_the_time_of_the_row_that_breaks_the_guideline_less_that_of_the_one_that_keeps_it():
    kept = made("g2", {"1 group": 1.0, "2 groups": 2.0, "4 groups": 3.0, "8 groups": 4.0}, predicted=True)
    assert [s.measured for s in savings_of(kept)[:3]] == pytest.approx([1.0, 2.0, 3.0])
    assert [s.predicted for s in savings_of(kept)[:3]] == pytest.approx([1.5, 3.0, 4.5])
    assert [s.predicted_share for s in savings_of(kept)[:3]] == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    left_out = made("g4", {"ReLU and shortcut": 4.0, "ReLU only": 3.0, "shortcut only": 2.0, "neither": 1.0})
    found = [(s.measured, s.measured_share, s.predicted, s.predicted_share) for s in savings_of(left_out)[:3]]
    assert found == [(1.0, 0.25, None, None), (2.0, 0.5, None, None), (3.0, 0.75, None, None)]
    assert savings_of(made("kernel")) == []


def test_correlations_are_of_the_measured_times():
    found = made("networks", predicted=True).rank_correlations()  # time is mult-adds there
    assert found["mult_adds"] == pytest.approx(1)
    assert found["predicted_seconds"] == pytest.approx(1)
    assert 0.5 < found["arm"] < 1
    assert made("networks").rank_correlations()["predicted_seconds"] is None


def test_sentences_name_the_numbers_that_the_record_has():
    sentence = report.conclusions(made("g1", {"1:1": 1.0, "1:12": 4.0}, predicted=True))[0]
    assert sentence == (
        "G1 holds at x1, x2 and x4. Speed of 1:12 over 1:1 at x1, x2 and x4: 0.25, 0.25 and 0.25 here; 0.25, 0.25 and"
        " 0.25 predicted; 0.51, 0.54 and 0.70 in the paper (GPU); 0.76, 0.70 and 0.83 in the paper (ARM)."
    )
    dense = report.conclusions(made("kernel"))[0]
    assert dense == (
        "Dense: 3x3 takes 9.00 times as long as 1x1 (mult-adds: 9.00 times), 5x5 25.0 times (25.0), 7x7 49.0 times"
        " (49.0)."
    )
    first, second = report.conclusions(made("networks"))
    assert "over 17 networks: mult-adds 1.00" in first
    assert second.endswith("0.74 (GPU) and 0.95 (ARM) over all 37.")
    (note,) = report.notes(made("networks"))
    assert "The zoo builds 19" in note
    assert "NASNet-A" in note


def test_sentences_over_batches_give_verdict_and_saving_of_each():
    alike = dict.fromkeys(("1:1", "1:2", "1:6", "1:12"), 1.0)
    small = made("g1", alike, predicted=True)
    large = made("g1", {**alike, "1:2": 2.0, "1:12": 4.0}, batch=32)
    (sentence,) = experiment_savings.batch_sentences([small, large])
    assert sentence == (
        "G1: at batch 1 it is open at x1, x2 and x4 (saves 0.0% to 0.0% of the time, 0.0% to 0.0% predicted);"
        " at batch 32 it holds at x1, x2 and x4 (saves 75.0% to 75.0% of the time)."
    )
    grown = experiment_savings.growth_sentence([small], [large])
    assert "the work grows 32.0 times, but the time 1.50 times (median of the 12 networks of G1, 1.00 to 4.00)" in grown


@pytest.mark.parametrize("predicted", [True, False])
@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("width", [60, 100, 160])
def test_no_line_is_wider_than_the_screen(name, width, predicted):
    from rich.console import Console

    from costlab.formatting.table import text as text_of

    console = Console(width=1000, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(text_of(report.table(made(name, predicted=predicted)), width, ascii_only=True))
    text = capture.get()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert all(cell.row in text for cell in made(name).cells)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_markdown_has_a_line_for_every_network(name):
    record = made(name, predicted=True)
    text = report.markdown(record)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(record.cells)
    assert len({line.count("|") for line in rows}) == 1


def test_noise_and_interruption_are_said():
    record = made("g1")
    wide = replace(record.cells[0], measured=Timing((1.0, 1.5, 2.0)))
    labels = [fact.label for fact in report.facts(replace(record, cells=(wide, *record.cells[1:]), interrupted=True))]
    assert labels[-2:] == ["NOISY", "INTERRUPTED"]
    assert "NOISY" not in [fact.label for fact in report.facts(record)]


# Files.


@pytest.mark.parametrize("predicted", [True, False])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_record_returns_from_json_whole(name, predicted):
    record = made(name, predicted=predicted)
    assert Record.from_json(record.to_json()) == record


def test_json_has_every_time_and_what_follows(quick):
    document = json.loads(quick.to_json())
    assert document["schema_version"] == 1
    for cell, entry in zip(quick.cells, document["cells"], strict=True):
        assert tuple(entry["measured"]["seconds"]) == cell.measured.seconds
        assert entry["relative_speed"] == quick.relative(cell)
        assert prod(entry["input"]) > 0


def spoilt(**changes: object) -> str:
    document = json.loads(made("g1").to_json())
    cell = document["cells"][0]
    for key, value in changes.items():
        if key in document:
            document[key] = value
        elif key == "seconds":
            cell["measured"]["seconds"] = value
        else:
            cell[key] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"schema_version": 1, "name": "g1", "cells": 3}',
        '{"schema_version": 1, "name": ["g1"], "cells": []}',
        '{"schema_version": 2}',
        spoilt(cells=[]),
        spoilt(name="networks"),
        spoilt(name="g9"),
        spoilt(widths="tpu"),
        spoilt(batch=0),
        spoilt(seconds=[]),
        spoilt(seconds=[0.0, 0.0, 0.0]),
        spoilt(seconds=[1.0]),
        spoilt(seconds=[-1.0, 1.0, 1.0]),
        spoilt(seconds=["1", 1.0, 1.0]),
        spoilt(row="another"),
        spoilt(paper={"gpu": 0.0}),
        spoilt(mult_adds=0),
        spoilt(predicted_seconds=-1.0),
        spoilt(surprise=1),
        spoilt(threads="one"),
        spoilt(threads=1).replace('"threads": 1', '"threads": NaN'),
    ],
)
def test_an_invalid_record_is_rejected_in_one_line(text, tmp_path, capsys):
    path = tmp_path / "result.json"
    path.write_text(text)
    assert run(["experiment", str(path)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "result.json" in err


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("predicted", [True, False])
def test_pictures_show_every_number(name, predicted):
    record = made(name, predicted=predicted)
    figure = pictures.picture(record)
    panels = figure.axes
    points = sum(len(c.get_offsets()) for ax in panels for c in ax.collections if hasattr(c, "get_offsets"))
    if name in GUIDELINES:
        series = 3 + predicted
        lines = len(panels)  # of the quartiles, a collection a panel, which counts one offset
        assert points - lines == series * len(record.cells)
        assert [ax.get_title(loc="left") for ax in panels] == record.columns
    elif name == "kernel":
        drawn = {line.get_label(): line.get_ydata() for line in panels[0].lines}
        assert list(drawn["dense"]) == pytest.approx([1, 9, 25, 49])
    else:
        assert len(panels) == 2 + predicted
        assert all(sum(len(line.get_xdata()) for line in ax.lines) == len(record.cells) for ax in panels)
        assert panels[0].get_title(loc="left") == "rank correlation 1.00"


def test_savings_are_drawn_for_every_row_but_the_first():
    records = [made(name, predicted=True) for name in GUIDELINES]
    (ax,) = experiment_savings.savings_picture(records).axes
    assert [len(c.get_offsets()) for c in ax.collections] == [len(savings_of(record)) for record in records]


def test_the_same_record_is_the_same_file(tmp_path):
    for name in ("one.svg", "two.svg"):
        pictures.write_picture(made("g1"), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


# The command.


@pytest.mark.slow
def test_a_quick_run_is_saved_shown_and_drawn(tmp_path, capsys):
    saved, plot = tmp_path / "g2.json", tmp_path / "g2.png"
    assert run(["experiment", "g2", "--quick", "--rounds", "1", "--format", "json", "-o", str(saved)]) == 0
    assert read_record(saved).rounds == 1
    assert run(["experiment", str(saved), "--plot", str(plot)]) == 0
    out = capsys.readouterr().out
    assert "G2 group convolution (ShuffleNet V2, Table 2)" in out
    assert "8 groups" in out
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run(["experiment", str(saved), "--format", "markdown"]) == 0
    assert capsys.readouterr().out == report.markdown(read_record(saved))
    assert run(["experiment", str(saved), "--predict-for", "i9-10940x"]) == 0
    assert "predicted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["g7"], "unknown experiment 'g7'"),
        (["g1", "--device", "abacus"], "abacus"),
        (["g1", "--predict-for", "nothing"], "no device 'nothing'"),
        (["g1", "--plot", "g1.txt"], "g1.txt is not a supported picture"),
        (["g1", "-o", "nowhere/g1.json"], "the folder nowhere does not exist"),
        (["missing.json"], "missing.json cannot be read"),
        (["missing.json", "--quick"], "leave out --quick"),
        (["g1", "--widths", "tpu"], "tpu"),
        (["g1", "--rounds", "0"], "rounds must be 1 or more, got 0"),
        (["g1", "--batch", "0"], "batch must be 1 or more, got 0"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["experiment", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert words in err
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_shows_what_it_has(monkeypatch, capsys):
    monkeypatch.setattr(running, "run_experiment", lambda *_, **__: made("g1", interrupted=True))
    assert run(["experiment", "g1"]) == 130
    assert "INTERRUPTED" in capsys.readouterr().out


# The pages.


def test_the_page_is_what_the_saved_results_say():
    page = experiment_pages.FOLDER / "README.md"
    assert page.read_text(encoding="utf-8") == experiment_pages.page(experiment_pages.saved())


@pytest.mark.parametrize("page", sorted(experiment_pages.FOLDER.glob("*.md")), ids=lambda page: page.name)
def test_links_of_the_pages_lead_to_files(page: Path):
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")) if "://" not in t]
    assert targets
    assert all((page.parent / target).exists() for target in targets)


def test_a_page_has_every_machine_and_says_what_is_open():
    records = [made(name, predicted=True) for name in EXPERIMENTS]
    text = experiment_pages.page({"cpu": records})
    assert text.count("](cpu/") == len(EXPERIMENTS) + 1
    assert "Not measured yet" in text
    assert "has the right sign for" in text
    assert "Not measured yet" not in experiment_pages.page({"cpu": records, "cuda": records})
    assert "These times have no predictions" in experiment_pages.page({"cpu": [made("g1")]})


def test_a_card_at_two_batches_has_a_section_of_what_holds_at_which():
    machine = {"gpu": "A card"}
    runs = {
        f"cuda-{batch}": [made(name, batch=batch, environment=machine) for name in EXPERIMENTS] for batch in (32, 1)
    }
    text = experiment_pages.page(runs)
    section = text.partition("## What holds at which batch: A card")[2].partition("## cuda")[0]
    assert "From batch 1 to 32" in section
    assert [line[2:4] for line in section.splitlines() if line.startswith("- G")] == ["G1", "G2", "G3", "G4"]
    assert "which batch" not in experiment_pages.page({"cuda": runs["cuda-1"]})
