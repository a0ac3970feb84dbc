"""Anchors: a network measured on a device tells what its datasheet does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import costlab
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.devices import find_device
from costlab.latency.efficiency import efficiency_of
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import KernelTable, lower
from costlab.latency.roofline import RooflineModel, whole_seconds
from costlab.measurement.anchor import anchored, launch
from costlab.measurement.result import DeviceActivity, Measurement, Timing
from costlab.models import ModelSpec, profile_of

SLOWER = {"batch_norm": 1.5, "convolution": 1.3, "pointwise_convolution": 1.3, "normalisation": 1.4, "stream": 1.2}
NETWORKS = ("torchvision:resnet18", "zoo:mobilenet_v2")


def slow_card() -> Device:
    """An RTX 3090 on which some kernels take longer, and each launch twice as long."""
    card = find_device("rtx3090")
    values = efficiency_of(card, "eager")
    values |= {name: values[name] / factor for name, factor in SLOWER.items()}
    return replace(card, efficiency={"eager": values | {"launch_seconds": 2 * values["launch_seconds"]}})


def measurement(name: str, device: Device, batch: int) -> Measurement:
    """What measuring a network on a device would give, if the latency model were exact for it."""
    network = profile_of(ModelSpec(name, batch=batch))
    found = costlab.predict(network, device)
    model = RooflineModel(KernelTable(lower(network, network, ExecutionConfig(device)), len(network.ops)), device)
    busy = float(model.terms(efficiency_of(device, "eager")).seconds.sum())
    return Measurement(
        name=name.partition(":")[2],
        provider=name.partition(":")[0],
        arguments={},
        device="cuda:0",
        dtype="float32",
        amp=False,
        channels_last=False,
        compiled=False,
        threads=1,
        batch=batch,
        inputs=network.trace.inputs,
        whole=Timing((found.seconds,)),
        ops={op: Timing((seconds,)) for op, seconds in found.by_op.items()},
        left_out=(),
        environment={},
        activity=DeviceActivity("kernels", busy=Timing((busy,))),
    )


def written(folder: Path, found: Measurement) -> Path:
    path = folder / "measured.json"
    path.write_text(found.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize(("anchor", "other"), [NETWORKS, NETWORKS[::-1]])
def test_an_anchor_brings_other_networks_closer(anchor, other, tmp_path):
    truth, card = slow_card(), find_device("rtx3090")
    better = anchored(card, written(tmp_path, measurement(anchor, truth, batch=64)))
    network = profile_of(ModelSpec(other))
    real, plain, with_anchor = (costlab.predict(network, device, batch=64).seconds for device in (truth, card, better))
    assert abs(with_anchor / real - 1) < 0.65 * abs(plain / real - 1)  # MobileNet V2 has one 3 x 3 convolution


def test_an_anchor_that_waits_for_the_cpu_tells_the_time_of_a_launch(tmp_path):
    truth = slow_card()
    better = anchored(find_device("rtx3090"), written(tmp_path, measurement("zoo:mobilenet_v2", truth, batch=16)))
    expected = efficiency_of(truth, "eager")["launch_seconds"]
    assert efficiency_of(better, "eager")["launch_seconds"] == pytest.approx(expected, rel=0.1)


def test_a_busy_device_says_only_that_launches_are_not_slower_than_the_pass():
    values = {"launch_seconds": 20e-6}
    assert launch(values, whole=1.0, works=0.99, launches=1000) == 20e-6
    assert launch(values, whole=1e-3, works=0.99e-3, launches=100) == 1e-5
    assert launch(values, whole=1.0, works=0.99, launches=1000, least=0.03) == pytest.approx(30e-6)


def test_the_launch_of_a_device_that_waits_is_that_of_the_models_own_equation():
    found = launch({"launch_seconds": 20e-6}, whole=1.0, works=0.7, launches=1000)
    assert whole_seconds(0.7, 1000 * found, {"start_seconds": 0.0}) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": "cpu"}, "measured on cpu, but rtx3090 is a device of type cuda"),
        ({"compiled": True}, "an anchor is an eager forward pass; measure without --compile and --mode"),
        ({"ops": {}}, "has no operators of these names any more"),
        ({"provider": "python", "name": "Net"}, "an anchor is a network of a library"),
    ],
)
def test_what_is_no_anchor_is_refused_in_one_line(change, words, tmp_path):
    found = replace(measurement("torchvision:resnet18", find_device("rtx3090"), 1), **change)
    with pytest.raises(CostlabError, match=words) as error:
        anchored(find_device("rtx3090"), written(tmp_path, found))
    assert "\n" not in str(error.value)


def test_a_report_takes_an_anchor(tmp_path, capsys):
    path = written(tmp_path, measurement("torchvision:resnet18", slow_card(), batch=64))
    seconds = []
    for anchor in ([], ["--anchor", str(path)]):
        words = ["report", "torchvision:resnet18", "--batch", "64", "--device", "rtx3090", *anchor, "--format", "json"]
        assert run(words) == 0
        seconds.append(json.loads(capsys.readouterr().out)["latency"]["predicted_seconds"])
    assert seconds[1] > 1.1 * seconds[0]
    assert run(["report", "torchvision:resnet18", "--anchor", str(path)]) == 2
    assert "--anchor needs the device that it was measured on" in capsys.readouterr().err
