"""Calibration: the blocks run and are the same everywhere; a simulated machine is recovered."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import costlab.measurement.calibration as calibrating
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.latency._predict import predict
from costlab.latency.devices import find_device, read_device, write_device
from costlab.latency.efficiency import efficiency_of
from costlab.latency.parameters import CPU
from costlab.measurement.calibration_result import Calibration, Peak
from costlab.measurement.fit import Errors
from costlab.measurement.microbenchmarks import blocks
from costlab.measurement.result import Measurement, Timing
from costlab.reports.devices import calibration as report_lines
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow

TRUE = {  # a pass takes as long as its operators
    **calibrating.EAGER_CPU,
    "bandwidth": 0.5,
    "matmul": 0.9,
    "transcendental": 30.0,
    "launch_seconds": 8e-6,
    "start_seconds": 1e-8,
}


def test_blocks_are_the_same_for_the_same_seed_and_all_run():
    first, second = list(blocks()), list(blocks())
    assert [(b.name, b.shape, b.channels_last) for b in first] == [(b.name, b.shape, b.channels_last) for b in second]
    assert [b.shape for b in blocks(1)] != [b.shape for b in first]
    assert len(first) > 100
    for block in first[::9]:
        with torch.inference_mode():
            assert block.build().eval()(torch.randn(block.shape)).isfinite().all()


def test_blocks_have_every_kind_of_work_that_networks_are_made_of():
    kinds = {op.kind for block in blocks() for op in profile(block.build().eval(), block.shape).ops}
    assert kinds >= set(
        "conv2d linear matmul scaled_dot_product_attention batch_norm layer_norm softmax relu gelu silu add mul mean"
        " cat"
        " max_pool2d avg_pool2d adaptive_avg_pool2d upsample_nearest2d reshape roll"
        " pad".split()
    )


@pytest.fixture
def obedient(monkeypatch):
    """A machine whose times are those of the equations, with `TRUE` for its efficiency."""
    device = replace(find_device("xeon-8375c"), name="here", efficiency={"eager": TRUE})
    monkeypatch.setattr(calibrating, "machine", lambda where, name, threads, reached: replace(device, name=name))
    monkeypatch.setattr(calibrating, "measured_peaks", lambda where: {"float32": 1e12, "bandwidth": 1e11})

    def measured(model, shape, *, channels_last, **_: object) -> Measurement:
        traced = profile(model, shape)
        found = predict(traced, device, channels_last=channels_last)
        times = {name: Timing((seconds,)) for name, seconds in found.by_op.items()}
        whole = Timing((sum(found.by_op.values()),))
        return Measurement(
            "block", "python", {}, "cpu", "float32", False, channels_last, False, 1, 1, (), whole, times, (), {}
        )

    monkeypatch.setattr(calibrating, "measure", measured)
    return device


def test_a_machine_that_obeys_the_equations_is_found_out(obedient):
    found = calibrating.calibrate("cpu", threads=1, quick=True)
    assert found.held_out.median < 0.02
    assert found.held_out.spearman > 0.999
    fitted = efficiency_of(found.device, "eager")
    assert fitted["launch_seconds"] == pytest.approx(8e-6, rel=0.1)
    network = profile(torch.nn.Sequential(torch.nn.Conv2d(16, 64, 3), torch.nn.GELU()), (1, 16, 60, 60))
    assert predict(network, found.device).seconds == pytest.approx(predict(network, obedient).seconds, rel=0.1)


def test_a_calibration_is_a_device_file_that_predicts(obedient, tmp_path):
    found = calibrating.calibrate("cpu", threads=1, name="mine", quick=True)
    path = tmp_path / "mine.toml"
    write_device(found.device, path)
    network = profile(torch.nn.Linear(64, 64), (8, 64))
    assert predict(network, path).seconds == predict(network, read_device(path)).seconds > 0
    assert set(found.device.efficiency["eager"]) <= set(CPU)


def test_too_few_blocks_cannot_be_calibrated(obedient, monkeypatch):
    monkeypatch.setattr(calibrating, "blocks", lambda: list(blocks())[:4])
    with pytest.raises(CostlabError, match="needs 8 blocks"):
        calibrating.calibrate("cpu", threads=1)


def test_an_interrupted_calibration_fits_what_was_measured(obedient, monkeypatch):
    seen = []
    whole = calibrating.measure

    def stops(*args, **kwargs):
        seen.append(1)
        if len(seen) > 12:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(calibrating, "measure", stops)
    found = calibrating.calibrate("cpu", threads=1)
    assert found.interrupted
    assert found.blocks == 12


def test_peaks_of_this_machine_are_plausible():
    where = torch.device("cpu")
    assert 1e8 < calibrating.product_flops(where, torch.float32) < 1e14
    assert 1e8 < calibrating.copy_bandwidth(where) < 1e13


def test_measured_peaks_stand_beside_those_of_the_datasheet():
    reached = {"float32": 50e12, "float16": 700e12, "bandwidth": 3e12}
    h100 = find_device("h100")
    peaks = calibrating.beside_datasheet(reached, replace(h100, title="NVIDIA H100 80GB HBM3"))
    assert [(peak.name, peak.datasheet) for peak in peaks] == [
        ("float32", h100.peak_flops("float32")),
        ("float16", h100.peak_flops("float16")),
        ("bandwidth", h100.bandwidth),
    ]
    unknown = calibrating.beside_datasheet(reached, replace(h100, title="Some card"))
    assert {peak.datasheet for peak in unknown} == {None}


def calibrated(median: float = 0.1, ninetieth: float = 0.3, **changes: object) -> Calibration:
    errors = Errors(100, median, ninetieth, 0.9)
    return Calibration(find_device("h100"), errors, errors, 40, 200, False, **changes)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (calibrated(0.26), "26.0% in the median"),
        (calibrated(0.1, 4.11), "411.0% at the 90th percentile"),
        (calibrated(0.9, load=1.2), "the load average was 1.2 per core"),
        (calibrated(0.9, noisy=30), "the times of 30 of 40 networks spread widely"),
    ],
)
def test_a_calibration_that_predicts_badly_is_refused_with_its_likely_reason(found, words):
    assert words in found.problem


def test_a_good_calibration_under_load_says_so_and_is_accepted():
    assert calibrated().busy is calibrated().problem is calibrated(load=0.3, noisy=4).busy is None
    found = calibrated(load=0.8, peaks=(Peak("float16", 7e14, 1e15), Peak("bandwidth", 3e12, None)))
    assert found.problem is None
    lines = report_lines(found)
    assert "  float16    700.0 TFLOP/s in a large matrix product, 1.000 PFLOP/s in the datasheet (70.0% of it)" in lines
    assert "  bandwidth  3.000 TB/s in a large copy" in lines
    assert lines[-1].endswith("run it again on an idle machine")


@pytest.mark.parametrize("force", [False, True])
def test_a_bad_profile_is_written_only_if_forced(force, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(calibrating, "calibrate", lambda *_, **__: calibrated(3.0, 9.0))
    path = tmp_path / "here.toml"
    assert run(["calibrate", "-o", str(path), *(["--force"] if force else [])]) == (0 if force else 2)
    out, err = capsys.readouterr()
    assert "held out   median error 300.0%" in out
    assert path.exists() == force
    assert err.count("\n") == (0 if force else 1)
    assert force or "--force" in err


def test_peaks_of_a_gpu_are_of_three_dtypes(monkeypatch):
    monkeypatch.setattr(calibrating, "product_flops", lambda where, dtype: 1.0)
    monkeypatch.setattr(calibrating, "copy_bandwidth", lambda where: 2.0)
    assert set(calibrating.measured_peaks(torch.device("cuda"))) == {"float32", "float16", "bfloat16", "bandwidth"}
    assert set(calibrating.measured_peaks(torch.device("cpu"))) == {"float32", "bfloat16", "bandwidth"}


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"),
        ("Radeon RX 7900", None),
    ],
)
def test_a_card_is_known_by_what_its_driver_calls_it(title, name):
    known = calibrating.known_card(title)
    assert (known.name if known else None) == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--name", "a b"], "letters, digits"),
        (["-o", "here.json"], "must end in .toml"),
        (["-o", "no/such/folder/here.toml"], "does not exist"),
        (["--threads", "0"], "threads must be 1 or more"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["calibrate", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
