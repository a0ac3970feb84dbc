"""Profiles as JSON documents, schema version 1 (docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from costlab.core.cost import COST_KEYS, Cost
from costlab.core.gc import gc_paused
from costlab.core.graph import MODES, PHASES, ROLES, InputInfo, ModuleInfo, Op, Phase, Source, Tensor, Trace
from costlab.core.metrics import PREDICTED
from costlab.core.step_document import read_step, step_data
from costlab.core.validation import (
    DEEPEST,
    abbreviated,
    count,
    counts,
    dtype,
    field,
    finite_float,
    flag,
    items,
    mapping,
    nests_deeper,
    objects,
    reject,
    string,
    validate_op,
)
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.core.profile import Profile, Total

SCHEMA_VERSION = 1
DIGITS = 15  # of the number of a storage


def to_json(
    profile: Profile, latency: Mapping[str, Any] | None = None, seconds: Mapping[str, float] | None = None
) -> str:
    """The profile as a JSON document: one line an operator, a module and an edge.

    `latency` and `seconds` of the operators are what was predicted for a device; readers of the profile pass over it.
    Raises CostlabError if arguments or attributes nest too deep to be read again.
    """
    deep = next((op.name for op in profile.ops if nests_deeper(dict(op.attrs), DEEPEST)), None)
    if deep is not None:
        raise CostlabError(f"the profile cannot be saved: attributes of {deep} nest more than {DEEPEST} levels deep")
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "costlab": profile.costlab,
        "torch": profile.torch,
        "mode": profile.mode,
        "model": {"name": profile.name, "provider": profile.provider, "arguments": jsonable(profile.arguments)},
        "inputs": [i._asdict() for i in profile.trace.inputs],
        "absent_inputs": dict(profile.trace.absent),
        "outputs": profile.trace.outputs,
        **({"held": dict(profile.trace.held)} if profile.trace.held else {}),
        "total": {
            **cost_fields(profile.total),
            "unused_params": profile.total.unused_params,
            "peak_activation_bytes": profile.total.peak_activation_bytes,
            **training_fields(profile.total),
        },
        **({} if profile.trace.autocast is None else {"autocast": profile.trace.autocast}),
        "buffer_bytes": profile.trace.buffer_bytes,
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
            {"name": op.name, **op_data(op, cost), **({} if seconds is None else {PREDICTED: seconds.get(op.name)})}
            for op, cost in zip(profile.ops, profile.costs, strict=True)
        ],
        "edges": profile.edges(),
        **({} if profile.trace.step is None else {"step": step_data(profile.trace, profile.trace.step)}),
        **({} if latency is None else {"latency": latency}),
    }
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json_lines(value)}" for key, value in document.items()) + "\n}\n"


def training_fields(total: Total) -> dict[str, Any]:
    """The totals of memory; of a forward pass only its peak."""
    step = ("saved_bytes", "gradient_bytes", "optimizer_bytes", "trainable_params")
    known = {key: getattr(total, key) for key in step if getattr(total, key) is not None}
    return {"peak_bytes": total.peak_bytes, **known}


def json_lines(value: Any) -> str:
    """A value as JSON; a list has one line for each member."""
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
            **cost_fields(row),
            "unused_params": row.unused_params,
            "unused_param_bytes": info.unused_param_bytes if info else 0,
            "unused_frozen_params": info.unused_frozen_params if info else 0,
            "frozen_params": row.frozen_params,
            "calls": row.calls,
        }


def cost_fields(cost: Cost) -> dict[str, Any]:
    """The costs of a module or of the network as plain data."""
    sums = {key: getattr(cost, key) for key in COST_KEYS}
    return {**sums, "bytes_accessed": cost.bytes_accessed, "arithmetic_intensity": cost.arithmetic_intensity}


def jsonable(value: Any, levels: int = DEEPEST) -> Any:
    """Arguments as JSON can hold them: tuples become lists, what it lacks becomes words.

    Raises CostlabError if they nest more than so many levels.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and value - value == 0.0:
        return value
    if isinstance(value, (Mapping, list, tuple)) and levels == 0:
        raise CostlabError(f"the profile cannot be saved: its arguments nest more than {DEEPEST} levels deep")
    if isinstance(value, Mapping):
        return {str(key): jsonable(member, levels - 1) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(member, levels - 1) for member in value]
    return str(value)


