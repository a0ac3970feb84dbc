"""A second profile is read from the cache, equals the first, and is never another entry."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from costlab.cli import run
from costlab.core import serialization
from costlab.core.cost import RULES
from costlab.models import ModelSpec, profile_of
from costlab.models import _load as loading
from costlab.models import cache as caching
from costlab.models.resolve import is_listed

NAME = "zoo:mobilenet_v1"
SMALL = {"width": 0.25}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "costlab" / "profiles"


@pytest.fixture
def builds(monkeypatch) -> list[str]:
    """The networks that were built, in order."""
    built = []
    original = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda spec, **k: built.append(spec.target) or original(spec, **k))
    return built


def look(**asked):
    return profile_of(ModelSpec(NAME, SMALL, **asked), cached=True)


def test_the_second_look_is_the_first_without_a_trace(builds):
    first = look()
    assert look() == first == profile_of(ModelSpec(NAME, SMALL))
    assert builds == [NAME, NAME]


@pytest.mark.parametrize(
    "asked", [{"batch": 2}, {"resolution": 128}, {"dtype": "float16"}, {"mode": "train"}, {"inputs": ("1,3,96,96",)}]
)
def test_what_changes_the_profile_changes_the_entry(asked, builds):
    look()
    assert look(**asked) == profile_of(ModelSpec(NAME, SMALL, **asked))
    assert len(builds) == 3


def test_arguments_and_names_have_their_own_entries(cache):
    for target, arguments in ((NAME, {}), (NAME, SMALL), ("mobilenet_v1", SMALL), ("zoo:mobilenet_v2", SMALL)):
        spec = ModelSpec(target, arguments)
        assert profile_of(spec, cached=True).total == profile_of(spec).total
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("what", ["__version__", "own_files", "installation", "SCHEMA_VERSION"])
def test_versions_are_part_of_the_key(what, monkeypatch):
    before = caching.key_of(ModelSpec(NAME, SMALL))
    assert caching.key_of(ModelSpec(NAME, SMALL)) == before
    if what == "SCHEMA_VERSION":
        monkeypatch.setattr(serialization, what, 2)
    else:
        monkeypatch.setattr(caching, what, "2" if what == "__version__" else lambda *_: "other")
    assert caching.key_of(ModelSpec(NAME, SMALL)) != before


def test_environment_variables_that_change_networks_are_part_of_the_key(monkeypatch):
    before = caching.key_of(ModelSpec(NAME, SMALL))
    monkeypatch.setenv("COSTLAB_UNRELATED", "1")
    assert caching.key_of(ModelSpec(NAME, SMALL)) == before
    monkeypatch.setenv("TIMM_FUSED_ATTN", "0")
    assert caching.key_of(ModelSpec(NAME, SMALL)) != before


def test_an_edit_of_costlab_is_noticed(tmp_path, monkeypatch):
    module = tmp_path / "costlab" / "deep" / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text("a = 1")
    monkeypatch.setattr(caching, "__file__", str(tmp_path / "costlab" / "caching.py"))
    before = caching.own_files()
    assert caching.own_files() == before
    module.write_text("a = 22")
    assert caching.own_files() != before


def test_code_and_configuration_of_the_user_are_never_kept(tmp_path, cache, builds):
    file = tmp_path / "mine.py"
    file.write_text("import torch\ndef net():\n    return torch.nn.Conv2d(3, 4, 3)\n")
    for _ in range(2):
        profile_of(ModelSpec(f"{file}:net"), cached=True)
    assert len(builds) == 2
    assert not cache.exists()
    assert not any(map(is_listed, (f"{file}:net", "torch.nn:Identity", "hf:bert", "a.pt2", "a.pth")))


def test_own_cost_rules_are_not_answered_from_the_cache(cache):
    profile_of(ModelSpec(NAME, SMALL), rules=dict(RULES), cached=True)
    assert not cache.exists()


def damaged(content: bytes) -> list[bytes]:
    """The entry cut short, grown, emptied, and with single bits turned over."""
    rng = random.Random(0)
    flipped = []
    for _ in range(20):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        flipped.append(bytes(changed))
    cut = [content[: rng.randrange(len(content))] for _ in range(5)]
    return [*flipped, *cut, content + b"x", b"", b"\x80\x04pickle"]


def test_a_damaged_entry_is_traced_again_and_replaced(cache):
    first = look()
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    for content in damaged(whole):
        entry.write_bytes(content)
        assert look() == first
        assert entry.read_bytes() == whole


def test_an_entry_of_something_else_is_not_a_profile(cache):
    look()
    (entry,) = cache.iterdir()
    for text in ("{}", "[]", "null", "not json", '{"schema_version": 1}'):
        content = caching.zlib.compress(text.encode())
        entry.write_bytes(caching.DIGEST(content).digest() + content)
        assert caching.read(entry.name) is None
    entry.unlink()
    entry.mkdir()
    assert look() == profile_of(ModelSpec(NAME, SMALL))


def test_without_a_place_for_it_everything_is_traced(monkeypatch, builds, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    for where in (str(blocked), os.devnull):
        monkeypatch.setenv("XDG_CACHE_HOME", where)
        assert look() == look()
    monkeypatch.setattr(caching, "folder", lambda: None)
    assert look() == look()
    assert len(builds) == 6


def test_the_oldest_entries_go(monkeypatch, cache):
    monkeypatch.setattr(caching, "KEPT", 2)
    profile = profile_of(ModelSpec(NAME, SMALL))
    for position, key in enumerate(("a", "b", "c")):
        caching.keep(key, profile)
        os.utime(cache / key, (position, position))
        if key == "b":
            caching.read("a")  # used last
    assert sorted(path.name for path in cache.iterdir()) == ["a", "c"]


def test_the_command_says_and_clears_what_is_kept(capsys, cache):
    assert run(["cache", "info"]) == 0
    assert "0 profiles, 0 B" in capsys.readouterr().out
    look()
    (cache / ".costlab-left").write_bytes(b"of a process that was killed")
    run(["cache", "info"])
    assert "2 profiles" in capsys.readouterr().out
    assert run(["cache", "clear"]) == 0
    assert "2 profiles removed" in capsys.readouterr().out
    assert not list(cache.iterdir())
    assert run(["cache"]) == 2
    assert run(["cache", "burn"]) == 2


def test_no_cache_neither_reads_nor_writes(cache, capsys, builds):
    for _ in range(2):
        assert run(["report", NAME, "-a", "width=0.25", "--no-cache"]) == 0
    assert not cache.exists()
    assert len(builds) == 2


COMMANDS = (
    ["report", NAME],
    ["report", NAME, "--device", "rtx3090", "--format", "json"],
    ["lint", NAME, "--device", "t4", "--isolated"],
    ["compare", NAME, NAME],
    ["plot", "breakdown", NAME, "-o", "x.svg"],
    ["export", NAME, "--to", "graphml"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.slow
def test_a_cached_command_says_the_same_and_imports_no_torch(command, tmp_path):
    code = (
        f"import sys; from costlab.cli import run; code = run({command!r});"
        " print([m for m in ('torch', 'fvcore', 'pandas', 'matplotlib') if m in sys.modules], code, file=sys.stderr)"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path) for _ in range(2)
    )
    assert (first.stdout, first.returncode) == (second.stdout, second.returncode)
    expected = ["matplotlib"] if command[0] == "plot" else []
    assert second.stderr.splitlines()[-1].startswith(str(expected))


@pytest.mark.slow
def test_a_cached_report_starts_without_numpy(tmp_path):
    code = f"import sys; from costlab.cli import run; run(['report', {NAME!r}]); print('numpy' in sys.modules)"
    done = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
        for _ in range(2)
    ]
    assert done[1].stdout.splitlines()[-1] == "False"


WIDTHS = (0.25, 0.5, 0.75, 1.0)


def reader(seed: int, lookups: int, known: dict[float, object], report: str) -> None:
    """Look at random networks, now and then spoil or remove an entry; write a line for each look-up."""
    rng = random.Random(seed)
    where = caching.folder()
    assert where is not None
    with open(report, "a", buffering=1) as file:
        for _ in range(lookups):
            width = rng.choice(WIDTHS)
            same = profile_of(ModelSpec(NAME, {"width": width}), cached=True).total == known[width]
            file.write("right\n" if same else "WRONG\n")
            if rng.random() < 0.1:
                with suppress(OSError, IndexError):  # gone in the meantime, or there is none
                    entry = rng.choice(list(where.iterdir()))
                    if rng.random() < 0.5:
                        entry.unlink()
                    else:
                        content = entry.read_bytes()
                        entry.write_bytes(content[: rng.randrange(len(content) or 1)])


@pytest.mark.slow
def test_many_processes_and_random_kills_never_give_a_wrong_result(tmp_path):
    known = {width: profile_of(ModelSpec(NAME, {"width": width})).total for width in WIDTHS}
    context = multiprocessing.get_context("fork")  # torch is there already
    rng = random.Random(7)
    report = tmp_path / "report"
    report.touch()
    seeds = iter(range(10**6))

    def start():
        process = context.Process(target=reader, args=(next(seeds), 125, known, str(report)))
        process.start()
        return process

    running = [start() for _ in range(8)]
    for _ in range(12):
        time.sleep(rng.random() / 4)
        victim = rng.randrange(len(running))
        with suppress(ProcessLookupError):
            os.kill(running[victim].pid, signal.SIGKILL)
        running[victim].join()
        running[victim] = start()
    for process in running:
        process.join()
        assert process.exitcode == 0
    lines = report.read_text().splitlines()
    assert len(lines) >= 1000
    assert set(lines) == {"right"}
