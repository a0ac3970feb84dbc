"""Profiles as JSON documents, schema version 1 (docs/json.md), and files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from costlab.core.cost import Cost
from costlab.core.gc import uncollected
from costlab.core.graph import ITEM_BYTES, ROLES, InputInfo, ModuleInfo, Op, Source, Tensor, Trace
from costlab.core.profile import COST_KEYS, Profile, node
from costlab.core.validation import flaw
from costlab.errors import CostlabError

SCHEMA_VERSION = 1
LARGEST = 10**30  # any count of anything; beyond it, a document is made up
DEEPEST = 20  # levels of lists and objects inside attributes and arguments
SHOWN = 60  # characters of a bad value in a message


def to_json(
    profile: Profile, latency: Mapping[str, Any] | None = None, seconds: Mapping[str, float] | None = None
) -> str:
    """The profile as a JSON document: one line an operator, a module and an edge.

    Args:
        latency: what was predicted for a device, which readers of the profile pass over.
        seconds: the same for each operator, by its name.
    """
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "costlab": profile.costlab,
        "torch": profile.torch,
        "mode": profile.mode,
        "model": {"name": profile.name, "provider": profile.provider, "arguments": plain(profile.arguments)},
        "inputs": [i._asdict() for i in profile.trace.inputs],
        "outputs": profile.trace.outputs,
        "total": {
            **costs(profile.total),
            "unused_params": profile.total.unused_params,
            "peak_activation_bytes": profile.total.peak_activation_bytes,
        },
        "coverage": {
            "ops": len(profile.ops),
            "counted": len(profile.ops) - sum(op.free for op in profile.ops) - sum(profile.uncounted.values()),
            "free": sum(op.free for op in profile.ops),
            "estimated": profile.estimated,
            "guesses": profile.guesses,
            "uncounted": profile.uncounted,
        },
        "modules": list(module_rows(profile)),
        "ops": [
            {
                "name": op.name,
                **node(op, cost),
                **({} if seconds is None else {"predicted_seconds": seconds.get(op.name)}),
            }
            for op, cost in zip(profile.ops, profile.costs, strict=True)
        ],
        "edges": profile.edges(),
        **({} if latency is None else {"latency": latency}),
    }
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {section(value)}" for key, value in document.items()) + "\n}\n"


def section(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, allow_nan=False)
    return "[\n" + ",\n".join(json.dumps(item, allow_nan=False) for item in value) + "\n]"


def module_rows(profile: Profile) -> Iterable[dict[str, Any]]:
    """Every module for itself, without its children; modules that only operators know of have no type."""
    infos = {m.path: m for m in profile.trace.modules}
    for path, row in profile.by_module().items():
        info = infos.get(path)
        yield {
            "path": path,
            "type": info.type if info else None,
            "source": row.source._asdict() if row.source else None,
            "output_shape": row.output_shape,
            "ops": row.ops,
            **costs(row),
            "unused_params": row.unused_params,
            "unused_param_bytes": info.unused_param_bytes if info else 0,
        }


def costs(cost: Cost) -> dict[str, Any]:
    sums = {key: getattr(cost, key) for key in COST_KEYS}
    return {**sums, "bytes_accessed": cost.bytes_accessed, "arithmetic_intensity": cost.arithmetic_intensity}


def plain(value: Any) -> Any:
    """Arguments as JSON can hold them: tuples become lists, what it lacks becomes words."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and value - value == 0.0:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    return str(value)


