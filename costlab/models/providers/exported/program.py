"""An exported program as an nn.Module that runs its nodes one by one, so that it can be traced like any network."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.providers.exported import containers, expressions
from costlab.models.providers.exported.graph import Call, Environment, Graph, Step, names_in, value_of
from costlab.models.providers.exported.operators import kind_of_target
from costlab.models.providers.exported.signature import Signature, Sizes, bound, sizes_of
from costlab.models.providers.exported.weights import DTYPES
from costlab.tracing.autocast import cast_to
from costlab.tracing.recorder import active_recorder
from costlab.tracing.specs import Spec, new_spec
from costlab.tracing.tensors import moved


class Scope(torch.nn.Module):
    """A module of the network that was exported: a place in the tree, with the type that it had there."""

    def __init__(self, kind: str = "Module") -> None:
        super().__init__()
        self._ty = kind  # the attribute in which torch.export.unflatten keeps it

    def forward(self, run: Run, call: Call, values: Environment) -> Any:
        """Run the nodes of one call of this module."""
        run.steps(call.steps, values)
        return values.get(call.result) if call.result else None


class Program(Scope):
    """The whole network. It takes what the exported network took; a size that export fixed stays as it is."""

    def __init__(self, kind: str, graph: Graph, signature: Signature) -> None:
        super().__init__(kind)
        self.graph = graph
        self.signature = signature
        self.input_names = signature.names

    def attach(self, places: Sequence[Callable[[], Any] | None], scopes: Mapping[str, Scope]) -> None:
        """Set where the graph's inputs come from.

        Args:
            places: for each input what gives its value; None for an input of the user's.
            scopes: the modules by path.
        """
        self.places = tuple(places)
        self.scopes = MappingProxyType(dict(scopes))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run every node. Raises CostlabError where the inputs are not those that the program was exported for."""
        leaves = bound(self.signature, args, kwargs)
        user = iter(leaves)
        inputs = [next(user) if place is None else place() for place in self.places]
        run = Run(self.scopes, sizes_of(self.signature, leaves))
        outputs = run.all(self.graph, inputs)
        return containers.unflatten(self.signature.out_tree, (outputs[i] for i in self.signature.returned))


class Run:
    """One execution: the sizes of the symbols, the recorder that looks on, and whether autocast is on."""

    def __init__(self, scopes: Mapping[str, Scope], sizes: Sizes) -> None:
        self.scopes = scopes
        self.sizes = sizes
        self.lower: torch.dtype | None = None  # to which autocast casts
        self.recorder = active_recorder()

    def all(self, graph: Graph, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a graph."""
        values: Environment = {}
        for argument, value in zip(graph.inputs, inputs, strict=True):
            values.update(dict.fromkeys(names_in(argument), value))
        for call in graph.calls:
            if call.path:
                self.scopes[call.path](self, call, values)
            else:
                self.steps(call.steps, values)
            for name in call.dead:
                values.pop(name, None)
        return [self.value(output, values) for output in graph.outputs]

    def value(self, argument: Mapping[str, Any], values: Environment) -> Any:
        """The Python value of an argument."""
        return value_of(argument, values, functools.partial(Subgraph, self))

    def steps(self, steps: Sequence[Step], values: Environment) -> None:
        """Run nodes, and keep what they return in `values`."""
        for step in steps:
            if self.recorder is not None:
                self.recorder.operations.source = step.line
            arguments = [self.value(argument, values) for _, argument in step.arguments]
            keywords = {name: self.value(argument, values) for name, argument in step.keywords}
            if self.lower is not None and step.lowered:
                arguments = moved(arguments, functools.partial(cast_to, self.lower))
            if step.operator is None:
                result: Any = self.unavailable(step, arguments, keywords)
            elif step.target == "torch.ops.aten.copy_.default" and arguments[0] is arguments[1]:
                result = arguments[0]  # export writes a mutated buffer back to itself
            else:
                result = step.operator(*arguments, **keywords)
            keep(step.outputs, result, values)

    def unavailable(self, step: Step, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """The results that the program recorded for an operator that cannot be called."""
        kind = kind_of_target(step.target)
        if self.recorder is None:
            raise CostlabError(f"the program calls {kind}, which costlab can profile but not run")
        names = [name for name, _ in step.arguments]
        given = {**dict(zip(names, arguments, strict=True)), **keywords}
        results = [recorded(meta, self.sizes) for meta in step.recorded]
        specs = [result for result in results if isinstance(result, Spec)]
        made = iter(self.recorder.record_unavailable(kind, given, specs))
        return [next(made) if isinstance(result, Spec) else result for result in results]


class Subgraph:
    """A graph as the function that it was in the network."""

    def __init__(self, run: Run, graph: Graph) -> None:
        self.run = run
        self.graph = graph

    def __call__(self, *inputs: Any) -> Any:
        outputs = self.run.all(self.graph, inputs)
        return outputs[0] if self.graph.single else outputs

    def lowered(self, dtype: torch.dtype | None) -> Subgraph:
        """The same, with the arguments of contractions cast to `dtype`."""
        run = copy.copy(self.run)
        run.lower = dtype
        return Subgraph(run, self.graph)


def recorded(meta: Mapping[str, Any] | None, sizes: Sizes) -> Spec | int | None:
    """Shape, strides and dtype of a tensor, or the value of a size, as the metadata of the program describes it."""
    if meta is None:
        return None
    if "dtype" not in meta:
        return size_of(meta, sizes)
    shape, strides = (tuple(size_of(size, sizes) for size in meta[key]) for key in ("sizes", "strides"))
    return new_spec(shape, strides, DTYPES[meta["dtype"]])


LISTS = {"as_tensors", "as_optional_tensors"}  # kinds of one result that is a list


def keep(outputs: Sequence[Any], result: Any, values: Environment) -> None:
    """Name the results of a node."""
    many = isinstance(result, (list, tuple)) and not (len(outputs) == 1 and outputs[0].keys() <= LISTS)
    for output, value in zip(outputs, result if many else [result], strict=False):
        names = list(names_in(output))
        if output.keys() <= LISTS:
            values.update(zip(names, value, strict=False))
        elif names:
            values[names[0]] = value


def size_of(meta: Mapping[str, Any], sizes: Sizes) -> int:
    """A size by its expression, else the one that it had in the example."""
    if "as_expr" not in meta:
        return int(meta["as_int"])
    try:
        return expressions.evaluate(expressions.parse(meta["as_expr"]["expr_str"]), sizes)
    except KeyError:
        hint = meta["as_expr"].get("hint")
        if hint is None:
            raise CostlabError("a size depends on data, and the program has no example of it") from None
        return int(hint.get("as_int", 1))