def op_data(op: Op, cost: Cost | None) -> dict[str, Any]:
    """One operator as flat plain data; unknown costs are None, parameters are always known."""
    costs = {key: getattr(cost, key) if cost else None for key in COST_KEYS}
    return {
        "kind": op.kind,
        "module": op.module,
        **costs,
        "params": op.params,
        "param_bytes": op.param_bytes,
        "bytes_accessed": cost.bytes_accessed if cost else None,
        "arithmetic_intensity": cost.arithmetic_intensity if cost else None,
        "free": op.free,
        "estimated": op.estimated,
        "inputs": [tensor_data(t) for t in op.inputs],
        "outputs": [tensor_data(t) for t in op.outputs],
        "attrs": dict(op.attrs),
        "source": op.source._asdict() if op.source else None,
        **({} if op.phase == "forward" else {"phase": op.phase}),
        **({"frozen_params": op.frozen_params} if op.frozen_params else {}),
    }


def tensor_data(tensor: Tensor) -> dict[str, Any]:
    """A tensor as flat plain data."""
    return {**tensor._asdict(), "shape": list(tensor.shape)}


# Reading.


def parse_document(text: str) -> Any:
    """The JSON of a profile. Raises CostlabError if it is anything else, or of another schema version."""
    try:
        with gc_paused():
            document = json.loads(text, parse_float=finite_float, parse_constant=finite_float)
    except json.JSONDecodeError as error:
        raise CostlabError(f"not a costlab profile: invalid JSON in line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError):
        raise CostlabError("not a costlab profile: a number is too large or lists nest too deep") from None
    version = field(document, "schema_version", "the document")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise CostlabError(
            f"not a costlab profile of schema version {SCHEMA_VERSION}, but of {abbreviated(version)}: write it again"
            " with `costlab report MODEL --format json`"
        )
    return document


@gc_paused()
def profile_fields(document: Any) -> dict[str, Any]:
    """The fields of the `Profile` in a document.

    Raises CostlabError if a field is missing or has the wrong type; the message names it.
    """
    model = field(document, "model", "the document")
    mode = string(document, "mode", "the document")
    if mode not in MODES:
        reject("mode", " or ".join(map(json.dumps, MODES)), mode)
    entries = objects(document, "ops")
    positions: dict[str, int] = {}
    for where, entry in entries:
        name = string(entry, "name", where)
        if name in positions:
            reject(f"{where}.name", "unique", name)
        positions[name] = len(positions)
    after = read_edges(document, positions)
    read = [read_op(entry, where, tuple(a)) for (where, entry), a in zip(entries, after, strict=True)]
    inputs = tuple(
        InputInfo(string(entry, "name", where), counts(entry, "shape", where), dtype(entry, where))
        for where, entry in objects(document, "inputs")
    )
    outputs = counts(document, "outputs", "the document")
    return {
        "name": string(model, "name", "model"),
        "provider": string(model, "provider", "model"),
        "arguments": mapping(model, "arguments", "model"),
        "trace": Trace(
            ops=tuple(op for op, _ in read),
            modules=read_modules(document),
            inputs=inputs,
            outputs=outputs,
            mode=mode,
            absent=read_absent(document),
            autocast=dtype(document, "the document", "autocast") if "autocast" in document else None,
            buffer_bytes=count(document, "buffer_bytes", "the document") if "buffer_bytes" in document else None,
            step=read_step(document, len(read)) if mode == "step" else None,
            held=read_held(document, len(read)),
        ),
        "costs": tuple(cost for _, cost in read),
        "torch": string(document, "torch", "the document"),
        "costlab": string(document, "costlab", "the document"),
    }


def read_absent(document: Any) -> dict[str, str]:
    """Inputs that forward was not given, each with the reason; a document of before they were written has none."""
    written = mapping(document, "absent_inputs", "the document") if "absent_inputs" in document else {}
    return {name: string(written, name, "absent_inputs") for name in written}


def read_held(document: Any, operators: int) -> dict[int, int]:
    """Storages that live after their last use; none in a document of before they were written."""
    written = mapping(document, "held", "the document") if "held" in document else {}
    for storage in written:
        if not storage.isdecimal() or len(storage) > DIGITS or count(written, storage, "held") >= operators:
            reject(f"held[{storage[:DIGITS]}]", "the last position of a storage", written[storage])
    return {int(storage): position for storage, position in written.items()}


def check_totals(document: Any, total: Total) -> None:
    """Raise CostlabError if the totals of a document are not the sums of its operators."""
    for key in (*COST_KEYS, "unused_params"):
        written = count(field(document, "total", "the document"), key, "total")
        if written != getattr(total, key):
            reject(f"total.{key}", f"the sum of the operators, {getattr(total, key)}", written)


def read_op(entry: Any, where: str, after: tuple[int, ...]) -> tuple[Op, Cost | None]:
    """An operator and its cost; None if no rule knew its kind."""
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
        phase=read_phase(entry, where),
        frozen_params=count(entry, "frozen_params", where) if "frozen_params" in entry else 0,
    )
    wrong = validate_op(op)
    if wrong:
        raise CostlabError(f"not a costlab profile: {where} is called {abbreviated(op.kind)}, but {wrong}")
    if all(field(entry, key, where) is None for key in COST_KEYS if key not in ("params", "param_bytes")):
        return op, None
    return op, Cost(**{key: count(entry, key, where) for key in COST_KEYS})


