"""A `.pt2` archive is data: nothing in it runs, and reading it has limits."""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import exported_fuzzing as fuzzing
from helpers.exported_programs import Net, edited, members, rewritten, save_nested, save_net, write

from costlab.errors import CostlabError
from costlab.models import ModelSpec, profile_of
from costlab.models.providers.exported import archive, expressions
from costlab.models.resolve import OTHER_FILES

WATCH = fuzzing.Watch()


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    path = save_net(tmp_path_factory.mktemp("exported") / "net.pt2")
    profile_of(ModelSpec(str(path)))  # imports what it needs
    return path


@pytest.fixture(scope="module")
def nested(tmp_path_factory) -> Path:
    path = save_nested(tmp_path_factory.mktemp("exported") / "nested.pt2")
    profile_of(ModelSpec(str(path)))
    return path


@pytest.fixture
def owned(tmp_path, monkeypatch) -> Path:
    """A file that an attack would make, and a module whose import would make it."""
    canary = tmp_path / "owned"
    (tmp_path / "owned_module.py").write_text(f"open({str(canary)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return canary


class CreatesFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def code(canary: Path) -> str:
    """Python that makes the canary."""
    return f"__import__('pathlib').Path({str(canary)!r}).touch()"


def nothing_runs(path: Path, canary: Path, match: str | None = None) -> None:
    """Reading the file runs nothing; with `match` it is refused."""
    WATCH.seen.clear()
    with WATCH:
        if match is None:
            profile_of(ModelSpec(str(path)))
        else:
            with pytest.raises(CostlabError, match=match) as failure:
                profile_of(ModelSpec(str(path)))
            assert "\n" not in str(failure.value)
    assert WATCH.seen == []
    assert not canary.exists()
    assert "owned_module" not in sys.modules


# The four attacks.


def test_a_model_under_another_suffix_is_refused(net, tmp_path, owned):
    contents = members(net)
    contents["net/models/model.jsom"] = contents.pop("net/models/model.json").replace(
        b'{"as_int": 16}', json.dumps({"as_expr": {"expr_str": code(owned), "hint": None}}).encode()
    )
    nothing_runs(write(tmp_path / "h.pt2", contents), owned, "not a known part")


def test_the_name_of_an_input_is_an_identifier(net, tmp_path, owned):
    hostile = rewritten(
        net,
        tmp_path / "h.pt2",
        lambda _, content: content.replace(b'"name": "x"', json.dumps({"name": f"x={code(owned)}"})[1:-1].encode()),
    )
    nothing_runs(hostile, owned, "is not a name")


def test_two_central_directories_are_refused(net, tmp_path, owned):
    hidden = write(tmp_path / "hidden.pt2", {**members(net), "net/data/constants/custom_obj_0": b"\x80\x04."})
    for number, content in enumerate(
        [
            net.read_bytes() + hidden.read_bytes(),
            hidden.read_bytes() + net.read_bytes(),
            net.read_bytes()[:-2] + struct.pack("<H", 22) + hidden.read_bytes()[-22:],
        ]
    ):
        path = tmp_path / f"h{number}.pt2"
        path.write_bytes(content)
        nothing_runs(path, owned, "directory|belong")


def test_a_default_factory_is_never_imported(net, tmp_path, owned):
    context = {"default_factory_module": "owned_module", "default_factory_name": "x", "dict_context": ["x"]}
    leaf = {"type": None, "context": None, "children_spec": []}

    def change(document):
        signature = document["graph_module"]["module_call_graph"][0]["signature"]
        version, tree = json.loads(signature["in_spec"])
        kinds = {"type": "collections.defaultdict", "context": json.dumps(context), "children_spec": [leaf]}
        tree["children_spec"][0]["children_spec"] = [kinds]
        signature["in_spec"] = json.dumps([version, tree])

    nothing_runs(edited(net, tmp_path / "h.pt2", change), owned)


# Other ways to run something.


@pytest.mark.parametrize("member", ["data/sample_inputs/model.pt", "data/weights/weight_0"])
def test_a_pickle_in_the_place_of_data_is_never_opened(net, tmp_path, owned, member):
    buffer = io.BytesIO()
    torch.save((CreatesFile(owned),), buffer)
    hostile = rewritten(
        net, tmp_path / "h.pt2", lambda name, content: buffer.getvalue() if name.endswith(member) else content
    )
    nothing_runs(hostile, owned)


def test_the_pickle_of_these_tests_would_run(owned):
    pickle.loads(pickle.dumps(CreatesFile(owned))).close()
    assert owned.exists()


@pytest.mark.parametrize(
    "name",
    [
        "data/constants/opaque_obj_0",
        "data/constants/CUSTOM_OBJ_0",
        "data/aotinductor/m/x.so",
        "data/weights/model.pt",
        "serialized_exported_program.json",
        "data/../owned",
        "owned",
    ],
)
def test_members_that_are_not_data_are_refused(net, tmp_path, owned, name):
    hostile = write(tmp_path / "h.pt2", {**members(net), f"net/{name}": b"anything"})
    nothing_runs(hostile, owned, "refused")


@pytest.mark.parametrize(
    "target",
    ["torch.os.system", "torch.ops.load_library", "builtins.exec", "torch._functorch.predispatch._add_batch_dim"],
)
def test_only_operators_are_called(net, tmp_path, owned, target):
    hostile = rewritten(
        net, tmp_path / "h.pt2", lambda _, content: content.replace(b"torch.ops.aten.relu.default", target.encode())
    )
    nothing_runs(hostile, owned, "not a tensor operator")


@pytest.mark.parametrize(
    "target", ["torch.ops.aten.from_file.default", "torch.ops.owned_module.f.default", "torch.ops.aten._print.default"]
)
def test_an_operator_that_is_not_on_the_list_is_uncounted_and_not_called(net, tmp_path, owned, target):
    hostile = rewritten(
        net, tmp_path / "h.pt2", lambda _, content: content.replace(b"torch.ops.aten.relu.default", target.encode())
    )
    nothing_runs(hostile, owned)
    kind = "::".join(target.split(".")[2:4])
    assert profile_of(ModelSpec(str(hostile))).uncounted == {kind: 1}


def test_pickled_tensors_are_refused(net, tmp_path, owned):
    hostile = rewritten(
        net, tmp_path / "h.pt2", lambda _, content: content.replace(b'"use_pickle": false', b'"use_pickle": true')
    )
    nothing_runs(hostile, owned, "pickled tensor")


def test_a_symbolic_size_is_arithmetic(nested, tmp_path, owned):
    def change(document):
        for meta in document["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code(owned)

    nothing_runs(edited(nested, tmp_path / "h.pt2", change), owned, "not arithmetic|not known")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2*s0 + 1", 15),
        ("Add(Mul(Integer(2), Symbol('s0', positive=True, integer=True)), Integer(1))", 15),
        ("Max(s0, 9)//2 - -3", 7),
        ("-s0**2 % 5", -49 % 5),
        ("(s0 - 1)*(s0 + 1)", 48),
        ("CeilToInt(IntTrueDiv(s0, 2))", 4),
        ("FloorDiv(Symbol('s0'), Integer(2)) + Mod(s0, 4)", 6),
        ("2**3**2", 512),
    ],
)
def test_sizes_are_computed_as_python_computes_them(text, value):
    assert expressions.evaluate(expressions.parse(text), {"s0": 7}) == value


