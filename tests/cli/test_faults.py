"""Faults of the environment: disks, folders, pipes, terminals, signals, and concurrent processes."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from helpers.calls import profile_of
from helpers.examples import examples
from helpers.processes import processes_in, until
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from costlab.cli._main import raise_again
from costlab.core.files import write_text
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow

COSTLAB = [sys.executable, "-m", "costlab"]
FORMATS = ("text", "json", "csv", "markdown", "html")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("saved") / "tiny.json"
    write_text(path, examples()["tiny"].to_json())
    return str(path)


def costlab(*command: str, **options) -> subprocess.CompletedProcess[str]:
    """A process that runs a command."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120, **options}
    return subprocess.run([*COSTLAB, *command], text=True, check=False, **options)


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The line with which a command ended that could not do what it was asked to."""
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Error:" not in done.stderr
    return done.stderr


def small_files(size: int = 64):
    """What a process calls first so that its files cannot grow beyond `size` bytes: a disk that is full."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


# Disks.


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_is_reported_and_leaves_no_half_file(form, saved, tmp_path):
    (tmp_path / "report").write_text("before")
    command = ("report", saved, "--format", form, "-o", f"{tmp_path}/report")
    assert "file too large" in one_error(costlab(*command, preexec_fn=small_files()))
    assert (tmp_path / "report").read_text() == "before"
    assert os.listdir(tmp_path) == ["report"]


@pytest.mark.parametrize(
    "command",
    [
        ("lint", "SAVED", "--isolated", "-o", "OUT"),
        ("lint", "SAVED", "--isolated", "--write-baseline", "OUT"),
        ("compare", "SAVED", "SAVED", "-o", "OUT"),
        ("export", "SAVED", "--to", "dot", "-o", "OUT"),
        ("plot", "treemap", "SAVED", "-o", "OUT.svg"),
        ("devices", "-o", "OUT"),
    ],
    ids=lambda command: command[0],
)
def test_a_full_disk_is_reported_by_every_command_that_writes(command, saved, tmp_path):
    words = [word.replace("SAVED", saved).replace("OUT", f"{tmp_path}/out") for word in command]
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    done = costlab(*words, preexec_fn=small_files(20), env=environment)
    assert "cannot be written: file too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert [name for name in os.listdir(tmp_path) if name != "matplotlib"] == []


@pytest.mark.parametrize("command", [("report", "SAVED"), ("lint", "SAVED", "--isolated"), ("devices",), ("--help",)])
def test_stdout_on_a_full_disk_is_reported(command, saved):
    with open("/dev/full", "w") as full:
        done = costlab(*(saved if word == "SAVED" else word for word in command), stdout=full)
    assert "no space left on device" in one_error(done).lower()


def test_a_folder_that_cannot_be_written_to_is_reported(saved, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (f"{tmp_path}/file/report", f"{tmp_path}/none/report", "/proc/report", "/sys/report"):
        assert "cannot be written" in one_error(costlab("report", saved, "-o", place))


def test_a_file_that_cannot_be_read_is_reported(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "gone.json").symlink_to("nowhere.json")
    for name in ("folder.json", "loop.json", "gone.json"):
        assert "cannot be read" in one_error(costlab("report", f"{tmp_path}/{name}"))


@pytest.mark.parametrize("home", ["/nonexistent/home", "/dev/null", "/proc"])
def test_a_missing_home_directory_is_not_an_error(home, saved):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")} | {"HOME": home}
    for command in (("report", saved, "--device", "rtx3090"), ("report", "zoo:mobilenet_v1"), ("devices",)):
        done = costlab(*command, env=environment)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["größe 名前.json", "a b.json", "-x.json", "%s.json", "'\".json", "\U0001f600.json"])
def test_any_name_of_a_file_is_fine(name, saved, tmp_path):
    path = tmp_path / name
    assert costlab("report", saved, "--format", "json", "-o", str(path)).returncode == 0
    done = costlab("report", str(path), "--format", "json")
    assert Profile.from_json(done.stdout) == examples()["tiny"]


