"""A `.pt2` archive is data: whatever in it could run is refused before it is opened."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from costlab.errors import CostlabError
from costlab.models import ModelSpec, profile_of


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    torch.export.save(torch.export.export(Net().eval(), (torch.randn(2, 3, 16, 16),)), path)
    return path


def rewritten(program: Path, target: Path, change) -> Path:
    """A copy of the archive with `change(name, content)` in place of each member's content."""
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(target, "w") as copy:
        for member in source.namelist():
            copy.writestr(member, change(member, source.read(member)))
    return target


class CreatesFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_program_costs_what_its_module_costs(program):
    profile = profile_of(ModelSpec(str(program)))
    assert profile.mult_adds == 2 * 14 * 14 * 8 * 3 * 3 * 3 + 2 * 8 * 4
    assert profile.params == 8 * 3 * 3 * 3 + 8 + 2 * 8 + 8 * 4 + 4
    rows = profile.by_module()
    assert rows["body.0"].type == "Conv2d"
    assert rows["head"].mult_adds == 2 * 8 * 4


@pytest.mark.parametrize("member", ["sample_inputs/model.pt", "data/weights/weight_99.pt", "data/constants/extra.pt"])
def test_a_hidden_pickle_never_runs(program, tmp_path, member):
    sign = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save((CreatesFile(sign),), buffer)
    hostile = rewritten(
        program, tmp_path / "h.pt2", lambda name, content: buffer.getvalue() if name.endswith(member) else content
    )
    with zipfile.ZipFile(hostile) as archive:
        names = archive.namelist()
    if not any(name.endswith(member) for name in names):
        with zipfile.ZipFile(hostile, "a") as archive:
            archive.writestr(f"{names[0].partition('/')[0]}/{member}", buffer.getvalue())
    with pytest.raises(CostlabError, match="pickle"):
        profile_of(ModelSpec(str(hostile)))
    assert not sign.exists()


def test_the_hidden_pickle_of_these_tests_would_run(tmp_path):
    sign = tmp_path / "ran"
    pickle.loads(pickle.dumps(CreatesFile(sign))).close()
    assert sign.exists()


@pytest.mark.parametrize(
    "name", ["data/constants/opaque_obj_0", "data/constants/CUSTOM_OBJ_0", "data/aotinductor/m/x.so"]
)
def test_members_that_torch_would_run_are_refused(program, tmp_path, name):
    hostile = rewritten(program, tmp_path / "h.pt2", lambda _, content: content)
    with zipfile.ZipFile(hostile, "a") as archive:
        archive.writestr(f"h/{name}", b"anything")
    with pytest.raises(CostlabError, match="refused"):
        profile_of(ModelSpec(str(hostile)))


def test_a_symbolic_size_is_arithmetic_only(program, tmp_path):
    sign = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(sign)!r}).touch()"

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        text = content.decode().replace('{"as_int": 16}', json.dumps({"as_expr": {"expr_str": code, "hint": None}}), 1)
        assert "expr_str" in text
        return text.encode()

    with pytest.raises(CostlabError, match="no arithmetic"):
        profile_of(ModelSpec(str(rewritten(program, tmp_path / "h.pt2", change))))
    assert not sign.exists()


@pytest.mark.parametrize("target", ["torch.os.system", "torch.ops.aten.from_file.default", "torch.ops.load_library"])
def test_only_tensor_operators_are_called(program, tmp_path, target):
    def change(name: str, content: bytes) -> bytes:
        return content.replace(b"torch.ops.aten.relu.default", target.encode())

    with pytest.raises(CostlabError, match="no tensor operator"):
        profile_of(ModelSpec(str(rewritten(program, tmp_path / "h.pt2", change))))


def test_pickled_tensors_are_refused(program, tmp_path):
    hostile = rewritten(
        program, tmp_path / "h.pt2", lambda _, c: c.replace(b'"use_pickle": false', b'"use_pickle": true')
    )
    with pytest.raises(CostlabError, match="pickled tensor"):
        profile_of(ModelSpec(str(hostile)))


def test_a_member_named_twice_is_refused(program, tmp_path):
    hostile = rewritten(program, tmp_path / "h.pt2", lambda _, content: content)
    with zipfile.ZipFile(hostile) as archive:
        name = archive.namelist()[0]
    with zipfile.ZipFile(hostile, "a") as archive:
        archive.writestr(name.upper(), b"other")
    with pytest.raises(CostlabError, match="twice"):
        profile_of(ModelSpec(str(hostile)))


@pytest.mark.parametrize("keep", [0, 10, 500, 0.5, 0.9])
def test_a_truncated_archive_is_one_clear_line(program, tmp_path, keep):
    content = program.read_bytes()
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(CostlabError) as failure:
        profile_of(ModelSpec(str(broken)))
    assert "\n" not in str(failure.value)


def test_a_pickled_model_under_the_name_of_a_program_is_refused(tmp_path):
    path = tmp_path / "model.pt2"
    torch.save(Net(), path)
    with pytest.raises(CostlabError, match="refused"):
        profile_of(ModelSpec(str(path)))


@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl", "bin", "ckpt"])
def test_pickles_are_refused_with_the_reason(tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    torch.save(Net(), path)
    with pytest.raises(CostlabError, match="pickle, which can run any code"):
        profile_of(ModelSpec(str(path)))
