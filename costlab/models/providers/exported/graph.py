"""From the checked JSON of a program to steps that can be run: each node's operator, arguments, module and line."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from costlab.core.graph import Source
from costlab.errors import CostlabError
from costlab.models.providers.exported import schema
from costlab.models.providers.exported.operators import CHECKS, SAME, function_of, is_operator_name, kind_of_target
from costlab.models.providers.exported.weights import DTYPES
from costlab.tracing.autocast import LOWERED

Environment = dict[str, Any]  # values by name

MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
LAYOUTS = {
    1: torch.sparse_coo,
    2: torch.sparse_csr,
    3: torch.sparse_csc,
    4: torch.sparse_bsr,
    5: torch.sparse_bsc,
    7: torch.strided,
}
KEYWORD = 2
FROM_HOOK = "_empty_nn_module_stack_from_metadata_hook"  # a node that export added where the last one stood

FILE = re.compile(r'File "([^"\n]{1,1000})", line (\d{1,9})')
TORCH = re.compile(r"(^|[/\\]((site|dist)-packages|lib)[/\\])torch[/\\]")


@dataclass(frozen=True)
class Step:
    """One node."""

    target: str
    operator: Callable[..., Any] | None  # None where the process has none
    arguments: tuple[tuple[str, Any], ...]  # positional, by the name in the operator's schema
    keywords: tuple[tuple[str, Any], ...]
    outputs: tuple[Any, ...]
    source: Source | None  # the innermost line outside torch that called it
    lowered: bool  # a contraction, whose arguments autocast casts
    recorded: tuple[Mapping[str, Any] | None, ...]  # metadata of its outputs, where it has no operator

    def line(self) -> Source | None:
        """The line to which a recorder attributes what this node does."""
        return self.source


@dataclass(frozen=True)
class Call:
    """Consecutive nodes of one module; without steps, the end of a module that called others."""

    path: str
    steps: tuple[Step, ...]
    result: str | None  # the value that the module returns
    dead: tuple[str, ...]  # values that nothing reads afterwards


@dataclass(frozen=True)
class Graph:
    """A graph or, as the argument of an operator, a subgraph."""

    inputs: tuple[Any, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Any, ...]
    single: bool  # returns one value rather than a list


class Stack(NamedTuple):
    """The modules that were running when a node was recorded, outermost first."""

    paths: tuple[str, ...]
    types: tuple[str, ...]


def compile_graph(document: Mapping[str, Any], where: str, types: dict[str, str]) -> Graph:
    """The steps of a graph; `types` gets the type of each module that the nodes name, by path.

    Raises CostlabError if a node calls something that is not an operator, or reads a value that does not exist.
    """
    nodes: list[tuple[Step, tuple[str, ...]]] = []
    defined = {name for argument in document["inputs"] for name in names_in(argument)}
    stack = Stack(("",), ("",))
    for node in document["nodes"]:
        stack = stack_of(node["metadata"], stack)
        for path, kind in zip(stack.paths, stack.types, strict=True):
            if kind:
                types.setdefault(path, kind)
        read = [name for argument in node["inputs"] for name in names_in(argument["arg"])]
        require(read, defined, node["target"], where)
        defined.update(name for output in node["outputs"] for name in names_in(output))
        if node["target"] not in CHECKS:
            nodes.append((step_of(node, document, where, types), stack.paths))
    require([name for output in document["outputs"] for name in names_in(output)], defined, "output", where)
    return Graph(
        inputs=tuple(document["inputs"]),
        calls=tuple(calls_of(nodes, document["outputs"])),
        outputs=tuple(document["outputs"]),
        single=bool(document.get("is_single_tensor_return")),
    )


def require(names: Sequence[str], defined: set[str], target: str, where: str) -> None:
    """Raise CostlabError for a name that no earlier operator defines."""
    for name in names:
        if name not in defined:
            raise schema.malformed(where, f"{target} reads {name!r}, which nothing before it makes")


def step_of(node: Mapping[str, Any], graph: Mapping[str, Any], where: str, types: dict[str, str]) -> Step:
    """One node, its operator looked up and its subgraphs compiled."""
    target = SAME.get(node["target"], node["target"])
    if not is_operator_name(target):
        raise CostlabError(f"{where} calls {schema.brief(target)}, which is not a tensor operator: refused")
    arguments: list[tuple[str, Any]] = []
    keywords: list[tuple[str, Any]] = []
    for position, argument in enumerate(node["inputs"]):
        value = argument["arg"]
        if "as_graph" in value:
            value = {"as_graph": compile_graph(value["as_graph"]["graph"], where, types)}
        entry = (argument["name"] or str(position), value)
        (keywords if argument.get("kind") == KEYWORD else arguments).append(entry)
    operator = function_of(target)
    names = [] if operator else [name for output in node["outputs"] for name in names_in(output)]
    recorded = tuple(graph["tensor_values"].get(name) or graph["sym_int_values"].get(name) for name in names)
    return Step(
        target=target,
        operator=operator,
        arguments=tuple(arguments),
        keywords=tuple(keywords),
        outputs=tuple(node["outputs"]),
        source=source_of(node["metadata"].get("stack_trace") or ""),
        lowered=kind_of_target(target).removeprefix("aten::") in LOWERED,
        recorded=recorded,
    )


def stack_of(metadata: Mapping[str, str], before: Stack) -> Stack:
    """The module stack `key,path,type;key,path,type;...` of a node; a call is marked `path@1`."""
    text = metadata.get("nn_module_stack")
    if text is None or text.startswith(FROM_HOOK):
        return before
    paths, types = [], []
    for entry in text.split(";"):
        _, _, rest = entry.partition(",")
        path, _, kind = rest.rpartition(",")
        paths.append(path.partition("@")[0])
        types.append(kind.rpartition(".")[2][:200])
    return Stack(tuple(paths), tuple(types))


def source_of(trace: str) -> Source | None:
    """The innermost line of a stack trace that is not torch's."""
    for file, line in reversed(FILE.findall(trace)):
        if not TORCH.search(file):
            return Source(file, int(line))
    return None


