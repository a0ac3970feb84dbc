"""Local sweeps: every row exactly once, whatever happens during the sweep."""

from __future__ import annotations

import csv
import errno
import json
import random
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from helpers.killed_sweeps import TINY, killed_and_resumed, started
from helpers.processes import descendants, processes_in, rows_in, until

import costlab
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.latency._predict import predict
from costlab.models import ModelSpec, profile_of
from costlab.sweeps import _sweep, journal
from costlab.sweeps.pools import WorkerPool
from costlab.sweeps.rows import FinishedRow, compute_rows, row_task
from costlab.sweeps.space import space_of

pytestmark = pytest.mark.slow

SIZED = f"{Path(__file__).parents[1] / 'helpers' / 'sweep_networks.py'}:sized"


def tiny(**more):
    """A space of eight tiny networks."""
    arguments = {"width": "1:4", "depth": [1, 2], **more.pop("arguments", {})}
    return {"factory": TINY, "arguments": arguments, "resolution": 8, **more}


def troubled(trouble, **more):
    """The same, with trouble at one of the widths."""
    return tiny(arguments={"depth": 1, "trouble": trouble, "at": "3", **more.pop("arguments", {})}, **more)


def here(space):
    """The rows of a space, made in this process."""
    space = space_of(space)
    lines = [json.loads(row.line) for row in compute_rows(row_task(space), range(len(space)))]
    return [{key: value for key, value in line.items() if key not in ("key", "seconds")} for line in lines]


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_a_row_has_the_values_of_profile_lint_and_predict():
    space = {"factory": "zoo:mobilenet_v1", "arguments": {"width": 0.5, "resolution": 64}, "device": "rtx3090"}
    (row,) = here(space)
    profile = profile_of(ModelSpec("zoo:mobilenet_v1", {"width": 0.5, "resolution": 64}))
    for key in ("mult_adds", "params", "memory_access", "flops", "peak_activation_bytes", "arithmetic_intensity"):
        assert row[key] == getattr(profile.total, key)
    assert row["predicted_seconds"] == predict(profile, "rtx3090").seconds
    verdicts = {verdict.rule: verdict for verdict in costlab.lint(profile).verdicts}
    assert {code: row[code] for code in ("G1", "G2", "G3", "G4")} == {
        code: verdicts[code].verdict for code in ("G1", "G2", "G3", "G4")
    }
    assert row["G4_share"] == verdicts["G4"].share
    assert row["error"] is None


def test_a_row_of_a_step_is_that_of_its_profile():
    training = {"optimizer": "adamw", "freeze": "features.0"}
    space = {
        "factory": "zoo:mobilenet_v1",
        "arguments": {"width": 0.25},
        "mode": "step",
        "training": training,
        "amp": True,
    }
    (row,) = here({**space, "batch": 4, "device": "rtx3090"})
    options = {"mode": "step", "training": {**training, "amp": True}}
    profile = profile_of(ModelSpec("zoo:mobilenet_v1", {"width": 0.25}, batch=4, **options))
    for key in ("mult_adds", "peak_bytes", "saved_bytes", "gradient_bytes", "optimizer_bytes", "trainable_params"):
        assert row[key] == getattr(profile.total, key) > 0
    assert row["predicted_seconds"] == predict(profile, "rtx3090").seconds


def test_the_repr_of_a_sweep_is_one_short_line(threads):
    found = costlab.sweep(tiny(), threads)
    assert repr(found) == f"Sweep of {TINY}: {len(found)} networks, {len(found.columns)} columns"


def test_processes_threads_and_this_process_make_the_same_rows(threads):
    expected = here(tiny(device="rtx3090"))
    assert list(costlab.sweep(tiny(device="rtx3090"), jobs=2)) == expected
    assert list(costlab.sweep(tiny(device="rtx3090"), threads)) == expected
    assert [(row["width"], row["depth"]) for row in expected] == [(w, d) for w in (1, 2, 3, 4) for d in (1, 2)]


