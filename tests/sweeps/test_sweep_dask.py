"""Sweeps on a real Dask cluster: a scheduler and two workers, each a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers.processes import descendants, rows_in, until

import costlab
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.sweeps import _sweep, dask_cluster
from costlab.sweeps.results import SweepState

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")]

TINY = f"{Path(__file__).parents[1] / 'helpers' / 'sweep_networks.py'}:tiny"
SPACE = {"factory": TINY, "arguments": {"width": "1:60", "seconds": 0.05}, "resolution": 8}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass
class Cluster:
    """A Dask cluster on this machine."""

    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    options: tuple[str, ...] = ()

    def start_scheduler(self) -> None:
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", "scheduler.json")
        until(lambda: (self.folder / "scheduler.json").exists())

    def stop(self) -> None:
        for process in self.processes:
            process.kill()  # workers end with their nannies

    def start(self, what: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words, *self.options, "--no-dashboard"]
        process = subprocess.Popen(command, cwd=self.folder, **QUIET)
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen:
        words = [self.address, "--nworkers", "1", "--nthreads", "1", "--memory-limit", "0", "--host", "127.0.0.1"]
        return self.start("worker", *words)

    @property
    def address(self) -> str:
        return json.loads((self.folder / "scheduler.json").read_text())["address"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.start_scheduler()
    cluster.worker()
    cluster.worker()
    yield cluster
    cluster.stop()


def keys_in(path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("local") / "rows.csv"
    costlab.sweep(SPACE, jobs=2).save(path)
    return path.read_bytes()


def started(cluster: Cluster, folder: Path) -> subprocess.Popen:
    words = ["-a", "width=1:60", "-a", "seconds=0.05", "--resolution", "8", "--cluster", cluster.address]
    command = [sys.executable, "-m", "costlab", "sweep", TINY, *words, "-o", "rows.csv"]
    return subprocess.Popen(command, cwd=folder, **QUIET)


def test_a_cluster_makes_the_same_rows_as_this_machine(cluster, local, tmp_path):
    costlab.sweep(SPACE, cluster=cluster.address).save(tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == local


def test_a_worker_killed_mid_way_loses_nothing_and_doubles_nothing(cluster, local, tmp_path):
    path = tmp_path / "rows.journal.jsonl"
    client = started(cluster, tmp_path)
    until(lambda: rows_in(path) > 4)
    nanny = cluster.processes[-1]
    for victim in (nanny.pid, *descendants(nanny.pid)):
        os.kill(victim, signal.SIGKILL)
    assert client.wait(60) == 0
    assert (tmp_path / "rows.csv").read_bytes() == local
    assert len(keys_in(path)) == len(set(keys_in(path))) == 60
    cluster.worker()


def test_a_client_killed_and_started_again_loses_nothing_and_doubles_nothing(cluster, local, tmp_path):
    path = tmp_path / "rows.journal.jsonl"
    client = started(cluster, tmp_path)
    until(lambda: rows_in(path) > 4)
    client.kill()
    client.wait()
    before = keys_in(path)
    assert 4 < len(before) < 60
    assert started(cluster, tmp_path).wait(60) == 0
    assert (tmp_path / "rows.csv").read_bytes() == local
    assert keys_in(path)[: len(before)] == before
    assert len(keys_in(path)) == len(set(keys_in(path))) == 60


def test_on_a_cluster_too_only_the_guilty_row_has_the_error(cluster):
    trouble = {"depth": 1, "width": "2:4", "trouble": "die", "at": "3"}
    rows = list(costlab.sweep({"factory": TINY, "arguments": trouble, "resolution": 8}, cluster=cluster.address))
    assert [row["error"] for row in rows] == [None, _sweep.DIED, None]


def test_on_a_cluster_too_a_network_that_hangs_is_an_error(cluster):
    trouble = {"depth": 1, "width": "2:4", "trouble": "spin", "at": "3"}
    space = {"factory": TINY, "arguments": trouble, "resolution": 8, "timeout": 5}
    rows = list(costlab.sweep(space, cluster=cluster.address))
    assert [row["error"] for row in rows] == [None, "takes longer than 5 s", None]


# Schedulers that do not answer, and TLS.


@pytest.fixture
def lonely(tmp_path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    cluster = Cluster(tmp_path)
    cluster.start_scheduler()
    yield cluster
    cluster.stop()


def test_a_scheduler_without_workers_is_told(lonely, monkeypatch):
    monkeypatch.setattr(dask_cluster, "WAIT", 1.0)
    with pytest.raises(CostlabError, match="no workers for 1 s: start some with `dask worker tcp://127"):
        costlab.sweep(SPACE, cluster=lonely.address)


def test_a_scheduler_that_dies_is_told_and_the_rows_are_safe(lonely, tmp_path, monkeypatch, capfd):
    import dask

    lonely.worker()
    journal = tmp_path / "rows.jsonl"
    monkeypatch.setattr(_sweep, "POLL", 0.5)
    done: list[int] = []

    def kill(state: SweepState) -> None:
        if state.computed and not done:
            done.append(state.computed)
            lonely.stop()

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        pytest.raises(CostlabError, match="are safe") as error,
    ):
        costlab.sweep(SPACE, cluster=lonely.address, journal=journal, progress=kill)
    assert "\n" not in str(error.value)
    assert rows_in(journal) >= done[0]
    assert capfd.readouterr().err == ""


def test_a_server_that_never_answers_is_told(monkeypatch):
    monkeypatch.setattr(dask_cluster, "WAIT", 0.5)
    monkeypatch.setattr(dask_cluster, "CLOSING", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(CostlabError, match=f"no Dask scheduler answers at {address}"):
            costlab.sweep(SPACE, cluster=address)


@pytest.mark.parametrize(
    ("address", "tls", "message"),
    [
        ("tls://127.0.0.1:9", None, "needs TLS files"),
        ("tls://127.0.0.1:9", {"ca": "gone.pem", "cert": "gone.pem", "key": "gone.pem"}, "TLS files cannot be used"),
        ("tls://127.0.0.1:9", {"ca": "gone.pem"}, "TLS takes three files"),
        ("tcp://127.0.0.1:9", {"ca": "gone.pem"}, "does not use TLS"),
        ("http://127.0.0.1:9", None, "is not the address of a Dask scheduler"),
    ],
)
def test_a_wrong_address_or_tls_file_is_told_without_waiting(address, tls, message):
    with pytest.raises(CostlabError, match=message):
        costlab.sweep(SPACE, cluster=address, tls=tls)


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes certificates with openssl")
def test_a_cluster_can_use_tls(tmp_path):
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    options = ("--tls-ca-file", files[0], "--tls-cert", files[0], "--tls-key", files[1], "--protocol", "tls")
    cluster = Cluster(tmp_path, options=options)
    try:
        cluster.start_scheduler()
        cluster.worker()
        words = ["--cluster", cluster.address, "--tls-ca", files[0], "--tls-cert", files[0], "--tls-key", files[1]]
        assert cluster.address.startswith("tls://")
        assert run(["sweep", TINY, "-a", "width=1:3", "--resolution", "8", *words, "-o", f"{tmp_path}/rows.csv"]) == 0
    finally:
        cluster.stop()
