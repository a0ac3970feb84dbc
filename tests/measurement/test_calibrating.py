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
from costlab.latency.efficiency import START, efficiency_of
from costlab.measurement.microbenchmarks import blocks
from costlab.measurement.result import Measurement, Timing
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow

TRUE = {**calibrating.EAGER_CPU, "bandwidth": 0.5, "matmul": 0.9, "transcendental": 30.0, "launch_seconds": 8e-6}


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
    monkeypatch.setattr(calibrating, "machine", lambda where, name, threads: replace(device, name=name))

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
    assert set(found.device.efficiency["eager"]) <= set(START)


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