def test_a_resolution_is_an_argument_only_where_the_factory_takes_it(threads):
    (taken,) = costlab.sweep({"factory": SIZED, "arguments": {"resolution": 6}, "input": "1,3,6,6"}, threads)
    (changed,) = costlab.sweep({"factory": TINY, "arguments": {"width": 2, "resolution": 6}}, threads)
    assert taken["params"] == 6 * 2 + 2
    assert changed["mult_adds"] == 6 * 6 * 2 * 3 * 3 * 3
    assert taken["resolution"] == changed["resolution"] == 6


def test_what_is_wrong_with_a_network_is_the_error_of_its_row_alone(threads):
    rows = list(costlab.sweep(troubled("raise"), threads))
    assert [row["error"] is None for row in rows] == [True, True, False, True]
    assert rows[2]["error"].endswith("raises RuntimeError: no network at <object object>")
    assert rows[2]["width"] == 3
    assert rows[2]["mult_adds"] is None
    assert "SystemExit" in list(costlab.sweep(troubled("exit"), threads))[2]["error"]


def test_a_network_that_hangs_is_an_error_and_its_process_lives_on():
    rows = list(costlab.sweep(troubled("swallow", timeout=1), jobs=1))
    assert [row["error"] for row in rows] == [None, None, "takes longer than 1 s", None]


def test_in_threads_too_a_network_that_runs_for_ever_is_stopped(threads):
    rows = list(costlab.sweep(troubled("spin", timeout=0.5), threads))
    assert [row["error"] for row in rows] == [None, None, "takes longer than 0.5 s", None]


def test_a_network_that_takes_its_process_along_is_the_only_one_with_an_error():
    rows = list(costlab.sweep(troubled("die", arguments={"width": "1:12"}), jobs=2))
    assert {row["width"]: row["error"] for row in rows if row["error"]} == {3: _sweep.DIED}
    assert len(rows) == 12


def test_a_network_that_keeps_python_from_running_is_ended_with_its_process():
    rows = list(costlab.sweep(troubled("stuck", timeout=0.3, arguments={"width": "2:3"}), jobs=1))
    assert [row["error"] for row in rows] == [None, _sweep.DIED]


def test_a_thread_that_a_network_left_does_not_keep_a_sweep_from_ending():
    assert [row["error"] for row in costlab.sweep(troubled("thread"), jobs=2)] == [None] * 4


@pytest.mark.parametrize("trouble", ["process", "process-then-die"])
def test_a_process_that_a_network_left_ends_with_the_sweep(trouble, tmp_path):
    rows = list(costlab.sweep(troubled(trouble, arguments={"folder": str(tmp_path)}), jobs=2))
    assert [row["error"] is None for row in rows] == [True, True, trouble == "process", True]
    until(lambda: not processes_in(tmp_path), 20)


def test_a_process_that_dies_once_leaves_no_error(tmp_path):
    rows = list(costlab.sweep(troubled("die-once", arguments={"mark": str(tmp_path / "mark")}), jobs=2))
    assert [row["error"] for row in rows] == [None] * 4


class Fragile(Executor):
    """An executor that is broken at every third submission, until it is replaced."""

    def __init__(self):
        self.submissions = 0

    def submit(self, function, /, *args):
        self.submissions += 1
        if self.submissions % 3 == 0:
            raise BrokenExecutor
        future = Future()
        future.set_result(function(*args))
        return future


def test_a_process_that_dies_between_two_chunks_loses_none(monkeypatch):
    made = []

    def renewed():
        made.append(Fragile())
        return made[-1]

    monkeypatch.setattr(
        _sweep.pools, "caller_executor", lambda executor: nullcontext(WorkerPool(executor, lambda: 1, renewed))
    )
    assert list(costlab.sweep(tiny(), renewed())) == here(tiny())
    assert len(made) > 1


