"""Design spaces as text, samples of them, the keys of their rows, and conditions on rows."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.errors import CostlabError
from costlab.sweeps.axes import parse_axis
from costlab.sweeps.columns import all_columns
from costlab.sweeps.rows import row_task
from costlab.sweeps.space import shuffled, space_of

FACTORY = {"factory": "zoo:mobilenet_v1"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.25:1.0:0.25", [0.25, 0.5, 0.75, 1.0]),
        ("12:15", [12, 13, 14, 15]),
        ("224:128:-32", [224, 192, 160, 128]),
        ("0:1:0.3", [0.0, 0.3, 0.6, 0.9]),
        ("1,8:16:4,2.5", [1, 8, 12, 16, 2.5]),
        ("128", [128]),
        ("relu,gelu", ["relu", "gelu"]),
        ("[3,4,6],[2,2,2]", [[3, 4, 6], [2, 2, 2]]),
        ("'a,b',c", ["a,b", "c"]),
        ("true,none", [True, None]),
        ("1e-3:3e-3:1e-3", [0.001, 0.002, 0.003]),
        ("a:b", ["a:b"]),
    ],
)
def test_text_is_values(text, values):
    axis = parse_axis("width", text)
    assert list(axis) == values
    assert [type(value) for value in axis] == [type(value) for value in values]
    assert len(axis) == len(values)


def test_a_range_of_decimals_is_exact():
    values = list(parse_axis("width", "0.25:1.0:0.05"))
    assert len(values) == 16
    assert values == [float(Decimal("0.25") + i * Decimal("0.05")) for i in range(16)]
    assert values[-1] == 1.0


@given(st.decimals(-1000, 1000, places=3), st.decimals("0.001", 10, places=3), st.integers(0, 200))
def test_a_range_has_every_step_to_its_end(start, step, steps):
    stop = start + steps * step
    values = list(parse_axis("x", f"{start}:{stop}:{step}"))
    assert values == [float(start + i * step) for i in range(steps + 1)]


@pytest.mark.parametrize(
    ("given_values", "message"),
    [
        ("1:2:0", "a step of 0"),
        ("2:1", "is empty"),
        ("1:9e99", "more than"),
        ("1,2,1", "1 twice"),
        ([], "no values"),
        ([object()], "plain data"),
    ],
)
def test_an_invalid_axis_is_rejected(given_values, message):
    with pytest.raises(CostlabError, match=message):
        parse_axis("width", given_values)


def test_points_come_in_the_order_of_the_axes_the_last_one_fastest():
    space = space_of({**FACTORY, "arguments": {"width": [0.5, 1.0]}, "resolution": "32,64"})
    assert list(space) == [
        {"width": 0.5, "resolution": 32},
        {"width": 0.5, "resolution": 64},
        {"width": 1.0, "resolution": 32},
        {"width": 1.0, "resolution": 64},
    ]


@given(st.integers(1, 300), st.integers(0, 2**70))
def test_a_shuffle_has_every_number_once(size, seed):
    assert sorted(shuffled(i, size, seed) for i in range(size)) == list(range(size))


def test_a_sample_favours_no_number():
    drawn = [shuffled(0, 10, seed) for seed in range(4000)]
    counts = [drawn.count(number) for number in range(10)]
    assert sum((count - 400) ** 2 / 400 for count in counts) < 27.9  # chi-squared, 9 degrees, one in a thousand


def test_a_space_too_large_to_list_is_sampled_at_once():
    arguments = {f"a{i}": "1:1000000000" for i in range(10)}
    space = space_of({**FACTORY, "arguments": arguments, "sample": 5, "seed": 3})
    assert space.size == 10**90
    points = list(space)
    assert len({json.dumps(point) for point in points}) == 5
    assert points == list(space_of({**FACTORY, "arguments": arguments, "sample": 5, "seed": 3}))
    assert points != list(space_of({**FACTORY, "arguments": arguments, "sample": 5, "seed": 4}))


def test_a_larger_sample_begins_with_the_smaller():
    small, large = (space_of({**FACTORY, "arguments": {"a": "1:1000"}, "sample": n}) for n in (10, 500))
    assert list(large)[:10] == list(small)


def test_a_sample_is_no_larger_than_its_space():
    assert sorted(p["a"] for p in space_of({**FACTORY, "arguments": {"a": "1:7"}, "sample": 100})) == list(range(1, 8))


@given(st.integers(1, 40), st.integers(1, 50))
def test_parts_in_their_order_are_the_whole(parts, size):
    whole = {**FACTORY, "arguments": {"a": f"1:{size}"}}
    split = [point for k in range(parts) for point in space_of({**whole, "part": f"{k + 1}/{parts}"})]
    assert split == list(space_of(whole))


def test_a_key_tells_apart_what_changes_a_row_and_nothing_else():
    base = {**FACTORY, "arguments": {"width": [0.5, 1]}, "device": "rtx3090"}
    others = [
        {**base, "factory": "zoo:mobilenet_v2"},
        {**base, "device": "i9-10940x"},
        {**base, "device": ["rtx3090", "i9-10940x"]},
        {**base, "amp": True},
        {**base, "fusion": "bn"},
        {**base, "channels-last": True},
        {**base, "input": "1,3,64,64"},
    ]
    same = [
        {**base, "where": "params<4M"},
        {**base, "timeout": 3},
        {**base, "sample": 2, "seed": 9},
        {**base, "arguments": {"width": "0.1:1:0.1"}},
        {**base, "part": "1/2"},
    ]
    keys = [space_of(document).key({"width": 0.5}) for document in (base, *others)]
    assert len(set(keys)) == len(keys)
    assert {space_of(document).key({"width": 0.5}) for document in same} == {keys[0]}
    assert space_of(base).key({"width": 1}) != keys[0]


def test_a_key_changes_with_the_file_of_the_factory(tmp_path):
    file = tmp_path / "nets.py"
    file.write_text("def net(): pass")
    before = space_of({"factory": f"{file}:net"}).key({})
    assert space_of({"factory": f"{file}:net"}).key({}) == before
    file.write_text("def net(): return 1")
    assert space_of({"factory": f"{file}:net"}).key({}) != before


def test_a_toml_file_is_a_space_and_options_come_first(tmp_path):
    (tmp_path / "nets.py").write_text("")
    (tmp_path / "space.toml").write_text(
        'factory = "nets.py:net"\nsample = 10\ndevice = "rtx3090"\n'
        '[arguments]\nwidth = "1:100"\nblocks = [[1, 2]]\nact = "relu"\n'
    )
    space = space_of(tmp_path / "space.toml", {"sample": 3, "arguments": {"width": "1:50"}})
    assert space.factory == f"{tmp_path / 'nets.py'}:net"
    assert (len(space), space.size) == (3, 50)
    assert [device.name for device in space.devices] == ["rtx3090"]
    assert all((point["act"], point["blocks"]) == ("relu", [1, 2]) for point in space)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"arguments": {}}, "factory"),
        ({**FACTORY, "sampel": 3}, "did you mean 'sample'"),
        ({**FACTORY, "sample": 0}, "sample"),
        ({**FACTORY, "arguments": [1]}, "arguments"),
        ({**FACTORY, "arguments": {"a b": 1}}, "is not a valid argument name"),
        ({**FACTORY, "arguments": {"batch": 1}, "batch": 2}, "give it once"),
        ({**FACTORY, "device": "nosuch"}, "no device"),
        ({**FACTORY, "amp": True}, "name a device"),
        ({**FACTORY, "training": {"optimizer": "adam"}}, 'needs mode = "step"'),
        ({**FACTORY, "mode": "step", "training": {"optimiser": "adam"}}, "nearest: optimizer"),
        ({**FACTORY, "mode": "step", "training": {"optimizer": "adamm"}}, "nearest: adam"),
        ({**FACTORY, "mode": "step", "training": {"accumulate": "2"}}, "accumulate must be a whole number"),
        ({**FACTORY, "mode": "steps"}, "mode"),
        ({**FACTORY, "part": "3/2"}, "part 3/2 does not exist"),
        ({**FACTORY, "part": "half"}, "part"),
        ({**FACTORY, "timeout": 0}, "timeout"),
        ({"factory": "profile.json"}, "takes a factory"),
        ({"factory": "nosuch.py:net"}, "does not exist"),
        (3, "a space is a TOML file or a mapping such as"),
        ({"factory": len}, "name it, as in 'nets.py:build'"),
    ],
)
def test_an_invalid_space_is_rejected_in_one_line(document, message):
    with pytest.raises(CostlabError, match=message) as caught:
        space_of(document)
    assert "\n" not in str(caught.value)


def test_a_broken_toml_file_is_named(tmp_path):
    (tmp_path / "space.toml").write_text("factory = ")
    with pytest.raises(CostlabError, match=r"space.toml is not valid TOML"):
        space_of(tmp_path / "space.toml")


def test_what_crosses_to_workers_is_plain_data():
    space = space_of({**FACTORY, "arguments": {"width": "0.25:1:0.25"}, "device": "rtx3090"})
    assert pickle.loads(pickle.dumps(row_task(space))) == row_task(space)


def test_an_argument_that_is_called_as_a_cost_steps_aside():
    columns = all_columns(space_of({**FACTORY, "arguments": {"params": 1, "error": 2, "width": 3}}))
    assert columns[:4] == ("name", "argument_params", "argument_error", "width")
    assert len(set(columns)) == len(columns)
