"""Broken and hostile `.pt2` files: JSON fields and the structure of the zip, changed at random."""

from __future__ import annotations

import copy
import io
import json
import random
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.models import ModelSpec, profile_of

CODE = "__import__('os').system('touch owned')"
VALUES: tuple[Any, ...] = (
    CODE,
    "owned",
    "owned.attack",
    "torch.os.system",
    "torch.ops.load_library",
    "torch.ops.aten.from_file.default",
    "torch.ops.higher_order.cond",
    "torch.ops.higher_order.scan",
    "torch.ops.owned.attack.default",
    "_operator.pow",
    "collections.defaultdict",
    '[1, {"type": "collections.defaultdict", "context": "{\\"default_factory_module\\": \\"owned\\"}"}]',
    f"Symbol('s0', positive={CODE})",
    "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
    "9**9**9**9",
    "((((" * 200,
    "x\nimport owned",
    "\x00",
    "",
    0,
    -1,
    1 << 31,
    1 << 62,
    1 << 70,
    1e308,
    True,
    None,
    [],
    {},
    [[[]]],
    {"as_int": 1 << 40},
    {"as_expr": {"expr_str": CODE, "hint": None}},
)
OPERATORS = sorted(
    f"{schema.name.removeprefix('aten::')}.{schema.overload_name or 'default'}"
    for schema in torch._C._jit_get_all_schemas()
    if schema.name.startswith("aten::")
)
NAMES = (
    "models/model.jsom",
    "data/constants/custom_obj_0",
    "data/aotinductor/m/x.so",
    "../../owned",
    "data/x\x00",
    "x",
)


def cases(seed: int, programs: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Changed copies of the programs without end, each with the seed that makes it again."""
    for number in range(sys.maxsize):
        name = f"{seed}.{number}"
        rng = random.Random(name)
        program = rng.choice(programs)
        yield name, (change_json if rng.random() < 0.7 else change_zip)(program, rng)


def check(path: Path) -> None:
    """Read a file: it has a profile, or is refused in one line."""
    message = ""
    try:
        assert isinstance(profile_of(ModelSpec(str(path))), Profile)
    except CostlabError as error:
        message = str(error)
    assert "\n" not in message


def change_json(program: bytes, rng: random.Random) -> bytes:
    """One to three fields of one JSON member changed."""
    contents = read(program)
    documents = [name for name in contents if name.endswith(".json")]
    name = rng.choice([*documents, *[n for n in documents if "/models/" in n] * 8])
    document = json.loads(contents[name])
    for _ in range(rng.randint(1, 3)):
        change_field(document, rng)
    contents[name] = json.dumps(document).encode()
    return written(contents)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document with a key in it."""
    found = []
    pending = [value]
    while pending:
        container = pending.pop()
        for key, inner in container.items() if isinstance(container, dict) else enumerate(container):
            found.append((container, key))
            if isinstance(inner, (dict, list)):
                pending.append(inner)
    return found


def change_field(document: Any, rng: random.Random) -> None:
    found = places(document)
    if not found:
        return
    container, key = rng.choice(found)
    how = rng.randrange(10)
    if how == 0:
        del container[key]
    elif how == 1 and isinstance(container, dict):
        container[rng.choice(("owned", "type", "as_int", CODE))] = container[key]
    elif how == 2 and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    elif how == 3 and isinstance(container[key], str):
        container[key] = rng.choice((container[key][:-1], container[key] + "_", container[key].upper()))
    elif how == 4:
        other, place = rng.choice(found)
        container[key] = copy.deepcopy(other[place])
    elif how == 5:
        container[key] = copy.deepcopy(rng.choice(VALUES))
    else:  # what is like it elsewhere, so that the file stays well formed
        alike = [c[k] for c, k in found if type(c[k]) is type(container[key]) and (k == key or isinstance(key, int))]
        container[key] = copy.deepcopy(rng.choice(alike))
        if type(container[key]) is int:
            container[key] += rng.choice((-1, 0, 1, 1 << 20))
        if key == "target":
            container[key] = f"torch.ops.aten.{rng.choice(OPERATORS)}"


def change_zip(program: bytes, rng: random.Random) -> bytes:
    """The archive with bytes flipped, cut off or added, with members renamed, doubled, swapped or emptied."""
    contents = read(program)
    names = list(contents)
    how = rng.randrange(9)
    if how == 0:
        data = bytearray(program)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    if how == 1:
        return program[: rng.randrange(len(program))]
    if how == 2:
        return program + program
    if how == 3:
        return rng.choice((b"\x80\x04", b"PK", program[:100])) + program
    if how == 4:
        return program + rng.randbytes(rng.randint(1, 80))
    if how == 5:
        data = bytearray(program)
        tail = len(data) - rng.randint(1, 22 + 56 + 20 + 60 * len(names))
        data[tail : tail + 4] = rng.choice((b"\xff\xff\xff\xff", b"PK\5\6", b"PK\1\2", b"\0\0\0\0"))
        return bytes(data)
    one, other = rng.choice(names), rng.choice(names)
    if how == 6:
        contents[one], contents[other] = contents[other], contents[one]
    elif how == 7:
        contents[f"{one.partition('/')[0]}/{rng.choice(NAMES)}"] = contents.pop(one)
    else:
        contents[one] = rng.choice((b"", b" " * (1 << 20), b'{"a":' * 2000, rng.randbytes(100)))
    return written(contents, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def read(program: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Watch:
    """While it is on, notes whatever a file could make this process do other than compute; use as a context manager."""

    FORBIDDEN = ("os.", "subprocess.", "socket.", "pty.", "ctypes.", "pickle.", "shutil.", "tempfile.", "urllib.")

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def __enter__(self) -> Watch:
        self.on = True
        return self

    def __exit__(self, *_: object) -> None:
        self.on = False

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            self.seen.append(f"opens {args[0]} to write")
        elif event == "import" and args[0] not in sys.modules:
            self.seen.append(f"imports {args[0]}")
        elif event in ("exec", "compile") or event.startswith(self.FORBIDDEN):
            self.seen.append(f"{event} {args}"[:300])