def test_an_executor_of_the_caller_is_left_open(threads):
    list(costlab.sweep(tiny(), threads))
    assert threads.submit(int).result() == 0


def test_a_sweep_goes_on_from_its_journal(tmp_path, threads):
    path = tmp_path / "journal.jsonl"
    costlab.sweep(tiny(), threads, journal=path)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]) + whole.splitlines()[3][:40])  # torn
    rows = costlab.sweep(tiny(), threads, journal=path)
    assert (rows.state.known, rows.state.computed) == (3, 5)
    assert list(rows) == here(tiny())
    assert len(path.read_bytes().splitlines()) == 8
    assert costlab.sweep(tiny(), threads, journal=path).state.computed == 0


def test_a_larger_space_makes_what_is_missing_of_it(tmp_path, threads):
    path = tmp_path / "journal.jsonl"
    costlab.sweep(tiny(arguments={"width": "1:2"}), threads, journal=path)
    rows = costlab.sweep(tiny(), threads, journal=path)
    assert (rows.state.known, rows.state.computed) == (4, 4)
    assert list(rows) == here(tiny())


def test_failed_rows_are_made_again_where_that_is_asked_for(tmp_path, threads):
    path = tmp_path / "journal.jsonl"
    space = troubled("raise")
    costlab.sweep(space, threads, journal=path)
    assert costlab.sweep(space, threads, journal=path).state.computed == 0
    assert costlab.sweep(space, threads, journal=path, retry=True).state.computed == 1


def test_a_row_that_comes_twice_is_taken_once(tmp_path):
    with journal.open_journal(tmp_path / "journal.jsonl") as file:
        offsets, state = _sweep.known_rows(space_of(tiny()), file, retry=False)
        row = FinishedRow(0, 0.1, False, '{"key": "a", "error": null}\n')
        _sweep.record([row, row], file, offsets, state)
        _sweep.record([row], file, offsets, state)
    assert state.computed == 1
    assert (tmp_path / "journal.jsonl").read_text() == row.line


def test_two_sweeps_cannot_write_one_journal(tmp_path, threads):
    with (
        journal.open_journal(tmp_path / "journal.jsonl"),
        pytest.raises(CostlabError, match=r"another sweep is writing .*journal\.jsonl"),
    ):
        costlab.sweep(tiny(), threads, journal=tmp_path / "journal.jsonl")


@pytest.mark.parametrize("content", [b"name,width\n", b'{"a": 1}\n'])
def test_a_file_that_is_not_a_journal_is_left_alone(tmp_path, content, threads):
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(CostlabError, match="is not a sweep journal"):
        costlab.sweep(tiny(), threads, journal=tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_bytes() == content


def test_a_full_disk_is_one_line_and_loses_no_row(tmp_path, threads, monkeypatch):
    path = tmp_path / "journal.jsonl"
    write, room = journal.write_all, [3000]

    def full(file, data):
        write(file, data[: room[0]])
        room[0] -= min(room[0], len(data))
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "write_all", full)
    monkeypatch.setattr(_sweep, "CHUNK_SECONDS", 0.001)
    monkeypatch.setattr(_sweep, "FIRST_CHUNK", 1)
    with pytest.raises(CostlabError, match="no space left on device; its rows are safe"):
        costlab.sweep(tiny(), threads, journal=path)
    kept = path.read_bytes()
    assert 0 < len(kept) <= 3000
    assert kept.endswith(b"\n")
    monkeypatch.setattr(journal, "write_all", write)
    rows = costlab.sweep(tiny(), threads, journal=path)
    assert rows.state.known == kept.count(b"\n")
    assert list(rows) == here(tiny())


def test_a_worker_of_another_version_is_not_believed(monkeypatch):
    space = space_of(tiny())
    space.versions["torch"] = "1.0"
    task = row_task(space)
    monkeypatch.setattr("costlab.sweeps.rows.this_process", lambda: ("elsewhere", 1))
    with pytest.raises(CostlabError, match=r"has torch .*, not 1\.0"):
        compute_rows(task, ())