@pytest.mark.parametrize("text", ["", "s0 +", "s0.real", "[s0]", "f(s0)", "Symbol(s0 + 1)", "1 if s0 else 2", "s0 s1"])
def test_what_is_not_arithmetic_is_refused(text):
    with pytest.raises(CostlabError):
        expressions.parse(text)


# Structure.


def test_a_member_named_twice_is_refused(net, tmp_path, owned):
    hostile = rewritten(net, tmp_path / "h.pt2", lambda _, content: content)
    with zipfile.ZipFile(hostile, "a") as copy:
        copy.writestr("net/MODELS/model.json", b"{}")
    nothing_runs(hostile, owned, "twice")


@pytest.mark.parametrize("keep", [0, 10, 500, 0.5, 0.9])
def test_a_truncated_archive_is_one_clear_line(net, tmp_path, owned, keep):
    content = net.read_bytes()
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    nothing_runs(broken, owned, "not a torch.export program|corrupt")


def test_a_pickled_model_under_the_name_of_a_program_is_refused(tmp_path, owned):
    path = tmp_path / "model.pt2"
    torch.save(Net(), path)
    nothing_runs(path, owned, "refused")


def test_a_field_that_is_not_in_the_schema_is_one_line(net, tmp_path, owned):
    def change(document):
        document["graph_module"]["graph"]["nodes"][0]["hook"] = "owned_module.x"

    nothing_runs(edited(net, tmp_path / "h.pt2", change), owned, "Node has the unknown field 'hook'")


def test_a_program_that_does_not_say_how_it_is_called_is_one_line(net, tmp_path, owned):
    def change(document):
        for entry in document["graph_module"]["module_call_graph"]:
            entry.pop("signature", None)

    nothing_runs(edited(net, tmp_path / "h.pt2", change), owned, "does not say how it is called")


def test_another_major_version_is_one_line(net, tmp_path, owned):
    def change(document):
        document["schema_version"]["major"] = 9

    nothing_runs(edited(net, tmp_path / "h.pt2", change), owned, "version 9; costlab reads version 8")


# Bombs.


