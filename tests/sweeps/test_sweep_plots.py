"""Plots of the tables that sweeps write, in every format and without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot

from costlab import plots
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.models import ModelSpec, profile_of
from costlab.plots._distribution import quantile
from costlab.plots.network_rows import read_rows

ROWS = [
    {"name": f"width={i}", "width": i, "mult_adds": i * 10**8, "predicted_seconds": 1e-3 / i, "error": None}
    for i in range(1, 9)
]
FAILED = {"name": "width=9", "width": 9, "mult_adds": None, "predicted_seconds": None, "error": "no"}


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def written(tmp_path, suffix):
    path = tmp_path / f"sweep{suffix}"
    if suffix == ".parquet":
        import pyarrow
        from pyarrow.parquet import write_table

        write_table(pyarrow.Table.from_pylist([*ROWS, FAILED]), path)
    elif suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, FAILED]))
    else:
        lines = [",".join("" if v is None else str(v) for v in row.values()) for row in [*ROWS, FAILED]]
        path.write_text("\n".join([",".join(FAILED), *lines]) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.slow
def test_every_format_is_drawn_alike_and_without_torch(tmp_path, suffix):
    path = written(tmp_path, suffix)
    drawn = [
        ["distribution", str(path), "-o", "d.svg"],
        ["pareto", str(path), "-y", "predicted_seconds", "-o", "p.svg"],
    ]
    code = (
        "import sys\nfrom costlab.cli import run\n"
        f"assert [run(['plot', *words]) for words in {drawn!r}] == [0, 0]\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "d.svg").stat().st_size > 1000
    axes = plots.distribution(read_rows(path), x="mult_adds")
    xs, shares = axes.lines[0].get_data()
    assert list(xs[1:]) == [row["mult_adds"] for row in ROWS]
    assert list(shares) == [i / 8 for i in range(9)]
    assert any("1 without this number left out" in text.get_text() for text in axes.texts)


def test_columns_can_be_given_by_position():
    assert plots.distribution(ROWS, "mult_adds").get_xlabel() == "mult-adds"
    axes = plots.pareto(ROWS, "mult_adds", "predicted_seconds")
    assert axes.get_xlabel().startswith("mult-adds")
    assert axes.get_ylabel().startswith("predicted time")


def test_profiles_have_a_distribution_too():
    profiles = [profile_of(ModelSpec("zoo:mobilenet_v1", {"width": width}, resolution=32)) for width in (0.25, 0.5)]
    axes = plots.distribution(profiles, x="predicted_seconds", device="rtx3090")
    assert axes.get_xlabel() == "predicted time"
    assert axes.get_title("left") == "2 networks"


def test_the_time_of_one_of_several_devices_is_in_seconds():
    rows = [{"name": "a", "predicted_seconds_i9-10940x": 0.004}, {"name": "b", "predicted_seconds_i9-10940x": 0.005}]
    axes = plots.distribution(rows, x="predicted_seconds_i9-10940x")
    assert axes.get_xlabel() == "predicted time on i9-10940x"
    assert {text.get_text() for text in axes.texts} >= {"4.000 ms", "5.000 ms"}


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30).map(sorted), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(values, share):
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert found in values
    assert sum(value < found for value in values) < share * len(values)


def test_what_cannot_be_drawn_is_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(CostlabError, match="no numbers in column 'nosuch'"):
        plots.distribution(ROWS, x="nosuch")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    for path in ("broken.parquet", "nosuch.parquet"):
        assert run(["plot", "distribution", str(tmp_path / path), "-o", str(tmp_path / "d.svg")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{path} cannot be read: " in line