def read_phase(entry: Any, where: str) -> Phase:
    """The phase of an operator; without one it is of a forward pass."""
    phase = string(entry, "phase", where) if "phase" in entry else "forward"
    found = next((known for known in PHASES if known == phase), None)
    return reject(f"{where}.phase", f"one of {', '.join(PHASES)}", phase) if found is None else found


def read_tensor(entry: Any, where: str) -> Tensor:
    """An input or output of an operator."""
    tensor = Tensor(
        name=string(entry, "name", where),
        shape=counts(entry, "shape", where),
        dtype=dtype(entry, where),
        role=string(entry, "role", where),
        elements=count(entry, "elements", where),
        storage=count(entry, "storage", where),
    )
    if tensor.role not in ROLES:
        reject(f"{where}.role", f"one of {', '.join(ROLES)}", tensor.role)
    return tensor


def read_source(entry: Any, where: str) -> Source | None:
    """The line of Python of an operator or a module."""
    source = field(entry, "source", where)
    at = f"{where}.source"
    return None if source is None else Source(string(source, "file", at), count(source, "line", at))


def read_modules(document: Any) -> tuple[ModuleInfo, ...]:
    """The modules of the network; one that only operators name has no type and is left out."""
    modules: dict[str, ModuleInfo] = {}
    for where, entry in objects(document, "modules"):
        path = string(entry, "path", where)
        if path in modules:
            reject(f"{where}.path", "unique", path)
        if field(entry, "type", where) is None:
            continue
        shapeless = field(entry, "output_shape", where) is None
        modules[path] = ModuleInfo(
            path=path,
            type=string(entry, "type", where),
            source=read_source(entry, where),
            output_shape=None if shapeless else counts(entry, "output_shape", where),
            unused_params=count(entry, "unused_params", where),
            unused_param_bytes=count(entry, "unused_param_bytes", where),
            unused_frozen_params=count(entry, "unused_frozen_params", where) if "unused_frozen_params" in entry else 0,
            calls=count(entry, "calls", where) if entry.get("calls") is not None else None,
        )
    return tuple(modules.values())


def read_edges(document: Any, names: Mapping[str, int]) -> list[list[int]]:
    """For every operator, the positions of those whose results it reads. Edges lead forward: no cycle can be."""
    after: list[list[int]] = [[] for _ in names]
    for position, edge in enumerate(items(document, "edges", "the document")):
        if type(edge) is not list or [type(end) for end in edge] != [str, str]:
            reject(f"edges[{position}]", "the names of two operators", edge)
        start, end = (names.get(name) for name in edge)
        if start is None or end is None:
            reject(f"edges[{position}]", "the names of two operators", edge[0] if start is None else edge[1])
        if start >= end:
            reject(f"edges[{position}]", "from an operator to a later one", " -> ".join(edge))
        after[end].append(start)
    return after
