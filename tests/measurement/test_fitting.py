"""Fits recover known parameters; the page and the benchmark are up to date."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generate.latency_page import PAGE, fingerprint, fitted_tables, page_with, parameters, shipped

import costlab
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.devices import find_device
from costlab.latency.efficiency import efficiency_of, shared_efficiency
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import Kernel, lower
from costlab.latency.parameters import CPU, GPU
from costlab.measurement.fit import Errors, Sample, Samples, errors, fit
from costlab.models import ModelSpec, profile_of

NAMES = (
    "zoo:mobilenet_v2",
    "zoo:shufflenet_v1",
    "torchvision:resnet18",
    "torchvision:vgg11_bn",
    "timm:vit_tiny_patch16_224",
    "timm:mixer_s32_224",
)
START = shared_efficiency("cuda", "eager")
CONFIG = ExecutionConfig(find_device("rtx3090"), amp=True)
BENCH = Path(__file__).parents[1] / "bench"


@cache
def real(name: str) -> Profile:
    return profile_of(ModelSpec(name))


@cache
def kernels(name: str) -> list[Kernel]:
    return lower(real(name), real(name), CONFIG)


def samples(efficiency: dict[str, float], device: str = "rtx3090", batches: tuple[int, ...] = (1, 32, 256)) -> Samples:
    """Networks that take exactly what the model says for an efficiency."""
    blank = [Sample(name, kernels(name), batch, 1.0) for name in NAMES for batch in batches]
    seconds = Samples(find_device(device), blank).predicted(efficiency)
    known = [sample._replace(seconds=float(value)) for sample, value in zip(blank, seconds, strict=True)]
    return Samples(find_device(device), known)


# Samples.


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_takes_what_is_predicted_for_its_network(name):
    device = find_device("rtx3090")
    sample = Samples(device, [Sample(name, kernels(name), 64, 1.0)] * 2)
    expected = costlab.predict(real(name), device, batch=64, amp=True).seconds
    assert sample.predicted(efficiency_of(device, "eager")) == pytest.approx([expected, expected], rel=1e-9)


def test_samples_do_not_know_of_each_other():
    device = find_device("i9-10940x")
    shared = shared_efficiency("cpu", "compiled")
    single = [Samples(device, [Sample(name, kernels(name), 4, 1.0)]).predicted(shared)[0] for name in NAMES]
    together = Samples(device, [Sample(name, kernels(name), 4, 1.0) for name in NAMES]).predicted(shared)
    assert together == pytest.approx(single)


# The fit.

TRUTH = {"matmul": 0.7, "convolution": 0.6, "stream": 0.8, "batch_norm": 1.5, "launch_seconds": 1.1e-5}


def test_a_fit_finds_the_parameters_that_samples_were_made_with():
    found = fit([samples({**START, **TRUTH})], START, TRUTH)
    assert {key: found[key] for key in TRUTH} == pytest.approx(TRUTH, rel=0.03)


def test_a_network_that_is_off_by_itself_hardly_moves_the_others():
    group = samples({**START, **TRUTH})
    true = group.measured
    odd = [s._replace(seconds=s.seconds * 3) if i == 4 else s for i, s in enumerate(group.samples)]
    found = fit([replace(group, samples=odd)], START, TRUTH, evaluations=40)
    assert errors(group.predicted(found), true).median < 0.02


def test_two_devices_are_fitted_together():
    groups = [samples({**START, **TRUTH}, device, (1, 64)) for device in ("rtx3090", "rtx4090")]
    found = fit(groups, START, TRUTH)
    assert {key: found[key] for key in TRUTH} == pytest.approx(TRUTH, rel=0.03)


def test_what_is_not_free_stays_and_what_no_sample_tells_stays_near_its_start():
    found = fit([samples({**START, **TRUTH})], START, {"matmul", "recurrent"})
    assert found["recurrent"] == pytest.approx(START["recurrent"], rel=1e-3)
    assert {key: value for key, value in found.items() if key not in ("matmul", "recurrent")} == {
        key: value for key, value in START.items() if key not in ("matmul", "recurrent")
    }


def test_what_is_told_moves_however_strongly_others_are_pulled():
    group = samples({**START, **TRUTH})
    found = fit([group], START, TRUTH, pull=1000.0, told=["launch_seconds"])
    moved = {name for name in TRUTH if abs(found[name] / START[name] - 1) > 0.02}
    assert moved == {"launch_seconds"}
    assert fit([group], START, TRUTH, told=TRUTH) == fit([group], START, TRUTH)


def test_fitted_parameters_stay_where_they_make_sense():
    group = samples(START)
    impossible = [sample._replace(seconds=sample.seconds / 1000) for sample in group.samples]
    found = fit([replace(group, samples=impossible)], START, TRUTH, evaluations=10)
    for name in TRUTH:
        assert GPU[name].low * 0.999 <= found[name] <= GPU[name].high * 1.001


# Errors.


def test_errors_are_shares_of_what_was_measured():
    measured = np.array([1.0, 2.0, 4.0, 8.0, 10.0])
    assert errors(measured, measured) == Errors(5, 0.0, 0.0, pytest.approx(1.0))
    found = errors(measured * [1.1, 0.8, 1.3, 0.6, 1.5], measured)
    assert found.median == pytest.approx(0.3)
    assert errors(measured[:1], measured[:1]).spearman is None
    assert found.ninetieth == pytest.approx(0.46)  # of 0.1, 0.2, 0.3, 0.4 and 0.5


# The page.


def test_the_table_of_parameters_is_up_to_date():
    """`python docs/generate/latency_page.py` regenerates it."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with(page, parameters=parameters())


