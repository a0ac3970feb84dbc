"""Fuzzed inputs: `attempt(kind, rng, folder)` generates one, runs it, and returns what went wrong.

Whatever a user types or a file holds, a command ends with exit code 0, 1 or 2, in time, with at most one line of error
that is meant for users, and leaves no half-written file behind.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import signal
import string
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import tomli_w
import torch
from helpers.examples import HOSTILE, examples
from torch import nn

from costlab.cli import run
from costlab.core.cost import RULES
from costlab.core.graph import ITEM_BYTES

PATIENCE = 20  # seconds a command may take
UNFORESEEN = "(run again with -v for the traceback)"  # ends the line of an error that nobody foresaw

NET = """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, **more):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
    def forward(self, x, scale=None):
        return self.norm(self.conv(x)).relu()

def make(*args, **kwargs):
    return Net(**kwargs)
number, broken = 3, lambda: 1 / 0
def leaves(): raise SystemExit(3)
"""
PROJECT = """[tool.costlab.lint]
select = ["G1", "G2", "G4"]
ignore = ["G3"]
thresholds = { G1 = 0.01, G4 = 0.5 }
per-module-ignores = { "a.*" = ["G1"] }
device = "rtx3090"
fail-level = "error"

[[tool.costlab.model]]
name = "net"
target = "SAVED"
budgets = { params = "3.5 M", mult_adds = 300_000_000, memory_access = "+1%" }
base = "SAVED"

[[tool.costlab.model]]
name = "other"
target = "net.py:make"
input = ["1,3,8,8:float32"]
arguments = { width = 0.5 }
batch = 2
"""
WORDS = [
    "", " ", "\0", "\n", "\r\n", "\x1b[31m", HOSTILE[:20], "é", "名前", "\u202e", "\ud800", "🙂", "..", "/", "//", "~",
    "../../etc/passwd", "/dev/null", "/dev/zero", "/proc/self/mem", "-", "---", "-1", "0", "1e999", "nan", "NaN", "inf",
    "-0.0", "9" * 400, "1" * 5000, "true", "null", "None", "[]", "{}", "[[[[", "{{", "}}", "%s%n", "{0}", "$HOME",
    "__import__('os').system('true')", "a" * 300, "a" * 5000, "=cmd()", "<script>", "'", '"', "`", "|", "\\", "*", "?",
    "zoo:", ":zoo", "::", "zoo:mobilenet_v2:", "timm:", "hf:", "hf:..", "x.py:", ".py:make", "net.py:make",
    "net.py:number", "net.py:broken", "net.py:leaves", "net.py:make.x", "os:system", "sys:exit", "builtins:int", ".pt2",
    ".json", "x.pt2", "x.json", "x.pkl", "a.b.c:d", "torch.nn:ReLU", "torch.nn:Linear", "torchvision:nothing",
]  # fmt: skip
NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "7",
    "64",
    "224",
    "65536",
    "2147483648",
    str(10**18),
    str(10**30),
    "1.5",
    "1e3",
    "x",
]
DTYPES = ["float32", "int64", "bool", "complex64", "qint8", "float8_e4m3fn", "Tensor", "nn", "load", "float99", ""]
VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 7, 1.5, -0.0, 10**9, 2**63, 10**29, 10**31, "", "x", HOSTILE, "a" * 1000, "conv2d",
    "float32", "qint8", "activation", "eval", [], [[]], [0], [1, 1], [2] * 70, [None], {}, {"": []}, {"a": {"b": [1]}},
]  # fmt: skip


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu()


@cache
def documents() -> list[dict[str, Any]]:
    """Saved profiles to spoil."""
    from helpers.random_networks import random_network

    from costlab.tracing._profile import profile

    drawn = [random_network(Random(seed)) for seed in range(12)]
    profiles = [*examples().values(), *(profile(d.network, list(d.inputs)) for d in drawn)]
    return [json.loads(p.to_json()) for p in profiles]


@cache
def program() -> bytes:
    """A `.pt2` archive to spoil."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Tiny().eval(), (torch.randn(1, 3, 8, 8),)), buffer)
    return buffer.getvalue()


