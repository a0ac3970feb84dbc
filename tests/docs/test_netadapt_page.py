"""docs/netadapt-measured.md agrees with the measurements, which keep what NetAdapt promises."""

from __future__ import annotations

import json

from generate.netadapt_page import PAGE, PLOT, RESULTS, medians, page


def test_the_page_is_made_of_the_results():
    assert PAGE.read_text() == page(json.loads(RESULTS.read_text()))
    assert PLOT.is_file()


def test_eight_networks_fall_to_within_15_percent_of_what_was_predicted():
    rows = json.loads(RESULTS.read_text())["networks"]
    parts = [(row["measured"][1] / row["measured"][0], row["predicted"][1] / row["predicted"][0]) for row in rows]
    assert sum(abs(measured / predicted - 1) <= 0.15 for measured, predicted in parts) >= 8


def test_medians_are_taken_over_seeds():
    rows = [
        {"method": "dac", "setting": 1, "seed": seed, "measured": value, "predicted": 0.5, "accuracy": 1 - value}
        for seed, value in enumerate((0.1, 0.3, 0.2))
    ]
    assert medians(rows) == {("dac", 1): {"measured": 0.2, "predicted": 0.5, "accuracy": 0.8}}
