"""Five hundred fuzzed inputs end with a result or a one-line error; `make soak` tries thousands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from random import Random

import pytest
from helpers.examples import examples
from helpers.fuzzing import KINDS, attempt, documents, judged, prepared, program, shares, spoilt_bytes
from torch import nn

from costlab.cli import run
from costlab.core.files import read_profile
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow

COSTLAB = [sys.executable, "-m", "costlab"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fuzzed_input_ends_in_a_report_or_in_one_clear_line(kind, folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    for seed in range(shares(500)[kind]):
        tried = attempt(kind, Random(seed), folder)
        assert not tried.wrong, (seed, tried)


@pytest.mark.parametrize("kind", ["saved profile", "configuration", ".pt2 archive"])
def test_a_process_ends_so_too(kind, folder):
    for name in ("pyproject.toml", "spoilt.json"):
        (folder / name).unlink(missing_ok=True)
    here = os.getcwd()
    os.chdir(folder)
    try:
        command = KINDS[kind][0](Random(7), folder)
    finally:
        os.chdir(here)
    done = subprocess.run([*COSTLAB, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert judged(done.returncode, done.stderr) == ""


def test_the_fuzzer_would_notice(monkeypatch, folder):
    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError("found")

    monkeypatch.setattr("costlab.models.profile_of", fail)
    monkeypatch.setitem(KINDS, "MODEL", (lambda rng, folder: ["report", "profile.json"], 1))
    assert "ZeroDivisionError: found" in attempt("MODEL", Random(0), folder).wrong
    assert judged(2, "")
    assert judged(3, "")
    assert judged(2, "Traceback (most recent call last)\n")
    assert judged(0, "") == judged(1, "1 finding") == judged(2, "error: no") == ""


def test_spoiling_spoils():
    assert sum(spoilt_bytes(Random(seed), program()) != program() for seed in range(50)) > 40


# What fuzzing found.


def error_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert run(list(command)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Error:" not in err
    return err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "1,3,8,8", "--batch", str(10**30)], "more than any device can hold"),
        (["--input", "1,3,8,8", "--batch", str(10**18)], "more than any device can hold"),
        (["--input", "1,3,8,8", "--resolution", str(2**31)], "more than any device can hold"),
        (["--input", "x=64:int64=ones", "--batch", str(2**31)], "more than can have values"),
        (["--input", "9" * 5000], "is not a shape"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_an_input_too_large_for_memory_is_reported(options, message, folder, capsys):
    assert message in error_of(capsys, "report", f"{folder}/net.py:make", *options)


@pytest.mark.parametrize("value", ["'words'", "true", "{ a = 1 }", "[1]", "-1", "0", "nan"])
def test_an_efficiency_that_is_not_a_number_is_reported(value, folder, tmp_path, capsys):
    from helpers.fuzzing import device

    (tmp_path / "mine.toml").write_text(f"{device()}\n[efficiency.eager]\nsoftmax = {value}\n")
    error = error_of(capsys, "report", f"{folder}/profile.json", "--device", f"{tmp_path}/mine.toml")
    assert "softmax must be a number above 0" in error or "should hold numbers, strings and tables; 'softmax'" in error


@pytest.mark.parametrize("target", ["hf:b\0", "a\0.json", "b\0.pt2", "c\0.py:make", "zoo:\0", "\0"], ids=repr)
def test_a_null_character_is_reported(target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "a null character" in error_of(capsys, "report", target)
    name = target.replace("\0", "\\u0000")
    Path("pyproject.toml").write_text(f'[[tool.costlab.model]]\nname = "a"\ntarget = "{name}"\n')
    assert "a null character" in error_of(capsys, "lint")
    with pytest.raises(CostlabError, match="a null character"):
        read_profile(Path("a\0.json"))


LONG = "a" * 5000


@pytest.mark.parametrize("command", ["report", "lint"])
@pytest.mark.parametrize("target", [LONG, f"{LONG}.json", f"{LONG}.pt2", f"{LONG}.py:make", f"hf:{LONG}", f"{LONG}:x"])
def test_a_name_that_no_file_can_have_is_reported(command, target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run([command, target]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Error:" not in err


def test_an_unpaired_surrogate_is_reported(capsys):
    assert "an unpaired surrogate" in error_of(capsys, "lint", "x\ud800", "--isolated")


def renamed(content: bytes) -> bytes:
    """An archive one of whose members has a name that is no UTF-8."""
    at = content.rindex(b"PK\x01\x02")
    return content[: at + 46] + b"\xff" + content[at + 47 :]


def test_an_archive_that_cannot_be_listed_is_reported(tmp_path, capsys):
    flags = bytearray(renamed(program()))
    at = flags.rindex(b"PK\x01\x02")
    flags[at + 9] |= 8  # names are UTF-8
    (tmp_path / "net.pt2").write_bytes(flags)
    assert "net.pt2 is " in error_of(capsys, "report", f"{tmp_path}/net.pt2")


def test_a_compressed_archive_that_is_torn_is_reported(tmp_path, capsys):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/models/model.json", json.dumps(documents()[0]))
    content = bytearray(buffer.getvalue())
    content[70:90] = bytes(20)
    (tmp_path / "net.pt2").write_bytes(content)
    assert "net.pt2 is " in error_of(capsys, "report", f"{tmp_path}/net.pt2")


def spoilt(tmp_path: Path, change) -> str:
    """A saved profile whose convolution is changed."""
    document = json.loads(examples()["tiny"].to_json())
    change(next(op for op in document["ops"] if op["kind"] == "conv2d"), document)
    (tmp_path / "spoilt.json").write_text(json.dumps(document))
    return str(tmp_path / "spoilt.json")


NO_CONVOLUTIONS = {
    "no weight": lambda op, document: op["inputs"].pop(1),
    "no inputs": lambda op, document: op["inputs"].clear(),
    "no outputs": lambda op, document: op["outputs"].clear(),
    "a flat weight": lambda op, document: op["inputs"][1].update(shape=[216]),
    "a flat output": lambda op, document: op["outputs"][0].update(shape=[9]),
    "groups of nothing": lambda op, document: op["attrs"].update(groups=0),
    "groups of words": lambda op, document: op["attrs"].update(groups="2"),
    "called attention": lambda op, document: op.update(kind="scaled_dot_product_attention"),
    "called a permutation": lambda op, document: op.update(kind="permute"),
}


@pytest.mark.parametrize("change", NO_CONVOLUTIONS.values(), ids=NO_CONVOLUTIONS)
def test_an_operator_that_does_not_fit_its_kind_is_rejected(change, tmp_path, capsys):
    path = spoilt(tmp_path, change)
    assert "not a costlab profile: ops[0] is called" in error_of(capsys, "report", path, "--device", "rtx3090")


def test_every_profile_that_was_traced_is_sound():
    for document in documents():
        read = json.loads(Profile.from_json(json.dumps(document)).to_json())
        assert read["ops"] == document["ops"]
        assert read["total"] == document["total"]


@pytest.mark.parametrize("kind", ["linear", "matmul"])
def test_a_product_whose_output_has_no_dimensions_gets_no_advice(kind, tmp_path, capsys):
    document = json.loads(profile(nn.Linear(20, 30), (64, 20)).to_json())
    op = document["ops"][0]
    op["kind"], op["outputs"][0]["shape"] = kind, []
    (tmp_path / "flat.json").write_text(json.dumps(document))
    assert run(["lint", f"{tmp_path}/flat.json", "--isolated"]) in (0, 1), capsys.readouterr().err
