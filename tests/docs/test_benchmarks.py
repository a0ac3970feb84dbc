"""docs/benchmarks.md agrees with the measurements, its true numbers have a second source, and the script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from generate.benchmark_page import FOLDER, GOALS, PAGE, RESULTS, off, page, saved

SCRIPT = Path(__file__).parents[1] / "bench" / "benchmark.py"
SUBJECTS = saved()["accuracy"]["subjects"]


def test_the_page_is_up_to_date():
    """`make bench` regenerates it."""
    assert PAGE.read_text(encoding="utf-8") == page(saved())


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject["name"])
def test_what_tools_are_judged_by_has_a_second_source(subject):
    if subject["by_hand"] is not None:
        assert subject["mult_adds"] == subject["by_hand"]
    else:
        assert f"{subject['mult_adds'] / 1e9:.3f}" == f"{subject['published']:.3f}"


def test_results_have_every_goal():
    commands = {each["name"] for each in saved()["processes"]["commands"]}
    assert commands.issuperset(GOALS)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"mult_adds": 1000}, "exact"),
        ({"mult_adds": 1050}, "+5.0%"),
        ({"mult_adds": 500}, "**-50.0%**"),
        ({"mult_adds": 0}, "**counts 0**"),
        ({"failure": "TypeError"}, "fails"),
    ],
)
def test_an_answer_is_judged_by_how_far_off_it_is(answer, words):
    assert off(answer, 1000) == words


@pytest.mark.slow
def test_the_script_measures_and_writes_the_page(tmp_path):
    """A quick run: a few networks, one round."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--folder", tmp_path / "quick"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "quick" / RESULTS).read_text(encoding="utf-8"))
    assert (tmp_path / "quick.md").read_text(encoding="utf-8") == page(results)
    assert {each["name"] for each in results["processes"]["commands"]}.issuperset(GOALS)
    assert not any("failure" in each for each in results["processes"]["commands"])
    exact, blind = (subject["answers"] for subject in results["accuracy"]["subjects"])
    assert exact["FlopCounterMode, CPU"]["mult_adds"] == 0  # the fused path of nn.TransformerEncoder
    assert blind["FlopCounterMode, CPU"]["mult_adds"] == 64 * 256 * 128
    assert all(step["slope"] for step in results["growth"]["steps"].values())


@pytest.mark.slow
def test_a_quick_run_does_not_replace_the_results():
    done = subprocess.run([sys.executable, SCRIPT, "--quick"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--folder" in done.stderr
    assert FOLDER.is_dir()
