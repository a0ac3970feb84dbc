"""The script that collects from a lent GPU: in small, on this CPU, every step runs and its rows can be read back."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

from costlab.experiments.results import read_record
from costlab.latency.devices import read_device
from costlab.measurement.device_activity import OPERATOR, PASS, WHOLE
from costlab.measurement.kernel_trace import read_trace
from costlab.measurement.result import Measurement

sys.path.append(str(Path(__file__).parents[1] / "bench"))
import collect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected")
    with pytest.MonkeyPatch.context() as patch:
        import costlab.measurement.calibration as calibrating
        from costlab.measurement.microbenchmarks import blocks

        cheap = list(blocks())[-8:]
        patch.setattr(calibrating, "blocks", lambda: [block for block in cheap for _ in range(4)])  # --quick: a fourth
        reached = {"float32": 5e10, "bfloat16": 4e10, "bandwidth": 1e10}
        patch.setattr(calibrating, "measured_peaks", lambda where: reached)
        assert collect.main(["--small", "--folder", str(folder)]) == 0
    return folder


def rows(folder: Path, name: str) -> list[dict]:
    with gzip.open(folder / name, "rt") as stream:
        return [json.loads(line) for line in stream]


def test_every_row_is_read_back(collected):
    (row,) = rows(collected, "inference.jsonl.gz")
    found = Measurement.from_json(json.dumps(row))
    assert found.name == "shufflenet_v2"
    assert found.ops
    (training,) = rows(collected, "training.jsonl.gz")
    assert (training["mode"], training["optimizer"]) == ("step", "momentum")
    assert training["peak_bytes"]["measured"] > 0
    (decoding,) = rows(collected, "decoding.jsonl.gz")
    assert decoding["prefill_seconds"] > 0
    assert decoding["decode_seconds"] > 0
    assert read_device(collected / "here.toml").efficiency["eager"]
    assert len({Measurement.from_json(json.dumps(row)).name for row in rows(collected, "blocks.jsonl.gz")}) == 8
    for batch in (1, 2):
        assert read_record(collected / "experiments" / f"cpu-batch{batch}" / "g1.json").batch == batch
    assert json.loads((collected / "environment.json").read_text())["torch"]


def test_the_exported_trace_has_a_range_for_every_operator_of_every_pass(collected):
    with gzip.open(collected / "trace.json.gz", "rt") as stream:
        text = stream.read()
    names = json.loads(text)["costlab"]["operators"]
    ranges = [one.name for one in read_trace(text).ranges]
    assert ranges.count(WHOLE) == ranges.count(PASS) == 2
    marked = [name for name in ranges if name.startswith(f"{OPERATOR} ")]
    assert marked == [f"{OPERATOR} {i}" for i in range(len(names))] * 2


def test_what_fails_or_comes_too_late_is_named(tmp_path, monkeypatch, capsys):
    def fails(job):
        yield
        raise RuntimeError("no such kernel")

    job = collect.Job(collect.torch.device("cpu"), tmp_path, True)
    monkeypatch.setattr(collect, "STEPS", (fails,))
    assert collect.collect(job, 60.0) == ["fails: RuntimeError: no such kernel"]
    assert collect.collect(job, -1.0) == ["fails: not finished, -1 s are over"]