@uncollected()
def from_json(text: str) -> Profile:
    """Read what `to_json` wrote. What follows from the operators is added up again, and has to agree.

    Raises:
        CostlabError: the text is anything else; says which part of it and why.
    """
    try:
        document = json.loads(text, parse_float=finite, parse_constant=finite)
    except json.JSONDecodeError as error:
        raise CostlabError(f"not a costlab profile: no valid JSON in line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError):
        raise CostlabError("not a costlab profile: a number is too large or lists nest too deep") from None
    version = member(document, "schema_version", "the document")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise CostlabError(
            f"not a costlab profile of schema version {SCHEMA_VERSION}, but of {shown(version)}: write it again"
            " with `costlab report MODEL --format json`"
        )
    model = member(document, "model", "the document")
    mode = string(document, "mode", "the document")
    if mode not in ("eval", "train"):
        bad("mode", '"eval" or "train"', mode)
    entries = objects(document, "ops")
    names: dict[str, int] = {}
    for where, entry in entries:
        name = string(entry, "name", where)
        if name in names:
            bad(f"{where}.name", "a name of its own", name)
        names[name] = len(names)
    after = read_edges(document, names)
    read = [read_op(entry, where, tuple(a)) for (where, entry), a in zip(entries, after, strict=True)]
    profile = Profile(
        name=string(model, "name", "model"),
        provider=string(model, "provider", "model"),
        arguments=mapping(model, "arguments", "model"),
        trace=Trace(
            ops=tuple(op for op, _ in read),
            modules=read_modules(document),
            inputs=tuple(
                InputInfo(string(entry, "name", where), sizes(entry, "shape", where), string(entry, "dtype", where))
                for where, entry in objects(document, "inputs")
            ),
            outputs=sizes(document, "outputs", "the document", most=None),
            mode=mode,
        ),
        costs=tuple(cost for _, cost in read),
        torch=string(document, "torch", "the document"),
        costlab=string(document, "costlab", "the document"),
    )
    for key in (*COST_KEYS, "unused_params"):
        if count(member(document, "total", "the document"), key, "total") != getattr(profile.total, key):
            bad(f"total.{key}", f"the sum of the operators, {getattr(profile.total, key)}", document["total"][key])
    return profile


def read_op(entry: Any, where: str, after: tuple[int, ...]) -> tuple[Op, Cost | None]:
    params, param_bytes = count(entry, "params", where), count(entry, "param_bytes", where)
    op = Op(
        name=string(entry, "name", where),
        kind=string(entry, "kind", where),
        module=string(entry, "module", where),
        inputs=tuple(read_tensor(t, at) for at, t in objects(entry, "inputs", where)),
        outputs=tuple(read_tensor(t, at) for at, t in objects(entry, "outputs", where)),
        attrs=mapping(entry, "attrs", where),
        source=read_source(entry, where),
        after=after,
        free=flag(entry, "free", where),
        estimated=flag(entry, "estimated", where),
        params=params,
        param_bytes=param_bytes,
    )
    wrong = flaw(op)
    if wrong:
        raise CostlabError(f"not a costlab profile: {where} is called {shown(op.kind)}, but {wrong}")
    if all(member(entry, key, where) is None for key in COST_KEYS if key not in ("params", "param_bytes")):
        return op, None
    return op, Cost(**{key: count(entry, key, where) for key in COST_KEYS})


def read_tensor(entry: Any, where: str) -> Tensor:
    tensor = Tensor(
        name=string(entry, "name", where),
        shape=sizes(entry, "shape", where),
        dtype=string(entry, "dtype", where),
        role=string(entry, "role", where),
        elements=count(entry, "elements", where),
        storage=count(entry, "storage", where),
    )
    if tensor.dtype not in ITEM_BYTES:
        bad(f"{where}.dtype", "a dtype such as float32", tensor.dtype)
    if tensor.role not in ROLES:
        bad(f"{where}.role", f"one of {', '.join(ROLES)}", tensor.role)
    return tensor


def read_source(entry: Any, where: str) -> Source | None:
    source = member(entry, "source", where)
    at = f"{where}.source"
    return None if source is None else Source(string(source, "file", at), count(source, "line", at))


def read_modules(document: Any) -> tuple[ModuleInfo, ...]:
    modules: dict[str, ModuleInfo] = {}
    for where, entry in objects(document, "modules"):
        path = string(entry, "path", where)
        if path in modules:
            bad(f"{where}.path", "a path of its own", path)
        if member(entry, "type", where) is None:
            continue
        shapeless = member(entry, "output_shape", where) is None
        modules[path] = ModuleInfo(
            path=path,
            type=string(entry, "type", where),
            source=read_source(entry, where),
            output_shape=None if shapeless else sizes(entry, "output_shape", where),
            unused_params=count(entry, "unused_params", where),
            unused_param_bytes=count(entry, "unused_param_bytes", where),
        )
    return tuple(modules.values())


def read_edges(document: Any, names: Mapping[str, int]) -> list[list[int]]:
    """For every operator, the positions of those whose results it reads. Edges lead forward: no cycle can be."""
    after: list[list[int]] = [[] for _ in names]
    for position, edge in enumerate(listed(document, "edges", "the document")):
        if type(edge) is not list or [type(end) for end in edge] != [str, str]:
            bad(f"edges[{position}]", "the names of two operators", edge)
        start, end = (names.get(name) for name in edge)
        if start is None or end is None:
            bad(f"edges[{position}]", "the names of two operators", edge[0] if start is None else edge[1])
        if start >= end:
            bad(f"edges[{position}]", "from an operator to a later one", " -> ".join(edge))
        after[end].append(start)
    return after


# Parts of a document, each of the type that it has to be.


def member(entry: Any, key: str, where: str) -> Any:
    if type(entry) is not dict:
        bad(where, "an object", entry)
    if key not in entry:
        raise CostlabError(f"not a costlab profile: {where} has no {key!r}")
    return entry[key]


def string(entry: Any, key: str, where: str) -> str:
    value = member(entry, key, where)
    return value if type(value) is str else bad(f"{where}.{key}", "a string", value)


def flag(entry: Any, key: str, where: str) -> bool:
    value = member(entry, key, where)
    return value if type(value) is bool else bad(f"{where}.{key}", "true or false", value)


def count(entry: Any, key: str, where: str) -> int:
    value = member(entry, key, where)
    return value if is_count(value) else bad(f"{where}.{key}", "a whole number, 0 or more", value)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def listed(entry: Any, key: str, where: str) -> list[Any]:
    value = member(entry, key, where)
    return value if type(value) is list else bad(f"{where}.{key}", "a list", value)


def objects(entry: Any, key: str, where: str = "") -> list[tuple[str, Any]]:
    """The members of a list, each with its place."""
    place = f"{where}.{key}" if where else key
    return [(f"{place}[{i}]", item) for i, item in enumerate(listed(entry, key, where or "the document"))]


def sizes(entry: Any, key: str, where: str, most: int | None = 64) -> tuple[int, ...]:
    value = listed(entry, key, where)
    if not all(map(is_count, value)) or (most is not None and len(value) > most):
        bad(f"{where}.{key}", "a list of whole numbers, 0 or more", value)
    return tuple(value)


def mapping(entry: Any, key: str, where: str) -> dict[str, Any]:
    value = member(entry, key, where)
    if type(value) is not dict or deeper(value, DEEPEST):
        bad(f"{where}.{key}", f"an object of at most {DEEPEST} levels", value)
    return value


def deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects nest more than so many levels."""
    if type(value) not in (list, dict):
        return False
    members = value.values() if type(value) is dict else value
    return levels == 0 or any(deeper(m, levels - 1) for m in members)


def finite(text: str) -> float:
    """A number of the document; ValueError where it is none or too large for a float."""
    number = float(text)
    if number - number != 0.0:
        raise ValueError(text)
    return number


def bad(where: str, wanted: str, value: Any) -> NoReturn:
    raise CostlabError(f"not a costlab profile: {where} should be {wanted}; got {shown(value)}")


def shown(value: Any) -> str:
    """A value in a message: what it is, cut short."""
    if isinstance(value, (list, dict)):
        return f"a list of {len(value)}" if isinstance(value, list) else f"an object of {len(value)}"
    words = repr(value) if isinstance(value, str) else json.dumps(value)
    return words if len(words) <= SHOWN else words[:SHOWN] + "..."


# Files.


def read(path: Path) -> Profile:
    """The profile in a file. Raises CostlabError, with the name of the file, where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CostlabError(f"{path} cannot be read: {reason(error)}") from None
    try:
        return from_json(text)
    except CostlabError as error:
        raise CostlabError(f"{path}: {error}") from None


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all; what was there before stays until then. Raises CostlabError."""
    with whole(path) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` once the body is through, and never where it fails. Raises CostlabError."""
    path = Path(os.path.realpath(path))  # a link stays a link
    beside = path.with_name(f".costlab-{secrets.token_hex(8)}")
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, which must not be replaced; a folder fails
            with path.open("wb") as file:
                yield file
            return
        try:
            with beside.open("xb") as file:
                yield file
            if path.exists():
                shutil.copymode(path, beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise CostlabError(f"{path} cannot be written: {reason(error)}") from None


def reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    if isinstance(error, ValueError):
        return "its name holds a null character"
    return (error.strerror or str(error)).lower()