def test_a_script_without_its_guard_gets_an_error_that_says_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import costlab\ncostlab.sweep({tiny()!r}, jobs=1)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert 'under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_rows_can_be_chosen_ranked_and_laid_out(tmp_path, threads):
    rows = costlab.sweep(troubled("raise", arguments={"depth": [1, 2]}, device="rtx3090"), threads)
    assert len(rows) == 8
    assert [row["params"] for row in rows.top(2, "params")] == sorted(r["params"] for r in rows if r["params"])[:2]
    assert rows.top(1, "params", largest=True)[0]["width"] == 4
    assert [row["error"] is None for row in rows.top(8, "params")] == [True] * 6 + [False] * 2
    assert {row["width"] for row in rows.where("width>=3 and params>0")} == {4}
    front = rows.frontier("predicted_seconds", "mult_adds", larger=["mult_adds"])
    good = [row for row in rows if row["error"] is None]
    assert [row["name"] for row in front] == [
        row["name"]
        for row in sorted(good, key=lambda r: r["predicted_seconds"])
        if not any(
            (o["predicted_seconds"] <= row["predicted_seconds"] and o["mult_adds"] > row["mult_adds"])
            or (o["predicted_seconds"] < row["predicted_seconds"] and o["mult_adds"] >= row["mult_adds"])
            for o in good
        )
    ]
    with pytest.raises(CostlabError, match="no column 'nosuch'"):
        rows.top(1, "nosuch")
    frame = rows.to_pandas()
    assert list(frame.columns) == list(rows.columns)
    assert len(frame) == 8
    for suffix in (".csv", ".jsonl", ".parquet"):
        rows.save(tmp_path / f"rows{suffix}")
    import pyarrow.parquet

    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert lines == list(rows)
    assert pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist() == lines
    with (tmp_path / "rows.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["mult_adds"] for row in table] == ["" if r["mult_adds"] is None else str(r["mult_adds"]) for r in lines]


def test_mixed_and_nested_arguments_can_be_laid_out(tmp_path, threads):
    import pyarrow.parquet

    space = tiny(arguments={"depth": [1, "two", [3]], "width": 2, "seconds": [0, 0.001]})
    rows = costlab.sweep(space, threads)
    rows.save(tmp_path / "rows.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["depth"] == ["1", "1", "two", "two", "[3]", "[3]"]
    assert table["argument_seconds"] == [0.0, 0.001] * 3


def test_no_csv_cell_is_a_formula_and_concatenated_parts_are_the_whole(tmp_path, threads):
    space = tiny(arguments={"width": [1, "=1+1"]})
    costlab.sweep(space, threads).save(tmp_path / "whole.csv")
    header, *lines = (tmp_path / "whole.csv").read_text().splitlines()
    assert "'=1+1" in lines[-1]
    joined = []
    for part in ("1/3", "2/3", "3/3"):
        costlab.sweep({**space, "part": part}, threads).save(tmp_path / "part.csv")
        assert (tmp_path / "part.csv").read_text().splitlines()[0] == header
        joined += (tmp_path / "part.csv").read_text().splitlines()[1:]
    assert joined == lines


def test_chunks_take_as_long_as_they_should_and_shrink_towards_the_end():
    assert _sweep.chunk_size(10**8, 0.0, 2) == _sweep.FIRST_CHUNK
    assert _sweep.chunk_size(10**8, 0.025, 2) == 60
    assert _sweep.chunk_size(10**8, 1e-9, 2) == _sweep.LARGEST_CHUNK
    assert _sweep.chunk_size(10**8, 100, 2) == 1
    assert _sweep.chunk_size(10**8, 0.1, 10_000) == 500
    assert _sweep.chunk_size(12, 0.025, 2) == 3


# On the command line.


def command(tmp_path, *more):
    words = ["sweep", TINY, "-a", "width=1:4", "-a", "depth=1,2", "--resolution", "8"]
    return [*words, "-o", str(tmp_path / "sweep.csv"), *more]


def test_the_command_writes_a_table_and_shows_its_best(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert run(command(tmp_path, "--top", "3", "--sort", "-params", "--where", "width<4", "-j", "1")) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["memory", "peak"]
    assert lines[1].split()[:6] == ["width", "depth", "params", "mult-adds", "access", "memory"]
    assert [line.split()[:2] for line in lines[3:]] == [["3", "2"], ["2", "2"], ["3", "1"]]
    assert err == f"8 networks, 6 kept, written to {tmp_path / 'sweep.csv'}\n"
    assert len((tmp_path / "sweep.csv").read_text().splitlines()) == 7
    assert run(command(tmp_path, "--top", "0")) == 0
    assert f"8 networks, 8 of them from {tmp_path / 'sweep.journal.jsonl'}" in capsys.readouterr().err


def test_where_nothing_can_be_made_the_first_error_is_said(tmp_path, capsys):
    assert run(["sweep", SIZED, "-a", "nosuch=1:2", "-j", "1", "-o", str(tmp_path / "sweep.csv")]) == 2
    assert "none of the 2 networks can be profiled; the first: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-a", "width"], "is not an argument"),
        (["-a", "width=1", "-a", "width=2"], "given twice"),
        (["--top", "-1"], "--top"),
        (["-o", "sweep.xls"], ".csv, .jsonl, .parquet"),
        (["-o", "nosuch/sweep.csv"], "cannot be written"),
        (["--where", "nosuch<1"], "unknown column"),
        (["-j", "0"], "jobs must be a positive integer"),
        (["-j", "2", "--cluster", "tcp://127.0.0.1:1"], "at most one of executor, jobs and cluster"),
        (["--sample", "0"], "sample"),
        (["--device", "nosuch"], "no device"),
    ],
)
def test_wrong_usage_is_one_line(words, message, tmp_path, capsys):
    place = [] if "-o" in words else ["--journal", str(tmp_path / "journal.jsonl")]
    assert run(["sweep", TINY, *place, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


# Stopped at any moment.


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    started(folder).communicate()
    return (folder / "sweep.csv").read_bytes()


def test_kill_at_random_moments_loses_no_finished_row(tmp_path, uninterrupted):
    assert killed_and_resumed(tmp_path, 40, 3, random.Random(7)) == uninterrupted


def test_ctrl_c_says_how_to_go_on(tmp_path, uninterrupted):
    path = tmp_path / "sweep.journal.jsonl"
    process = started(tmp_path, rows=4000)  # still running when the signal arrives
    until(lambda: rows_in(path) > 0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert err == "interrupted: finished rows are in sweep.journal.jsonl; run the same command again to continue\n"
    assert started(tmp_path).wait() == 0
    assert (tmp_path / "sweep.csv").read_bytes() == uninterrupted


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_processes_end_with_the_one_that_asked(tmp_path):
    path = tmp_path / "sweep.journal.jsonl"
    process = started(tmp_path)
    until(lambda: rows_in(path) > 0)
    children = descendants(process.pid)
    assert len(children) >= 3  # of which one is the server that forks the others
    process.kill()
    process.communicate()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 20)


def test_computing_a_row_imports_nothing_that_workers_have_not_preloaded():
    code = (
        "import sys, costlab.sweeps.preloading\n"
        "from costlab.sweeps.rows import compute_rows, row_task\n"
        "from costlab.sweeps.space import space_of\n"
        "space = space_of({'factory': 'zoo:mobilenet_v1', 'resolution': 32, 'device': 'rtx3090'})\n"
        "preloaded = set(sys.modules)\n"
        "(row,) = compute_rows(row_task(space), [0])\n"
        "assert not row.failed, row.line\n"
        "late = {name for name in set(sys.modules) - preloaded if name.startswith('costlab')}\n"
        "assert 'torch' in preloaded and not late, late\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
