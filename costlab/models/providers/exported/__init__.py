"""`.pt2` programs of torch.export, read as data: no torch loader, no pickle, no generated Python, no weights.

`archive` reads the zip, `schema` checks the JSON, `weights` makes the tensors, `graph` turns nodes into steps, and
`program` runs them as an nn.Module.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.providers.exported import containers, schema
from costlab.models.providers.exported.archive import Archive
from costlab.models.providers.exported.graph import compile_graph
from costlab.models.providers.exported.program import Program, Scope
from costlab.models.providers.exported.signature import signature_of
from costlab.models.providers.exported.weights import load_weights
from costlab.tracing.inputs import Inputs

MOST_MODULES = 50_000  # each is built


def build(path: Path, *, weights: bool = False) -> tuple[torch.nn.Module, Inputs]:
    """The program as nested modules, and inputs of the sizes of its example; `weights` reads all their numbers.

    Raises CostlabError if the file is not such a program, or holds anything that is not data.
    """
    try:
        with Archive(path) as archive:
            name = program_name(archive)
            where = f"{path}: models/{name}.json"
            document = schema.load(archive.read(f"models/{name}.json"), "ExportedProgram", where)
            version = document["schema_version"]["major"]
            if version != schema.MAJOR:
                raise CostlabError(f"{where} has schema version {version}; costlab reads version {schema.MAJOR}")
            tensors = load_weights(archive, name, values=weights)
        return program_of(document, tensors, where)
    except (OSError, RecursionError, MemoryError, ArithmeticError, RuntimeError) as error:
        what = str(error).strip().splitlines() or [type(error).__name__]
        raise CostlabError(f"{path} cannot be read as a torch.export program: {what[0][:200]}") from error


def program_name(archive: Archive) -> str:
    """The name of the one program in the archive. Raises CostlabError."""
    names = [Path(name).stem for name in archive.members if name.startswith("models/")]
    if len(names) != 1:
        raise archive.error(f"holds {len(names)} programs; save one to each file")
    return names[0]


def program_of(document: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], where: str) -> tuple[Program, Inputs]:
    """The module tree with its nodes, and example inputs."""
    module = document["graph_module"]
    types: dict[str, str] = {}
    graph = compile_graph(module["graph"], where, types)
    signature = signature_of(document, where)
    program = Program(types.get("", "Module"), graph, signature)
    scopes: dict[str, Scope] = {"": program}
    paths = [entry["fqn"].partition("@")[0] for entry in module["module_call_graph"]]
    for path in (*paths, *types):
        scope_at(path, scopes, types)
    program.attach(list(places_of(module, tensors, scopes, types, where)), scopes)
    examples = (leaf.example() for leaf in signature.leaves)
    return program, Inputs(tuple(containers.unflatten(tree, examples) for tree in signature.trees))


def scope_at(path: str, scopes: dict[str, Scope], types: Mapping[str, str]) -> Scope:
    """The module of a path, made with those above it where it is new."""
    new = []
    while path not in scopes:
        new.append(path)
        path = path.rpartition(".")[0]
    if len(scopes) + len(new) > MOST_MODULES:
        raise CostlabError(f"the program has more than {MOST_MODULES:,} modules")
    for path in reversed(new):
        above, _, name = path.rpartition(".")
        scopes[path] = scopes[above]._modules[name] = Scope(types.get(path, "Module"))
    return scopes[new[0] if new else path]


def places_of(
    module: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    scopes: dict[str, Scope],
    types: Mapping[str, str],
    where: str,
) -> Iterator[Callable[[], Any] | None]:
    """For each input of the graph where its value is; parameters and buffers are registered at their modules."""
    specs = module["signature"]["input_specs"]
    constants = {spec["tensor_constant"]["tensor_constant_name"] for spec in specs if "tensor_constant" in spec}
    for path, tensor in tensors.items():
        if path not in constants:
            above, _, name = path.rpartition(".")
            owner = scope_at(above, scopes, types)
            (owner._parameters if isinstance(tensor, torch.nn.Parameter) else owner._buffers)[name] = tensor  # type: ignore[assignment]
    if len(specs) != len(module["graph"]["inputs"]):
        raise schema.malformed(where, "the signature does not match the graph")
    for spec in specs:
        ((kind, content),) = spec.items()
        if kind in ("user_input", "constant_input"):
            yield None
        elif kind in ("custom_obj", "token"):
            yield lambda: None
        else:
            path = next(value for key, value in content.items() if key.endswith("_name"))
            if path not in tensors:
                raise schema.malformed(where, f"the {kind} {path!r} is not in the archive")
            if path in constants:
                yield functools.partial(tensors.__getitem__, path)
            else:
                above, _, name = path.rpartition(".")
                yield functools.partial(registered, scopes[above], name)


def registered(module: torch.nn.Module, name: str) -> torch.Tensor | None:
    """The parameter or buffer of that name, as it is now."""
    return module._parameters[name] if name in module._parameters else module._buffers[name]