@cache
def device() -> str:
    from costlab.latency import devices

    return (Path(devices.__file__).parent / "data" / "rtx3090.toml").read_text()


# Ways of spoiling.


def spoilt_bytes(rng: Random, content: bytes) -> bytes:
    """Cut short, bits flipped, parts left out, repeated or exchanged for something else."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        if not data:
            break
        at = rng.randrange(len(data))
        end = min(len(data), at + rng.choice([1, 4, 40, 400]))
        match rng.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                data[at:end] = rng.choice(WORDS).encode("utf-8", "surrogatepass")
            case 5:
                data[at:end] = rng.randbytes(rng.choice([1, 8, 64]))
    return bytes(data)


def spoilt_text(rng: Random, text: str) -> str:
    """A word here and there exchanged, or characters put in."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice([0, 1, 3, 12]))
        put = rng.choice([rng.choice(WORDS), rng.choice(NUMBERS), rng.choice(string.punctuation), rng.choice(DTYPES)])
        text = text[:at] + put + text[end:]
    return text


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield value, key
        yield from places(member)


def spoilt_document(rng: Random, document: Any) -> str:
    """JSON of a document with members of other types and sizes, left out, repeated, or exchanged for one another."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        found = list(places(document))
        if not found:
            break
        container, key = rng.choice(found)
        match rng.randrange(6):
            case 0 | 1:
                container[key] = copy.deepcopy(rng.choice(VALUES))
            case 2:
                del container[key]
            case 3:
                other, at = rng.choice(found)
                container[key] = copy.deepcopy(other[at])
            case 4:
                if isinstance(container, list):
                    container.insert(rng.randrange(len(container) + 1), copy.deepcopy(container[key]))
                else:
                    container[rng.choice(WORDS)[:40]] = container[key]
            case 5:
                if isinstance(container[key], int):
                    container[key] = container[key] + rng.choice([-1, 1, 10, 10**6])
                elif isinstance(container[key], list):
                    rng.shuffle(container[key])
    return json.dumps(document)


def spoilt_table(rng: Random, text: str) -> str:
    """TOML with values of other types and sizes."""
    try:
        return tomli_w.dumps(json.loads(spoilt_document(rng, tomllib.loads(text))))
    except (TypeError, AttributeError):  # null, or no table
        return spoilt_text(rng, text)


def misshapen(rng: Random, document: Any) -> str:
    """Operators that are none: without inputs, attributes or sizes that their kind has, or of another kind."""
    document = copy.deepcopy(document)
    ops = [op for op in document["ops"] if op["inputs"] and op["outputs"]]
    for op in rng.sample(ops, min(len(ops), rng.choice([1, 1, 3]))):
        tensor = rng.choice([*op["inputs"], *op["outputs"]])
        match rng.randrange(9):
            case 0:
                tensor["name"] = rng.choice(["self", "input", "weight", "indices.99999999", "x"])
            case 1:
                tensor["shape"] = [rng.choice([0, 1, 2, 3, 10**9, 10**29]) for _ in range(rng.randrange(6))]
            case 2:
                tensor["storage"] = rng.choice(rng.choice(ops)["outputs"] or [tensor])["storage"]
            case 3:
                op["inputs" if rng.random() < 0.5 else "outputs"].pop()
            case 4:
                op["kind"] = rng.choice([*RULES, "element_wise", "nothing"])
            case 5:
                op["attrs"] = {} if rng.random() < 0.3 else rng.choice(ops)["attrs"]
            case 6:
                for key in rng.sample(list(op["attrs"]), min(1, len(op["attrs"]))):
                    op["attrs"][key] = rng.choice([*VALUES, [0, 0], [10**18], [-1, -5], 99, [10**9] * 3])
            case 7:
                op["free"] = not op["free"]
            case 8:
                tensor["dtype"] = rng.choice([*ITEM_BYTES])
    return json.dumps(document)


def consistent(rng: Random, text: str) -> str:
    """The document with totals that agree with its operators again, so that more of it is believed."""
    try:
        document = json.loads(text)
        keys = [k for k in document["ops"][0] if k in document["total"] and k not in ("arithmetic_intensity",)]
        for key in keys:
            parts = sum(op[key] or 0 for op in document["ops"])
            parts += sum(m["unused_params"] for m in document["modules"]) if key == "params" else 0
            parts += sum(m["unused_param_bytes"] for m in document["modules"]) if key == "param_bytes" else 0
            document["total"][key] = parts
        document["total"]["unused_params"] = sum(m["unused_params"] for m in document["modules"])
        return json.dumps(document)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        return text


# Kinds of inputs: each writes its files and says which command is run.

MODEL_COMMANDS = (
    ["report", "M"], ["report", "M", "--by", "op", "--top", "3"], ["report", "M", "--format", "json"],
    ["report", "M", "--by", "kind", "--device", "rtx3090"],
    ["report", "M", "--format", "csv", "--device", "i9-10940x", "--amp"],
    ["report", "M", "--format", "markdown", "--fusion", "pointwise", "--device", "rtx3090"],
    ["report", "M", "--format", "html"], ["report", "M", "--fusion", "bn", "--sort", "memory_access"],
    ["lint", "M", "--isolated"], ["lint", "M", "--isolated", "--device", "rtx3090", "--fusion", "pointwise"],
    *(["lint", "M", "--isolated", "--format", f] for f in ("json", "github", "gitlab", "sarif", "junit", "markdown")),
    ["compare", "M", "M"], ["compare", "M", "M", "--device", "rtx3090", "--format", "json"],
    *(["export", "M", "--to", f] for f in ("dot", "graphml", "model-explorer", "model-explorer-data")),
    ["export", "M", "--to", "perfetto", "--device", "rtx3090"],
)  # fmt: skip


def with_model(rng: Random, target: str) -> list[str]:
    return [target if word == "M" else word for word in rng.choice(MODEL_COMMANDS)]


def model_strings(rng: Random, folder: Path) -> list[str]:
    target = rng.choice(WORDS)
    if rng.random() < 0.6:
        known = ["zoo:mobilenet_v2", "net.py:make", "hf:bert", "torchvision:resnet18", "timm:vit_tiny", "profile.json"]
        target = spoilt_text(rng, rng.choice(known))
    return with_model(rng, target)


def input_shapes(rng: Random, folder: Path) -> list[str]:
    sizes = ",".join(rng.choice(NUMBERS) for _ in range(rng.randint(0, 6)))
    if rng.random() < 0.6:
        sizes = rng.choice(["1,3,8,8", "2,3,9,7", "3,8,8", "1x3x8x8"])
    spec = f"{rng.choice(['', '', 'x=', 'scale=', 'y=', '='])}{sizes}{rng.choice(['', ':' + rng.choice(DTYPES)])}"
    spec = spoilt_text(rng, spec) if rng.random() < 0.3 else spec
    extra = rng.choice([[], [], ["--batch", rng.choice(NUMBERS)], ["--resolution", rng.choice(NUMBERS)]])
    extra += rng.choice([[], [], ["--dtype", rng.choice(DTYPES)]])
    return ["report", "net.py:make", "--input", spec, *extra]


def arguments(rng: Random, folder: Path) -> list[str]:
    key, value = (
        rng.choice(["width", "groups", "num_classes", "1x", "", "self", "a.b", "x" * 200]),
        rng.choice(
            [*WORDS, *NUMBERS, "[1, 2", "{'a': 1}", "[" * 3000, "(" * 500 + ")" * 500, "1" + "+1" * 2000, "'" * 99]
        ),
    )
    target = rng.choice(
        ["net.py:make", "net.py:make", "zoo:mobilenet_v1", "zoo:shufflenet_v2", "zoo:mobilenet_v3_small"]
    )
    text = rng.choice([f"{key}={value}", f"width={value}", f"num_classes={value}", value])
    return ["report", target, "-a", text, *(["--input", "1,3,32,32"] if rng.random() < 0.5 else [])]


def options(rng: Random, folder: Path) -> list[str]:
    command = rng.choice(
        ["report", "lint", "compare", "plot", "devices", "explain", "models", "export", "cache", "sweep"]
    )
    names = "--by --depth --top --sort --format --device --fusion --output --batch --select --ignore --fail-on --budget"
    words = [
        command,
        *rng.choices(["profile.json", "G1", "show", "rtx3090", "roofline", "info", "pareto"], k=rng.randint(0, 2)),
    ]
    for name in rng.sample([*names.split(), "--strict", "--amp", "--to", "-o", "-x", "-a", "--input", "--where"], 3):
        words += [
            name,
            rng.choice([*WORDS, *NUMBERS, "op", "kind", "json", "csv", "mult_adds>1%", "params<=3 M", "dot"]),
        ]
    return [word.replace("/dev/zero", "/dev/null") for word in words]


def configurations(rng: Random, folder: Path) -> list[str]:
    text = PROJECT.replace("SAVED", "profile.json")
    spoil = rng.choice([spoilt_text, spoilt_table, spoilt_table])
    content = spoil(rng, text).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        content = spoilt_bytes(rng, content)
    (folder / "pyproject.toml").write_bytes(content)
    return rng.choice([["lint"], ["lint", "net"], ["lint", "--config", "pyproject.toml", "--format", "json"]])


def devices(rng: Random, folder: Path) -> list[str]:
    spoil = rng.choice([spoilt_text, spoilt_table, spoilt_table])
    content = spoil(rng, device()).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        content = spoilt_bytes(rng, content)
    (folder / "mine.toml").write_bytes(content)
    return rng.choice(
        [["devices", "show", "mine.toml"], ["report", "profile.json", "--device", "mine.toml"],
         ["report", "profile.json", "--device", "mine.toml", "--amp", "--fusion", "pointwise"],
         ["lint", "profile.json", "--isolated", "--device", "mine.toml"]]
    )  # fmt: skip


def baselines(rng: Random, folder: Path) -> list[str]:
    document = {"schema_version": 1, "accepted": [{"model": "net", "rule": "G1", "module": HOSTILE}] * 2}
    text = spoilt_document(rng, document).encode()
    (folder / "baseline.json").write_bytes(spoilt_bytes(rng, text) if rng.random() < 0.4 else text)
    verb = rng.choice(["--baseline", "--write-baseline"])
    return ["lint", "profile.json", "--isolated", "--exit-zero", verb, "baseline.json"]


def profiles(rng: Random, folder: Path) -> list[str]:
    """Saved profiles that parse, with something in them that is not as it should be."""
    spoil = rng.choice([spoilt_document, misshapen])
    text = spoil(rng, rng.choice(documents()))
    if rng.random() < 0.7:
        text = consistent(rng, text)
    (folder / "spoilt.json").write_text(text, encoding="utf-8")
    return with_model(rng, "spoilt.json")


CONDITIONS = (
    "mult_adds<=150M and params<4M", "width == 0.5 or not (params > 1e6)", "memory_access>3 and latency<5ms",
    "name == 'net' and ((batch = 1))", "error is null",
)  # fmt: skip
SPACE = """factory = "net.py:make"
where = "params < 4M"
device = ["rtx3090"]
[arguments]
width = "0.25:1.0:0.25"
groups = [1, 2, 4]
[sample]
size = 3
"""


def conditions(rng: Random, folder: Path) -> list[str]:
    """Conditions on rows, for an output of no format, so that nothing is swept."""
    text = spoilt_text(rng, rng.choice(CONDITIONS)) if rng.random() < 0.8 else rng.choice(["(" * 2000, "not " * 3000])
    values = rng.choice(
        ["width=1,2", "width=0:1:0.1", f"width={rng.choice(WORDS)}", f"width={rng.choice(NUMBERS)}:9:1"]
    )
    return ["sweep", "net.py:make", "-a", values, "--where", text, "-o", "rows.none"]


def spaces(rng: Random, folder: Path) -> list[str]:
    """Files that describe a space."""
    spoil = rng.choice([spoilt_text, spoilt_table])
    (folder / "space.toml").write_bytes(spoil(rng, SPACE).encode("utf-8", "surrogatepass"))
    return ["sweep", "space.toml", "-o", "rows.none"]


def torn_profiles(rng: Random, folder: Path) -> list[str]:
    """Saved profiles cut short or with bits flipped, and other texts."""
    content = json.dumps(rng.choice(documents())).encode()
    odd = [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b"NaN",
        b'{"schema_version":1e999}',
        b"\x80\x02.",
    ]
    content = rng.choice(odd) if rng.random() < 0.1 else spoilt_bytes(rng, content)
    if rng.random() < 0.1:  # a key that comes twice
        content = content.replace(b'"name"', b'"name": 1, "name"', 1)
    (folder / "torn.json").write_bytes(content)
    return with_model(rng, "torn.json")


def programs(rng: Random, folder: Path) -> list[str]:
    """Exported programs cut short or with bits flipped."""
    (folder / "net.pt2").write_bytes(spoilt_bytes(rng, program()))
    return ["report", "net.pt2"]


KINDS: dict[str, tuple[Callable[[Random, Path], list[str]], int]] = {  # with how many of a hundred
    "MODEL": (model_strings, 12),
    "--input": (input_shapes, 10),
    "-a": (arguments, 8),
    "--where": (conditions, 6),
    "options": (options, 8),
    "configuration": (configurations, 12),
    "sweep space": (spaces, 4),
    "device file": (devices, 8),
    "baseline": (baselines, 4),
    "saved profile": (profiles, 16),
    "torn profile": (torn_profiles, 8),
    ".pt2 archive": (programs, 4),
}


def shares(count: int) -> dict[str, int]:
    """How many inputs of each kind make up so many."""
    return {kind: count * share // 100 for kind, (_, share) in KINDS.items()}


# Trying one.


@dataclass(frozen=True)
class Tried:
    """What came of one input."""

    command: list[str]
    code: int
    wrong: str  # "" where all is as it should be


class TooLong(BaseException):
    """The command did not end in time."""


@contextlib.contextmanager
def patience() -> Iterator[None]:
    def end(signum: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def prepared(folder: Path) -> Path:
    """A folder with what commands refer to."""
    (folder / "net.py").write_text(NET)
    (folder / "profile.json").write_text(examples()["tiny"].to_json())
    return folder


def attempt(kind: str, rng: Random, folder: Path) -> Tried:
    """Make up an input of that kind, in a folder that is `prepared`, and see what a command makes of it."""
    for name in ("pyproject.toml", "spoilt.json", "torn.json"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.chdir(folder):
        command = KINDS[kind][0](rng, folder)
        code, _out, err, wrong = outcome(command)
        left = [name for name in os.listdir(folder) if name.startswith(".costlab-")]
    return Tried(command, code, wrong or judged(code, err) or (f"left behind: {left}" if left else ""))


def outcome(command: list[str]) -> tuple[int, str, str, str]:
    """Exit code, stdout, stderr, and what escaped."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(), patience():
            warnings.simplefilter("ignore")
            code = run(command)
    except TooLong:
        return -1, out.getvalue(), err.getvalue(), f"takes longer than {PATIENCE} s"
    except BaseException as error:
        return -1, out.getvalue(), err.getvalue(), f"escapes: {type(error).__name__}: {error}"
    return code, out.getvalue(), err.getvalue(), ""


def judged(code: int, err: str) -> str:
    """What is wrong with how a command ended; "" where nothing is."""
    if code not in (0, 1, 2):
        return f"exit code {code}: {err}"
    if "Traceback (most recent call last)" in err or UNFORESEEN in err:
        return err
    errors = [line for line in err.splitlines() if "error: " in line]
    if code == 2 and not errors:
        return f"exit code 2 without a line of error: {err!r}"
    if len(errors) > 2 or not all(line.isprintable() for line in errors):
        return f"more than a line of error: {err!r}"
    return ""
