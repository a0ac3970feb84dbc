"""Whatever a file or an option holds, a command ends soon, with a report or with one line and exit code 2."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.examples import examples
from helpers.fuzzing import device

from costlab.cli import run

DIGITS, NESTED = "9" * 5000, "[" * 100_000
SOUND = {
    "pareto": "a,b\n1,2\n2,1\n",
    "distribution": "a,b\n1,2\n2,1\n",
    "predicted and measured": '[{"predicted_seconds": 1, "measured_seconds": 2}]',
    "baseline": '{"schema_version": 1, "accepted": []}',
    "configuration": "[tool.costlab.lint]\n",
    "space": 'factory = "zoo:mobilenet_v1"\n',
}
SECONDS = 60  # for a command on a busy machine; a quadratic one takes hours
MEMORY = 2 << 30  # bytes that a command may ask for in addition

TABLES: dict[str, str | bytes] = {
    "numbers that are none.csv": "name,a,b\nx,nan,1\ny,inf,2\nz,1e999,3\n",
    "empty.csv": "",
    "no rows.csv": "name,a,b\n",
    "binary.csv": b"\x00\xff\xfe\x1b[31m",
    "escapes.csv": "name,\x1b[31ma,a,b\n\x1b]0;x\x07,1,1,2\n",
    "digits.csv": f"name,a,b\nx,{DIGITS},2\n",
    "a long cell.csv": f"name,a,b\n{'x' * 200_000},1,2\n",
    "an open quote.csv": 'name,a,b\n"x,1,2\n',
    "a column twice.csv": "name,a,a,b\nx,1,2,3\n",
    "20,000 columns.csv": f"{','.join(f'c{i}' for i in range(20_000))},a,b\n{'1,' * 20_001}2\n",
    "negative and tiny.csv": "name,a,b\nx,-1,2\ny,0,0\nz,1e308,1e-308\nw,-1e308,5e-324\n",
    "20,000 ties.csv": "name,a,b\n" + "n,1,1\n" * 20_000,
    "a front of 5,000.csv": "name,a,b\n" + "".join(f"n{i},{i + 1},{5000 - i}\n" for i in range(5000)),
    "nested.json": NESTED,
    "a number.json": "1",
    "an object.json": "{}",
    "a list of numbers.json": "[1]",
    "objects in cells.json": '[{"a": {"b": 1}, "b": [1]}]',
    "digits.json": f'[{{"name": "x", "a": {DIGITS}, "b": 1}}]',
    "400 digits.json": f'[{{"name": "x", "a": {"9" * 400}, "b": 1}}, {{"a": 1, "b": true}}]',
    "NaN.json": '[{"a": NaN, "b": 1}]',
    "names of other types.json": '[{"name": ["x"], "a": 1, "b": 2}, {"name": {"y": 1}, "a": 2, "b": 1}]',
    "half a character.json": '[{"name": "\\ud800", "\\ud800": 1, "a": 1, "b": 2}]',
    "a bad line.jsonl": '{"a": 1, "b": 2}\nxx\n',
    "no lines.jsonl": "\n\n",
    "damaged.parquet": b"PAR1" + bytes(50) + b"PAR1",
    "empty.parquet": b"",
}
DOCUMENTS = {name: TABLES[name] for name in TABLES if name.endswith(".json")} | {"binary.json": b"\x00\xff\x1b[31m"}
TOMLS: dict[str, str | bytes] = {
    "a dotted key.toml": ".".join("a" * 60_000) + " = 1\n",
    "5 MB.toml": f"x = '{'y' * (5 << 20)}'\n",
    "nested.toml": f"x = {'[' * 5000}\n",
    "nested tables.toml": f"x = {'{a=' * 400}1{'}' * 400}\n",
    "escapes.toml": 'title = "\\u001b[31m"\n',
    "digits.toml": f"x = {DIGITS}\n",
    "100,000 keys.toml": "".join(f"a{i} = 1\n" for i in range(100_000)),
    "binary.toml": b"\xff\x00",
    "a date.toml": "x = 1979-05-27T07:32:00Z\n",
    "a null character.toml": 'base = "a\\u0000b"\n',
    "an endless base.toml": 'base = "/dev/zero"\n',
    "its own base.toml": 'base = "its own base.toml"\n',
    "a folder.toml": 'base = "/"\n',
    "9 to the 500th networks.toml": 'factory = "zoo:mobilenet_v1"\n[arguments]\n'
    + "".join(f"a{i} = [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" for i in range(500)),
}
READERS = {
    "pareto": (TABLES, ["plot", "pareto", "FILE", "-x", "a", "-y", "b", "-o", "picture.svg"]),
    "distribution": (TABLES, ["plot", "distribution", "FILE", "-x", "a", "-o", "picture.svg"]),
    "predicted and measured": (DOCUMENTS, ["plot", "predicted-vs-measured", "FILE", "-o", "picture.svg"]),
    "profile": (DOCUMENTS, ["report", "FILE"]),
    "linted profile": (DOCUMENTS, ["lint", "FILE", "--isolated"]),
    "compared": (DOCUMENTS, ["compare", "sound.json", "FILE"]),
    "baseline": (DOCUMENTS, ["lint", "sound.json", "--isolated", "--baseline", "FILE"]),
    "measurement": (DOCUMENTS, ["export", "sound.json", "--to", "model-explorer-data", "--measured", "FILE"]),
    "transformers": (DOCUMENTS, ["report", "hf:FILE"]),
    "device": (TOMLS, ["devices", "show", "FILE"]),
    "device of a report": (TOMLS, ["report", "sound.json", "--device", "FILE"]),
    "configuration": (TOMLS, ["lint", "sound.json", "--config", "FILE"]),
    "space": (TOMLS, ["sweep", "FILE", "-o", "rows.csv"]),
}
CONDITIONS = (
    "a" + " " * 60_000, "(" * 60_000, "not " * 60_000 + "a", "a<1 and " * 20_000 + "a<1", "params<1e999",
    f"params<{DIGITS}", "\x1b[31m<1", "params<1" + " " * 60_000 + "x",
    "params<1%%", '"' * 50_000, "params<1 or" * 30_000,
)  # fmt: skip
INPUTS = (
    "1," * 100_000, DIGITS, "1,3,8,8:" + "x" * 100_000, "x=" * 50_000, "=", ":", ",", "1,-3", "1,3,8,8:float99",
    "\x1b[31m", "x=1,3:int64\x1b", " " * 100_000 + "1", "0x10", "1e3", "1,3,8,8," * 1000,
)  # fmt: skip
ARGUMENTS = (
    f"width={NESTED}", f"width={DIGITS}", "width=" + "{" * 50_000, "width=" + "-" * 50_000 + "1",
    "width=1" + "+1j" * 10_000, "=", "x", "\x1b=1", "width='\x1b[31m'", "width=1e999", "width=nan",
)  # fmt: skip
OPTIONS = [
    *(("lint", "sound.json", "--isolated", "--budget", text) for text in CONDITIONS),
    *(("sweep", "zoo:mobilenet_v1", "--where", text, "-o", "rows.csv") for text in CONDITIONS),
    *(("report", "zoo:mobilenet_v1", "--input", text) for text in INPUTS),
    *(("report", "zoo:mobilenet_v1", "-a", text) for text in ARGUMENTS),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Iterator[None]:
    """A folder with a sound profile and a sound device, and little memory to spare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Path("sound.json").write_text(examples()["tiny"].to_json())
    Path("sound.toml").write_text(device())
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(re.findall(r"VmData:\s*(\d+) kB", Path("/proc/self/status").read_text())[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, limits)


def check(command: list[str], capsys: pytest.CaptureFixture[str], refused: bool = False) -> None:
    """A command ends in time with a report, or with one line."""
    start = time.monotonic()
    code = run(command)
    out, err = capsys.readouterr()
    assert code == 2 if refused else code in (0, 1, 2), err
    assert "run again with -v" not in err
    assert "\x1b" not in out + err
    verdict = f"1 of 1 model could not be analysed: {command[1]}\n" if command[0] == "lint" else ""
    assert code != 2 or err.removesuffix(verdict).count("\n") == 1, err
    assert time.monotonic() - start < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "name"), [(reader, name) for reader, (contents, _) in READERS.items() for name in contents]
)
def test_a_hostile_file_ends_in_a_report_or_in_one_line(reader, name, capsys):
    contents, command = READERS[reader]
    content = contents[name]
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    check([word.replace("FILE", name) for word in command], capsys)


@pytest.mark.parametrize("command", OPTIONS, ids=lambda command: f"{command[0]} {command[-1][:20]!a}")
def test_a_hostile_option_is_refused_in_one_line(command, capsys):
    check(list(command), capsys, refused=True)


@pytest.mark.slow
@pytest.mark.parametrize("reader", SOUND)
def test_a_sound_file_is_read(reader, capsys):
    """So that hostile ones are refused for what they hold."""
    contents, command = READERS[reader]
    name = f"it{Path(next(iter(contents))).suffix}"
    Path(name).write_text(SOUND[reader])
    assert run([word.replace("FILE", name) for word in command]) == 0, capsys.readouterr().err