@pytest.mark.parametrize("name", ["rtx3090", "rtx4090", "i9-10940x"])
def test_the_figures_of_accuracy_are_those_of_the_device_files(name):
    """`make latency TABLES=DIR` updates them."""
    assert f"{name} {fingerprint(shipped(name))}" in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_shows_every_fitted_number():
    page = PAGE.read_text(encoding="utf-8")
    lines = iter(page.splitlines())
    for table in (GPU, CPU):
        for name, parameter in table.items():
            line = next(line for line in lines if line.startswith(f"| `{name}` |"))
            values = f"{parameter.eager:.4g} | {parameter.compiled:.4g}"
            assert f"| {parameter.meaning} | {parameter.unit} | {values} " in line
            for own in fitted_tables().values():
                assert table is CPU or name not in own or f" {own[name]:.4g} " in line


@pytest.mark.parametrize("page", ["no place at all", "<!-- x -->\na\n<!-- /x -->\n<!-- x -->\nb\n<!-- /x -->"])
def test_a_page_has_one_place_for_a_block(page):
    with pytest.raises(CostlabError, match="the page should have one place"):
        page_with(page, x="new")


def test_a_block_takes_the_place_of_what_stood_there():
    page = "a\n<!-- x -->\nold\nlines\n<!-- /x -->\nb"
    assert page_with("a\n<!-- x -->\n<!-- /x -->\nb", x="new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    assert page_with(page, x=r"n\1w") == "a\n<!-- x -->\nn\\1w\n<!-- /x -->\nb"


# The benchmark, on tables made up here.

ROWS = [("test_vit", 160), ("test_byobnet", 160), ("test_efficientnet.r160_in1k", 160), ("vit_tiny_patch16_224", 192)]
FILES = (
    "amp-nchw-pt240-cu124-rtx3090.csv",
    "amp-nhwc-pt240-cu124-rtx3090.csv",
    "amp-nchw-pt240-cu124-rtx4090-dynamo.csv",
    "fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv",
)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    for file in FILES:
        with (folder / file).open("w", newline="") as out:
            lines = csv.writer(out)
            lines.writerow(
                [
                    "model",
                    "infer_img_size",
                    "infer_samples_per_sec",
                    "infer_step_time",
                    "infer_batch_size",
                    "param_count",
                ]
            )
            for place, (name, size) in enumerate([*ROWS, ("no_such_network.tag", 224)]):
                lines.writerow([name, size, 1000.0 * (place + 1), 1, 8, 99.0])
    return folder


def benchmark(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "latency.py"), "--jobs", "1", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_the_benchmark_predicts_every_row_and_says_which_it_could_not(tables):
    done = benchmark("--tables", tables, "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["unknown"] == ["no_such_network@224"]
    assert found["failures"] == []
    assert len(found["rows"]) == len(FILES) * len(ROWS)
    assert {row["network"] for row in found["rows"]} == {f"{name.partition('.')[0]}@{size}" for name, size in ROWS}
    for entry in found["summary"]:
        rows = [r for r in found["rows"] if r["way"] == entry["way"] and r["fitted"] == entry["families"]]
        assert entry["prediction"]["networks"] == len(rows)
        assert entry["prediction"]["median"] == pytest.approx(np.median([abs(r["ratio"] - 1) for r in rows]))
    assert set(found["changed"]) == {row["network"] for row in found["rows"]}  # none has 99 M parameters
    row = next(r for r in found["rows"] if r["network"] == "test_vit@160" and r["way"].startswith("i9"))
    assert row["measured_seconds"] == pytest.approx(8 / 1000)
    profile = profile_of(ModelSpec("timm:test_vit", resolution=160))
    expected = costlab.predict(profile, "i9-10940x", batch=8, fusion="pointwise")
    assert row["predicted_seconds"] == pytest.approx(expected.seconds)
    assert row["mult_adds"] == 8 * profile.mult_adds
    families = sorted({r["family"] for r in found["rows"]})
    assert {r["family"] for r in found["rows"] if r["fitted"] == "fitting"} == set(families[::2])


@pytest.mark.slow
def test_the_benchmark_fits_and_writes_parameters_that_can_be_read(tables, tmp_path):
    done = benchmark("--tables", tables, "--fit", "--write", tmp_path, "--format", "markdown")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| fitting |") == len(FILES)
    values: dict[str, Any] = {}
    exec((tmp_path / "parameters.py").read_text(encoding="utf-8"), values)
    for before, after in ((GPU, values["GPU"]), (CPU, values["CPU"])):
        assert before.keys() == after.keys()
        assert [tuple(p)[3:] for p in before.values()] == [tuple(p)[3:] for p in after.values()]
        assert [p.eager for p in before.values()] != [p.eager for p in after.values()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tables", "nowhere"], "cannot be read"),
        (["--tables", ".", "--write", "."], "--write goes with --fit"),
        (["--tables", ".", "--fit", "--write", "nowhere"], "the folder does not exist"),
    ],
)
def test_wrong_usage_of_the_benchmark_says_what_is_wrong(words, said):
    done = benchmark(*words)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
