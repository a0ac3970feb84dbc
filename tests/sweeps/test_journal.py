"""Journals come from outside: whatever a line holds, it is a row or it is skipped."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers.killed_sweeps import TINY

import costlab
from costlab.cli import run
from costlab.sweeps import _sweep
from costlab.sweeps.rows import FinishedRow

SPACE = {"factory": TINY, "arguments": {"width": "1:4"}, "resolution": 8}


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def spoil(line: bytes, **changes: Any) -> bytes:
    """A row with other values."""
    return json.dumps({**json.loads(line), **changes}).encode() + b"\n"


DAMAGED = {
    "not json": lambda line: b"{ no\n",
    "an empty line": lambda line: b"\n",
    "binary": lambda line: b"\x00\xff\x1b[31m\n",
    "half a line": lambda line: line[: len(line) // 2] + b"\n",
    "a list": lambda line: b"[1]\n",
    "no columns": lambda line: json.dumps({"key": json.loads(line)["key"]}).encode() + b"\n",
    "one column less": lambda line: json.dumps(dict(list(json.loads(line).items())[:-1])).encode() + b"\n",
    "one column more": lambda line: spoil(line, other=1),
    "another order": lambda line: json.dumps(dict(reversed(json.loads(line).items()))).encode() + b"\n",
    "a key that is a list": lambda line: spoil(line, key=["x"]),
    "a key that is missing": lambda line: line.replace(b'"key"', b'"kex"'),
    "NaN": lambda line: line.replace(b'"error"', b'"params": NaN, "error"'),
    "a number beyond floats": lambda line: line.replace(b'"error"', b'"params": 1e999, "error"'),
    "an integer of 5,000 digits": lambda line: line.replace(b'"error"', b'"params": ' + b"9" * 5000 + b', "error"'),
    "nested 100,000 deep": lambda line: line.replace(b'"error"', b'"params": ' + b"[" * 100_000 + b', "error"'),
    "nested arguments": lambda line: spoil(line, width=nested(100)),
    "a line of 3 MB": lambda line: spoil(line, name="x" * (3 << 20)),
    **{
        f"{column} is {value!r}": lambda line, column=column, value=value: spoil(line, **{column: value})
        for column, values in {
            "seconds": ("1", None, -1, True),
            "name": (None, 3, ["x"], {}),
            "mult_adds": ("12", -1, 1.5, True, [1], {"a": 1}, 10**40),
            "arithmetic_intensity": ("1", -1.0, [], True),
            "G1": (1, [], {}, False),
            "G1_share": ("x", [0.5], -0.5),
            "uncounted": ("0", 0.5),
            "error": (0, False, [], {"x": 1}),
        }.items()
        for value in values
    },
}


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture(scope="module")
def rows_of_four(tmp_path_factory, threads) -> list[bytes]:
    """The lines of a journal of four rows."""
    path = tmp_path_factory.mktemp("journal") / "rows.jsonl"
    costlab.sweep(SPACE, threads, journal=path)
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_of_a_journal_is_skipped_and_named_and_its_row_computed_again(
    damage, rows_of_four, tmp_path, threads, monkeypatch
):
    monkeypatch.setattr(_sweep, "compute_rows", lambda task, chunk: [replayed(rows_of_four, p) for p in chunk])
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join([rows_of_four[0], damage(rows_of_four[1]), *rows_of_four[2:]]))
    result = costlab.sweep(SPACE, threads, journal=path)
    assert (result.state.known, result.state.computed) == (3, 1)
    assert result.journal.skipped == [2]
    assert [row["width"] for row in result] == [1, 2, 3, 4]
    assert [{**json.loads(line)} for line in rows_of_four] == [
        json.loads(line) for line in (rows_of_four[0], path.read_bytes().splitlines()[-1], *rows_of_four[2:])
    ]


def replayed(lines: list[bytes], position: int) -> FinishedRow:
    """A row as it was computed before."""
    return FinishedRow(position, 0.0, False, lines[position].decode())


def test_a_journal_cannot_be_the_output_too(tmp_path, capsys):
    os.symlink("rows.jsonl", tmp_path / "link.jsonl")
    for name in ("rows.jsonl", "link.jsonl"):
        words = ["--journal", f"{tmp_path}/{name}", "-o", f"{tmp_path}/rows.jsonl"]
        assert run(["sweep", TINY, "-a", "width=1:3", *words]) == 2
        assert "use two files" in capsys.readouterr().err
    assert not (tmp_path / "rows.jsonl").exists()