@pytest.mark.parametrize("size", [archive.JSON_LIMIT + 1, archive.JSON_LIMIT - 1], ids=["too large", "too dense"])
def test_a_bomb_is_refused_before_it_is_unpacked(net, tmp_path, owned, size):
    contents = {**members(net), "net/models/model.json": b" " * size}
    bomb = write(tmp_path / "bomb.pt2", contents, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    nothing_runs(bomb, owned, "too large|times its size")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ['{"a":' * 100_000, "[" * 1_000_000, "9" * 100_000, '{"graph_module": 1e999}', '"\\ud800"', "NaN"]
)
def test_json_bombs_are_refused(net, tmp_path, owned, text):
    contents = {**members(net), "net/models/model.json": text.encode()}
    nothing_runs(write(tmp_path / "h.pt2", contents), owned, "corrupt|not a program")


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "Pow(Integer(2), Pow(Integer(9), Integer(99)))", "(" * 5000, "-" * 5000]
)
def test_expression_bombs_are_refused(nested, tmp_path, owned, text):
    def change(document):
        for meta in document["graph_module"]["graph"]["tensor_values"].values():
            meta["sizes"] = [{"as_expr": {"expr_str": text, "hint": None}} for _ in meta["sizes"]]

    nothing_runs(edited(nested, tmp_path / "h.pt2", change), owned, "not arithmetic|cannot be read")


def test_products_of_sizes_cannot_grow(nested, tmp_path, owned):
    def change(document):
        graph = document["graph_module"]["graph"]
        name = next(
            node["outputs"][0]["as_sym_int"]["as_name"] for node in graph["nodes"] if "sym_size" in node["target"]
        )
        argument = {"name": "a", "arg": {"as_sym_int": {"as_name": name}}, "kind": 1}
        output = [{"as_sym_int": {"as_name": name}}]
        square = {"target": "_operator.mul", "inputs": [argument, argument], "outputs": output, "metadata": {}}
        graph["nodes"] = [graph["nodes"][0], *[square] * 200, *graph["nodes"][1:]]

    nothing_runs(edited(nested, tmp_path / "h.pt2", change), owned, "bits")


@pytest.mark.slow
def test_more_modules_than_any_network_has_are_refused(net, tmp_path, owned):
    def change(document):
        calls = document["graph_module"]["module_call_graph"]
        calls += [{"fqn": ".".join([f"m{i}"] * 60), "signature": None} for i in range(1000)]

    nothing_runs(edited(net, tmp_path / "h.pt2", change), owned, "more than 50,000 modules")


@pytest.mark.slow
def test_weights_of_any_size_take_no_memory(net, tmp_path):
    large = b'"sizes": [{"as_int": 4}, {"as_int": 99999999999}], "requires_grad": false'
    usual = b'"sizes": [{"as_int": 4}, {"as_int": 8}], "requires_grad": true'
    hostile = rewritten(net, tmp_path / "h.pt2", lambda _, content: content.replace(usual, large))
    script = (
        "import resource\nfrom costlab.errors import CostlabError\nfrom costlab.models import ModelSpec, profile_of\n"
        f"profile_of(ModelSpec({str(net)!r}))\nused = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        f"try:\n    profile_of(ModelSpec({str(hostile)!r}))\n"
        "except CostlabError as error:\n    print('refused', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused forward fails"), done


def test_lines_of_source_are_not_looked_up_in_files_that_a_program_names(nested, tmp_path, owned):
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)  # whoever opens it waits

    def change(document):
        for node in document["graph_module"]["graph"]["nodes"]:
            node["metadata"]["stack_trace"] = f'File "{pipe}", line 1, in forward'

    assert profile_of(ModelSpec(str(edited(nested, tmp_path / "h.pt2", change)))).ops[-1].source.file == str(pipe)
    assert not owned.exists()


# The fuzzer.


@pytest.mark.slow
def test_no_broken_archive_runs_anything_or_fails_otherwise_than_by_a_line(net, nested, tmp_path, owned):
    path = tmp_path / "case.pt2"
    programs = [net.read_bytes(), nested.read_bytes()]
    WATCH.seen.clear()
    for name, content in itertools.islice(fuzzing.cases(17, programs), 500):
        path.write_bytes(content)
        with WATCH:
            fuzzing.check(path)
        assert not WATCH.seen, (name, WATCH.seen)
    assert not owned.exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda: exec("1"),
        lambda: compile("1", "x", "eval"),
        lambda: __import__("owned_module"),
        lambda: open("owned", "w").close(),
        lambda: subprocess.run(["true"], check=False),
        lambda: __import__("socket").socket().close(),
        lambda: pickle.loads(pickle.dumps(Path)),
    ],
    ids=["exec", "compile", "import", "write", "subprocess", "socket", "pickle"],
)
def test_the_watch_would_notice(act, owned, monkeypatch):
    monkeypatch.chdir(owned.parent)
    WATCH.seen.clear()
    with WATCH:
        act()
    assert WATCH.seen
    sys.modules.pop("owned_module", None)
    WATCH.seen.clear()


@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl", "bin", "ckpt"])
def test_pickles_are_refused_with_the_reason(tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    torch.save(Net(), path)
    with pytest.raises(CostlabError, match="pickle, which can run any code"):
        profile_of(ModelSpec(str(path)))


@pytest.mark.parametrize("suffix", OTHER_FILES)
def test_other_files_are_refused_with_what_to_give_instead(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"anything")
    with pytest.raises(CostlabError, match="give "):
        profile_of(ModelSpec(str(path)))


def test_a_folder_is_refused_with_what_to_give_instead(tmp_path):
    with pytest.raises(CostlabError, match="is a folder: give hf:"):
        profile_of(ModelSpec(str(tmp_path)))
