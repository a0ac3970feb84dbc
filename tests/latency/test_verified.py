"""Marks of devices on which nothing was measured, wherever a prediction for one is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from helpers.guideline_networks import network

import costlab
from costlab.cli import run
from costlab.comparison import compare
from costlab.latency import devices
from costlab.latency.devices import find_device, list_devices
from costlab.latency.verified import mark_of
from costlab.plots import breakdown, distribution, pareto, roofline, stages, treemap
from costlab.reports import comparison, header

UNVERIFIED, VERIFIED = "raspberry-pi-4", "rtx3090"


def test_what_was_measured_is_what_the_page_on_latency_judges():
    page = (Path(__file__).parents[2] / "docs" / "latency.md").read_text()
    (judged,) = (line for line in page.splitlines() if line.startswith("- devices and what the numbers"))
    names = {words.split()[0] for words in judged.rpartition(": ")[2].split(", ")}
    assert names == {name for name in list_devices() if find_device(name).verified}
    assert all(find_device(name).measured for name in names)


def test_a_device_with_parameters_of_its_own_was_measured(tmp_path):
    pi = find_device(UNVERIFIED)
    fitted = replace(pi, efficiency={"eager": {"overlap": 2.0}})
    reference = replace(pi, efficiency={"reference": "i9-10940x"})
    for name, device in (("fitted", fitted), ("reference", reference), ("same", find_device(VERIFIED)), ("pi", pi)):
        devices.write_device(device, tmp_path / f"{name}.toml")
    read = {path.stem: find_device(path) for path in tmp_path.iterdir()}
    assert {name for name, device in read.items() if device.verified} == {"fitted", "same"}
    prediction = costlab.predict(network("MobileNet V2"), read["reference"])
    assert not prediction.verified
    assert [mark_of(name) for name in (VERIFIED, UNVERIFIED, "gone")] == ["", ", unverified", ""]


@pytest.fixture(params=[UNVERIFIED, VERIFIED, "path"])
def device(request, tmp_path):
    """A device by name, and one by the path of a file."""
    if request.param != "path":
        return request.param
    devices.write_device(replace(find_device(UNVERIFIED), title="a box"), tmp_path / "here.toml")
    return str(tmp_path / "here.toml")


def test_every_view_of_a_prediction_says_so(device, capsys):
    profile = network("MobileNet V2")
    prediction = costlab.predict(profile, device)
    shown = ["\n".join(fact.value for fact in header.facts(profile, prediction)), prediction._repr_html_()]
    shown.append(comparison.markdown(compare(profile, profile, device=device), [], 3))
    for plot in (breakdown, roofline, stages, treemap):
        figure = plot(profile, device=device).get_figure()
        titles = [axes.get_title(where) for axes in figure.axes for where in ("left", "center")]
        shown.append(" ".join([*titles, *(text.get_text() for axes in figure.axes for text in axes.texts)]))
        plt.close(figure)
    for words in (["report", "mobilenet_v2"], ["lint", "mobilenet_v2", "--isolated"]):
        for form in ("text", "markdown"):
            run([*words, "--device", device, "--top", "3", "--format", form])
            shown.append(capsys.readouterr().out)
    assert [("unverified" in each) for each in shown] == [device != VERIFIED] * len(shown), shown


def test_plots_of_several_networks_say_so_and_tell_equal_names_apart(device):
    profiles = [network("MobileNet V2"), network("MobileNet V1"), network("MobileNet V2")]
    names = [f"{profiles[0].name} [0]", profiles[1].name, f"{profiles[2].name} [2]"]
    axes = pareto(profiles, "params", "predicted_seconds", device=device)
    texts = [text.get_text() for text in axes.texts]
    assert all(any(name in text for text in texts) for name in (names[0], names[2]))
    for drawn in (axes, distribution(profiles, "predicted_seconds", device=device)):
        title = " ".join(
            [*(drawn.get_title(where) for where in ("left", "center")), *(t.get_text() for t in drawn.texts)]
        )
        assert f"predicted on {Path(device).stem}" in title
        assert ("unverified" in title) == (device != VERIFIED)
        plt.close(drawn.get_figure())


@pytest.mark.parametrize("device", [UNVERIFIED, VERIFIED])
def test_columns_of_tables_that_name_a_device_say_so(device):
    drawn = pareto([{f"predicted_seconds_{device}": 1e-3, "params": 1}], "params", f"predicted_seconds_{device}")
    assert ("unverified" in drawn.get_ylabel()) == (device == UNVERIFIED)
    plt.close(drawn.get_figure())


def test_documents_say_so(device, capsys):
    for words, key in ((["report"], "latency"), (["lint", "--isolated"], None)):
        run([*words, "mobilenet_v2", "--device", device, "--format", "json"])
        document = json.loads(capsys.readouterr().out)
        assert (document[key] if key else document)["verified"] is (device == VERIFIED)
    assert run(["devices", "show", device, "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["devices"]
    assert (entry["measured"] is not None) == (device == VERIFIED)