def test_a_name_that_is_not_unicode_is_accepted(tmp_path, saved):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.json"
    Path(os.fsdecode(path)).write_text(Path(saved).read_text())
    done = subprocess.run([*COSTLAB, "report", path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run([*COSTLAB, "report", path + b"x.json"], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1


# Pipes and terminals.


@pytest.mark.parametrize(
    "command",
    [
        ("report", "zoo:mobilenet_v1", "--by", "op"),
        ("models",),
        ("lint", "zoo:mobilenet_v1", "--isolated", "--format", "json"),
        ("--help",),
    ],
    ids=" ".join,
)
def test_a_closed_pipe_is_not_an_error(command):
    process = subprocess.Popen([*COSTLAB, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    err = process.stderr.read().decode()
    assert process.wait(120) in (0, 1, 128 + signal.SIGPIPE)
    assert "Error" not in err
    assert "Traceback" not in err
    process.stderr.close()


def test_closed_streams_print_no_traceback(saved):
    for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closing}', "sh", *COSTLAB, "report", saved], capture_output=True, check=False
        )
        assert b"Traceback" not in done.stderr, closing
        assert done.returncode in (0, 2), closing


@pytest.mark.parametrize(
    "variables",
    [
        {"TERM": "dumb"},
        {"TERM": ""},
        {"TERM": "no-such-terminal"},
        {"NO_COLOR": "1"},
        {"COLUMNS": "40"},
        {"COLUMNS": "1"},
        {"COLUMNS": "0"},
        {"COLUMNS": "99999999999999999999"},
        {"COLUMNS": "-5"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"FORCE_COLOR": "1", "TERM": "dumb"},
    ],
    ids=str,
)
def test_any_terminal_will_do(variables, saved):
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")}
    for command in (("report", saved), ("lint", saved, "--isolated"), ("compare", saved, saved)):
        done = subprocess.run([*COSTLAB, *command], env=kept | variables, capture_output=True, check=False)
        assert done.returncode in (0, 1)
        assert b"rror" not in done.stderr
        assert done.stdout


def test_no_line_is_wider_than_a_narrow_terminal(saved):
    done = costlab("report", saved, env={**os.environ, "COLUMNS": "40"})
    assert max(map(len, done.stdout.splitlines())) <= 40


# Signals.


def test_ctrl_c_at_any_moment_leaves_nothing_behind(tmp_path):
    """All of the report, or nothing."""
    moments = random.Random(0)
    for number in range(9):
        path = tmp_path / f"report {number}"
        process = subprocess.Popen(
            [*COSTLAB, "report", "zoo:mobilenet_v1", "--no-cache", "--format", "json", "-o", str(path)],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        time.sleep(moments.uniform(0.05, 2.2))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 130, -signal.SIGINT), (number, err)
        assert process.returncode or path.exists()
        if path.exists():  # interrupted after that, at the latest while Python went
            Profile.from_json(path.read_text())
        assert "Traceback" not in err, (number, err)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".costlab-")]


def test_ctrl_c_in_a_callback_comes_again(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    def forget_and_wait():
        networks.clear()
        time.sleep(60)

    monkeypatch.setattr(sys, "unraisablehook", raise_again)
    networks = [nn.Linear(1, 1)]
    seen = weakref.ref(networks[0], interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            forget_and_wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen() is None
    assert capsys.readouterr().err == ""


# Others at work.


def test_processes_that_write_one_file_leave_one_of_their_reports(saved, tmp_path):
    path = tmp_path / "report"
    wanted = {costlab("report", saved, "--format", form).stdout for form in ("json", "csv")}
    running = [
        subprocess.Popen([*COSTLAB, "report", saved, "--format", form, "-o", str(path)])
        for form in ("json", "csv", "json", "csv")
    ]
    while any(process.poll() is None for process in running):
        if path.exists():
            assert path.read_text() in wanted
        time.sleep(0.01)
    assert all(process.returncode == 0 for process in running)
    assert path.read_text() in wanted
    assert os.listdir(tmp_path) == ["report"]


def test_threads_that_profile_at_once_get_the_right_answers():
    networks = [nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU()) for width in range(1, 7)]
    shared = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
    alone = [profile(network, (1, 3, 8, 8)) for network in networks]
    of_shared = profile(shared, (2, 4))
    wrong: list[object] = []

    def work(start: int) -> None:
        for turn in range(6):
            number = (start + turn) % len(networks)
            if profile(networks[number], (1, 3, 8, 8)) != alone[number] or profile(shared, (2, 4)) != of_shared:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        x = torch.ones(3).relu_() * 2  # what others compute meanwhile is computed
        assert x.tolist() == [2.0, 2.0, 2.0]
    assert wrong == []
    assert shared.training


# What an error leaves.


class Failing(nn.Module):
    """Fails somewhere in the middle, in one way or another."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.error = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        raise self.error


def surroundings(network: nn.Module) -> list[object]:
    """All that a trace changes while it runs."""
    modules = [
        (m.training, sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in network.modules()
    ]
    functions = [
        nn.Module.__call__, nn.Module.__setattr__, nn.Module.__getattr__, torch.Tensor.__getitem__, torch.zeros,
        torch.empty, torch.nn.functional.linear, torch.Tensor.to, torch.distributions.Distribution._validate_args,
    ]  # fmt: skip
    modes = _get_current_dispatch_mode_stack(), torch._C._len_torch_function_stack()
    state = (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
    )
    hooks = [
        len(table) for table in (nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks)
    ]
    return [modules, functions, modes, state, hooks, torch.get_rng_state().tolist(), gc.isenabled(), sys.path[:]]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyboardInterrupt(),
        SystemExit(3),
        RecursionError(),
        MemoryError(),
        StopIteration(),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_leaves_no_mode_hook_or_function_behind(error):
    network = Failing(error)
    before = surroundings(network)
    with contextlib.suppress(CostlabError, type(error)):
        profile(network, (2, 4))
    assert surroundings(network) == before
    assert profile(nn.Linear(4, 4), (2, 4)).mult_adds == 2 * 4 * 4


def test_a_network_of_endless_depth_is_reported():
    def endless(x: torch.Tensor) -> torch.Tensor:
        return endless(x + 1)

    with pytest.raises(CostlabError, match="RecursionError"):
        profile_of(endless, (2,))


def test_a_document_is_read_by_threads_at_once(saved):
    text = Path(saved).read_text()
    found: list[Profile] = []
    threads = [threading.Thread(target=lambda: found.append(Profile.from_json(text))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [examples()["tiny"]] * 8
    assert json.loads(found[0].to_json()) == json.loads(text)


LEAVING = """
import multiprocessing, os, subprocess, sys, threading, time
from torch import nn
def thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return nn.Conv2d(3, 8, 1)
def process():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,)).start()
    return nn.Conv2d(3, 8, 1)
