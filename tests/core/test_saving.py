"""Profiles as JSON: lossless, invalid files are rejected in one line, writes are atomic."""

from __future__ import annotations

import copy
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.examples import NAMES, examples
from torch import nn

from costlab.core.files import read_profile, write_text
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing._profile import profile

# The keys of schema version 1 (docs/json.md).
COST_KEYS = {
    "mult_adds",
    "params",
    "memory_access",
    "element_wise_ops",
    "activations",
    "read_bytes",
    "write_bytes",
    "bytes_accessed",
    "activation_bytes",
    "param_bytes",
    "arithmetic_intensity",
}


def document(name: str) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(examples()[name].to_json(), parse_constant=refuse)


@pytest.mark.parametrize("name", NAMES)
def test_reading_gives_back_what_was_written(name):
    saved = examples()[name]
    text = saved.to_json()
    read = Profile.from_json(text)
    assert read == saved
    assert read.to_json() == text
    assert read.total == saved.total
    assert read.by_module() == saved.by_module()
    assert read.by_kind() == saved.by_kind()
    assert list(read.graph.edges) == list(saved.graph.edges)
    assert dict(read.graph.nodes(data=True)) == dict(saved.graph.nodes(data=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_document_has_the_keys_of_the_contract(name):
    read = document(name)
    assert set(read) >= {"schema_version", "costlab", "torch", "mode", "model", "inputs", "total", "coverage"}
    assert set(read) >= {"modules", "ops", "edges"}
    assert read["schema_version"] == 1
    assert set(read["model"]) == {"name", "provider", "arguments"}
    assert set(read["total"]) == COST_KEYS | {
        *("unused_params", "trainable_params", "peak_activation_bytes", "peak_bytes")
    }
    assert set(read["coverage"]) == {"ops", "counted", "free", "estimated", "guesses", "uncounted"}
    for module in read["modules"]:
        assert set(module) >= COST_KEYS | {"path", "type", "source", "output_shape", "ops", "unused_params"}
    for op in read["ops"]:
        assert set(op) >= COST_KEYS | {"name", "kind", "module", "inputs", "outputs", "attrs", "source"}
        assert set(op) >= {"free", "estimated"}
        for tensor in op["inputs"] + op["outputs"]:
            assert set(tensor) == {"name", "shape", "dtype", "role", "elements", "storage"}


@pytest.mark.parametrize("name", NAMES)
def test_modules_sum_to_the_total_and_operators_to_it_less_the_unused(name):
    read = document(name)
    for key in COST_KEYS - {"arithmetic_intensity"}:
        whole = read["total"][key]
        assert sum(module[key] for module in read["modules"]) == whole
        unused = sum(module["unused_param_bytes"] for module in read["modules"])
        left_out = {"params": read["total"]["unused_params"], "param_bytes": unused}.get(key, 0)
        assert sum(op[key] or 0 for op in read["ops"]) == whole - left_out


def test_numbers_in_a_document_are_those_of_the_network():
    read = document("tiny")
    assert read["model"] == {"name": "tiny", "provider": "zoo", "arguments": {"width": 0.5, "sizes": [1]}}
    assert read["inputs"] == [{"name": "x", "shape": [2, 3, 16, 16], "dtype": "float32"}]
    assert read["total"]["mult_adds"] == 2 * 8 * 16 * 16 * 3 * 3 * 3 + 2 * 5 * 8
    assert read["total"]["params"] == 8 * 3 * 3 * 3 + 8 + 5 * 8 + 5
    assert read["coverage"] == {"ops": 5, "counted": 4, "free": 1, "estimated": {}, "guesses": {}, "uncounted": {}}
    conv = read["ops"][0]
    assert (conv["name"], conv["kind"], conv["module"]) == ("conv/conv2d", "conv2d", "conv")
    assert conv["memory_access"] == 2 * 3 * 16 * 16 + 8 * 3 * 3 * 3 + 8 + 2 * 8 * 16 * 16
    assert conv["attrs"]["padding"] == [1, 1]
    assert read["edges"][0] == ["conv/conv2d", "act/relu"]
    assert Path(conv["source"]["file"]).name == "examples.py"


def test_what_is_unknown_is_null_and_named():
    read = document("hostile")
    (unknown,) = [op for op in read["ops"] if op["kind"] == "special_bessel_j0"]
    assert {unknown[key] for key in COST_KEYS - {"params", "param_bytes"}} == {None}
    assert read["coverage"]["uncounted"] == {"special_bessel_j0": 1}
    assert document("guessed")["coverage"]["guesses"] == {"index": 1}
    assert document("guessed")["coverage"]["estimated"] == {"index": 1, "linear": 1}


def test_arguments_that_json_lacks_become_words():
    odd = {"nan": float("nan"), "tuple": (1, (2,)), "dtype": torch.float16, "nested": {1: {2: None}}}
    read = json.loads(profile(torch.nn.ReLU(), (2,), arguments=odd).to_json(), parse_constant=pytest.fail)
    expected = {"nan": "nan", "tuple": [1, [2]], "dtype": "torch.float16", "nested": {"1": {"2": None}}}
    assert read["model"]["arguments"] == expected


@pytest.mark.slow
def test_three_thousand_operators_survive_saving():
    class Long(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(1500))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x).relu()
            return x

    long = profile(Long(), (2, 4))
    assert len(long.ops) == 3000
    text = long.to_json()
    assert Profile.from_json(text) == long


def test_reading_does_not_import_torch(tmp_path):
    write_text(tmp_path / "p.json", examples()["tiny"].to_json())
    code = (
        "import sys, costlab; p = costlab.Profile.from_json(open(sys.argv[1]).read());"
        "print(p.mult_adds); p._repr_html_(); p.to_json(); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "p.json"], capture_output=True, text=True, check=True)
    assert done.stdout == "110672\n"


# Documents that are not profiles.


def refused(text: str) -> str:
    """The one line with which a document is refused."""
    with pytest.raises(CostlabError) as caught:
        Profile.from_json(text)
    message = str(caught.value)
    assert message.startswith("not a costlab profile")
    assert message.isprintable()
    assert len(message) < 300
    return message


def outcome(text: str) -> tuple[str, Profile | None]:
    """The line that refuses a document, or what it reads as."""
    try:
        return "", Profile.from_json(text)
    except CostlabError as error:
        return str(error), None


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield value, key
        yield from places(member)


WRONG = [None, True, -1, 1.5, 10**31, 2**63, "", "no such name", [], [[]], {}, {"": []}, ["a", "b"]]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.slow
def test_a_wrong_value_anywhere_is_refused_or_harmless(wrong):
    original = document("wasteful")
    for number in range(len(list(places(original)))):
        spoilt = copy.deepcopy(original)
        container, key = list(places(spoilt))[number]
        container[key] = copy.deepcopy(wrong)
        text = json.dumps(spoilt)
        message, read = outcome(text)
        assert message.isprintable()
        assert len(message) < 300
        assert read is None or Profile.from_json(read.to_json()) == read


def test_every_key_that_matters_must_be_there():
    original = document("wasteful")
    derived = {"coverage", "bytes_accessed", "arithmetic_intensity", "peak_activation_bytes", "peak_bytes"}
    derived |= {"buffer_bytes", "trainable_params", "held"}  # earlier documents lack them
    modules_own = {"path", "type", "source", "output_shape", "unused_params", "unused_param_bytes"}
    for section, entry in (("", original), ("model", original["model"]), ("total", original["total"])):
        for key in set(entry) - derived - {"absent_inputs"}:
            spoilt = copy.deepcopy(original)
            del (spoilt[section] if section else spoilt)[key]
            assert repr(key) in refused(json.dumps(spoilt))
    for section, needed in (("modules", modules_own), ("ops", set(original["ops"][0]) - derived)):
        for key in needed:
            spoilt = copy.deepcopy(original)
            del spoilt[section][0][key]
            assert repr(key) in refused(json.dumps(spoilt))


def test_a_document_of_before_absent_inputs_is_read_without_them():
    network = replace(examples()["tiny"], trace=replace(examples()["tiny"].trace, absent={"y": "", "z": "too wide"}))
    written = json.loads(network.to_json())
    assert written["absent_inputs"] == {"y": "", "z": "too wide"}
    assert Profile.from_json(json.dumps(written)).inputs_not_given == "z: too wide"
    del written["absent_inputs"]
    assert Profile.from_json(json.dumps(written)).trace.absent == {}
    assert "absent_inputs.y" in refused(json.dumps({**written, "absent_inputs": {"y": 1}}))


def test_a_truncated_document_is_refused_wherever_it_ends():
    text = examples()["tiny"].to_json().rstrip()
    for end in range(0, len(text), 37):
        assert "invalid JSON in line" in refused(text[:end])


def changed(**changes: Any) -> str:
    return json.dumps({**document("tiny"), **changes})


def test_a_graph_with_a_cycle_is_refused():
    assert "to a later one" in refused(changed(edges=[["conv/conv2d", "act/relu"], ["act/relu", "conv/conv2d"]]))
    assert "to a later one" in refused(changed(edges=[["act/relu", "act/relu"]]))
    assert "'ghost'" in refused(changed(edges=[["conv/conv2d", "ghost"]]))
    assert "edges[0]" in refused(changed(edges=[["conv/conv2d"]]))


def test_names_that_come_twice_are_refused():
    ops, modules = document("tiny")["ops"], document("tiny")["modules"]
    assert "should be unique" in refused(changed(ops=[*ops, ops[-1]]))
    assert "should be unique" in refused(changed(modules=[*modules, modules[-1]]))


def test_another_schema_version_is_refused():
    assert "but of 2" in refused(changed(schema_version=2))
    assert "but of true" in refused(changed(schema_version=True))
    assert "'schema_version'" in refused("{}")


def test_a_total_that_is_not_the_sum_is_refused():
    total = document("tiny")["total"]
    assert "total.mult_adds" in refused(changed(total={**total, "mult_adds": total["mult_adds"] + 1}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"profile"',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"schema_version": NaN}',
        '{"schema_version": Infinity}',
        '{"schema_version": 1e999}',
        '{"schema_version": ' + "9" * 5000 + "}",
        "\ufeff{}",
        "<html>",
    ],
)
def test_other_texts_are_refused(text):
    refused(text)


def test_deep_attributes_are_refused():
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    spoilt = document("tiny")
    spoilt["ops"][0]["attrs"]["stride"] = deep
    assert "ops[0].attrs" in refused(json.dumps(spoilt))


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [0, 1, 19, 20, 900])
def test_what_is_saved_can_be_read_and_what_cannot_is_refused(depth):
    result = profile(nn.Linear(3, 4), (2, 3), arguments={"a": nested(depth)})
    if depth < 20:
        assert Profile.from_json(result.to_json()).arguments == {"a": nested(depth)}
    else:
        with pytest.raises(CostlabError, match="cannot be saved: its arguments nest more than 20 levels"):
            result.to_json()


def test_a_tensor_of_many_dimensions_is_saved_and_read():
    class Many(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(*[1] * 100, 6).reshape(2, 3)

    result = profile(Many(), (2, 3))
    assert max(len(tensor.shape) for op in result.ops for tensor in op.outputs) == 101
    assert Profile.from_json(result.to_json()).to_json() == result.to_json()


@pytest.mark.parametrize("dtype", ["", "float99", "\x1b[31mfloat32", "torch.float32", None, 32, ["float32"]])
def test_a_dtype_that_torch_does_not_have_is_refused(dtype):
    document = json.loads(profile(nn.Linear(3, 4), (2, 3)).to_json())
    for entry in (document["inputs"][0], document["ops"][0]["inputs"][0], document["ops"][0]["outputs"][0]):
        before, entry["dtype"] = entry["dtype"], dtype
        with pytest.raises(CostlabError, match="dtype should be") as error:
            Profile.from_json(json.dumps(document))
        assert "\x1b" not in str(error.value)
        entry["dtype"] = before


# Files.


def test_a_file_that_is_not_a_profile_is_named(tmp_path):
    for name, content in (("cut.json", b'{"schema'), ("latin.json", b"\xff\xfe{}")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CostlabError, match=name):
            read_profile(tmp_path / name)
    with pytest.raises(CostlabError, match=r"gone\.json cannot be read: no such file"):
        read_profile(tmp_path / "gone.json")
    with pytest.raises(CostlabError, match="is a directory"):
        read_profile(tmp_path)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "report.txt"
    path.write_text("before")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CostlabError, match=r"report\.txt cannot be written: no space left on device"):
        write_text(path, "after")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["report.txt"]


@pytest.mark.parametrize("where", ["missing/report.txt", ".", "file/report.txt"])
def test_a_path_that_cannot_be_written_is_an_error_of_one_line(tmp_path, where):
    (tmp_path / "file").write_text("")
    with pytest.raises(CostlabError, match=r"cannot be written: (no such file|is a directory|not a directory)"):
        write_text(tmp_path / where, "text")
    assert os.listdir(tmp_path) == ["file"]


def test_writing_keeps_mode_and_links(tmp_path):
    path, link = tmp_path / "report.txt", tmp_path / "link"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)
    write_text(link, "after \N{SNOWMAN}\n")
    assert link.is_symlink()
    assert path.read_bytes() == "after \N{SNOWMAN}\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_device_is_written_to_and_not_replaced():
    write_text(Path(os.devnull), "text")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_new_file_may_be_read_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o644
