"""The table of metrics has a row for every number of a cost, and its columns agree with the dataclasses."""

from __future__ import annotations

from dataclasses import fields

import pytest

from costlab.core.cost import COST_KEYS, Cost
from costlab.core.metrics import MEASURED, METRICS, PREDICTED, SORTABLE, metric_named, sortable_metric
from costlab.core.profile import CostRow, Total
from costlab.errors import CostlabError
from costlab.tracing._profile import profile

NUMBERS = [name for name in dir(Total) if not (name.startswith("_") or name == "ops" or callable(getattr(Total, name)))]


def test_every_number_of_a_network_is_a_metric():
    assert set(METRICS) == {*NUMBERS, PREDICTED, MEASURED}
    assert all(key == metric.key for key, metric in METRICS.items())


def test_stored_metrics_are_the_fields_of_a_cost():
    assert {key for key, metric in METRICS.items() if metric.stored} == {field.name for field in fields(Cost)}
    assert set(COST_KEYS) == {field.name for field in fields(Cost)}


def test_a_metric_of_modules_is_a_number_of_their_rows():
    row = CostRow(mult_adds=3, read_bytes=2)
    for key, metric in METRICS.items():
        if key not in (PREDICTED, MEASURED, "arithmetic_intensity"):
            assert hasattr(row, key) is metric.per_module


def test_units_follow_names():
    for key, metric in METRICS.items():
        expected = "B" if "bytes" in key else "s" if "seconds" in key else "FLOP/B" if "intensity" in key else ""
        assert metric.unit == expected


def test_values_are_formatted_in_their_unit():
    assert METRICS["mult_adds"].format(300_774_272) == "300.8 M"
    assert METRICS["param_bytes"].format(9_633_792) == "9.634 MB"
    assert METRICS[PREDICTED].format(0.0012345) == "1.234 ms"
    assert METRICS["arithmetic_intensity"].format(None) == "-"


@pytest.mark.parametrize("name", ["mult_adds", "mult-adds", " Mult adds ", "MULT_ADDS"])
def test_names_may_have_dashes_or_spaces(name):
    assert metric_named(name).key == "mult_adds"


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(CostlabError, match="unknown metric 'mult_add'; nearest: mult_adds"):
        metric_named("mult_add")
    with pytest.raises(CostlabError, match="unknown metric 'zzz'; choose one of mult_adds, "):
        metric_named("zzz")


def test_tables_are_sorted_by_what_is_known():
    assert all(sortable_metric(key) == key for key in SORTABLE)
    assert sortable_metric("predicted-seconds", timed=True) == PREDICTED
    with pytest.raises(CostlabError, match="--device"):
        sortable_metric(PREDICTED)


def test_a_printed_profile_has_its_totals_and_what_they_leave_out():
    from torch import nn

    linear = profile(nn.Linear(100, 10), (2, 100), name="small")
    assert str(linear) == (
        "small (python): 2.000 k mult-adds, 1.010 k params, 1.230 k memory access, 880 B peak activation"
    )
    unknown = profile(nn.ReLU(), (2, 4), rules={})
    assert str(unknown).endswith("; not counted: relu x1")