def calls_of(nodes: Sequence[tuple[Step, tuple[str, ...]]], outputs: Sequence[Any]) -> Iterator[Call]:
    """Nodes grouped by the module that runs them, in order; a module that called others ends with a call of its own."""
    last_read: dict[str, int] = {}
    for position, (step, _) in enumerate(nodes):
        for name in read_by(step):
            last_read[name] = position
    for output in outputs:
        last_read.update(dict.fromkeys(names_in(output), len(nodes)))
    open_since: dict[str, int] = {}  # position of the first node of each running module
    start = 0
    for end in range(1, len(nodes) + 1):
        stack = nodes[start][1]
        following = nodes[end][1] if end < len(nodes) else ()
        if following == stack:
            continue
        for path in stack:
            open_since.setdefault(path, start)
        made = [name for step, _ in nodes[start:end] for output in step.outputs for name in names_in(output)]
        dead = tuple(
            name
            for name in {*made, *(n for s, _ in nodes[start:end] for n in read_by(s))}
            if last_read.get(name, -1) < end
        )
        steps = tuple(step for step, _ in nodes[start:end])
        result = result_of(nodes, open_since[stack[-1]], end, last_read)
        yield Call(stack[-1], steps, result, dead)
        for path in reversed(stack[:-1]):
            if path not in following and path:
                yield Call(path, (), result_of(nodes, open_since.pop(path), end, last_read), ())
        for path in set(open_since) - set(following):
            del open_since[path]
        start = end


def result_of(
    nodes: Sequence[tuple[Step, tuple[str, ...]]], start: int, end: int, last_read: Mapping[str, int]
) -> str | None:
    """What a module returns: of the values made between its first and last node, the latest that is read outside."""
    for step, _ in reversed(nodes[start:end]):
        for output in step.outputs:
            for name in names_in(output):
                if last_read.get(name, -1) >= end:
                    return name
    return None


def read_by(step: Step) -> Iterator[str]:
    """The names that a step reads."""
    for _, argument in (*step.arguments, *step.keywords):
        yield from names_in(argument)


def names_in(argument: Any) -> Iterator[str]:
    """The names of values in an argument, at every depth; a subgraph has names of its own."""
    if isinstance(argument, Mapping):
        for key, value in argument.items():
            if key in ("name", "as_name") and isinstance(value, str):
                yield value
            elif key not in ("as_graph", "as_custom_obj", "as_string", "as_device"):
                yield from names_in(value)
    elif isinstance(argument, list):
        for value in argument:
            yield from names_in(value)


def value_of(argument: Mapping[str, Any], values: Environment, run_graph: Callable[[Graph], Any]) -> Any:
    """The Python value of an argument."""
    ((kind, content),) = argument.items()
    if kind == "as_tensor" or kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
        return member(content, values)
    if kind in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
        return [member(item, values) for item in content]
    if kind == "as_nested_tensors":
        return [[member(item, values) for item in inner] for inner in content]
    if kind == "as_string_to_argument":
        return {key: value_of(item, values, run_graph) for key, item in content.items()}
    if kind == "as_graph":
        return run_graph(content)
    if kind in PLAIN:
        return PLAIN[kind](content)
    return content


PLAIN: dict[str, Callable[[Any], Any]] = {
    "as_none": lambda _: None,
    "as_custom_obj": lambda _: None,
    "as_float": float,
    "as_floats": lambda numbers: [float(number) for number in numbers],
    "as_float_lists": lambda lists: [[float(number) for number in numbers] for numbers in lists],
    "as_complex": lambda number: complex(float(number["real"]), float(number["imag"])),
    "as_scalar_type": DTYPES.__getitem__,
    "as_memory_format": MEMORY_FORMATS.__getitem__,
    "as_layout": LAYOUTS.__getitem__,
    "as_device": lambda device: torch.device(device["type"], device.get("index")),
}


def member(content: Mapping[str, Any], values: Environment) -> Any:
    """A value by its name, or the constant in its place."""
    name = content.get("name") or content.get("as_name")
    if name is not None:
        return values[name]
    ((kind, inner),) = content.items()
    if kind == "as_tensor":
        return values[inner["name"]]
    return None if kind == "as_none" else inner