def program():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    return nn.Conv2d(3, 8, 1)
class fork(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 8, 1)
    def forward(self, x):
        os.fork()
        return super().forward(x)
"""


@pytest.mark.parametrize("name", ["thread", "process", "program", "fork"])
def test_what_a_network_left_running_ends_with_the_command(name, tmp_path):
    (tmp_path / "net.py").write_text(LEAVING)
    with (tmp_path / "out.txt").open("w") as out:
        command = [*COSTLAB, "report", f"net.py:{name}"]
        done = subprocess.run(command, cwd=tmp_path, stdout=out, stderr=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 0
    assert (tmp_path / "out.txt").read_text().count("1.204 M (1,204,224)") == 1
    until(lambda: not processes_in(tmp_path), 20)


def test_warnings_of_the_c_code_of_torch_are_not_printed(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def build():\n"
        "    torch.backends.quantized.engine = 'qnnpack'\n"
        "    torch.ao.nn.quantized.dynamic.Linear(8, 8)(torch.randn(2, 8))\n"
        "    return torch.nn.Linear(3, 4)\n"
    )
    command = ["report", "net.py:build", "--input", "1,3"]
    plain = subprocess.run(
        [sys.executable, "-c", f"from costlab.cli import run; run({command})"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert plain.stderr.startswith("[W") or "qnnpack" not in torch.backends.quantized.supported_engines
    done = subprocess.run([*COSTLAB, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
