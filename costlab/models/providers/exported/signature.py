"""The inputs of an exported program: their nesting, their fixed and symbolic sizes, and an example of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.providers.exported import containers, expressions, schema
from costlab.models.providers.exported.containers import Tree
from costlab.models.providers.exported.expressions import Expression
from costlab.models.providers.exported.weights import DTYPES, STRIDED

VALUES_LIMIT = 1 << 24  # elements of an example whose values are there: all but floating-point ones

Sizes = dict[str, int]  # of symbols
Ranges = Mapping[str, tuple["int | None", "int | None"]]  # smallest and largest value of symbols


@dataclass(frozen=True)
class UserInput:
    """One leaf of the inputs: a tensor, a size, or a constant that is part of the program."""

    label: str
    dtype: torch.dtype | None = None  # of a tensor
    dimensions: tuple[Expression, ...] = ()
    shape: tuple[int, ...] = ()  # in the example that was exported
    strides: tuple[int, ...] = ()
    number: Expression | None = None  # of a size
    constant: Any = None  # its value in the example, where it is not a tensor

    def example(self) -> Any:
        """A value of the size that was exported; floating-point tensors have no data, others are zeros."""
        if self.dtype is None:
            return self.constant
        data = not (self.dtype.is_floating_point or self.dtype.is_complex) and prod(self.shape) <= VALUES_LIMIT
        tensor = torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="cpu" if data else "meta")
        return tensor.zero_() if data else tensor


@dataclass(frozen=True)
class Signature:
    """What a program takes and returns."""

    names: tuple[str, ...]  # of the arguments of forward, positional ones first
    trees: tuple[Tree, ...]  # their nesting
    leaves: tuple[UserInput, ...]  # of all of them, in order
    ranges: Ranges
    returned: tuple[int, ...]  # positions of the user's outputs among the graph's
    out_tree: Tree


def signature_of(document: Mapping[str, Any], where: str) -> Signature:
    """The inputs and outputs of a program. Raises CostlabError where its parts contradict each other."""
    module = document["graph_module"]
    calls = [entry.get("signature") for entry in module["module_call_graph"] if entry["fqn"] == ""]
    if len(calls) != 1 or calls[0] is None:
        raise schema.malformed(where, "it does not say how it is called")
    inputs, out_tree = (containers.read(calls[0][key], where) for key in ("in_spec", "out_spec"))
    if len(inputs.members) != 2 or inputs.members[1].keys is None:
        raise schema.malformed(where, "its inputs are not positional and keyword arguments")
    positional, keyword = inputs.members
    trees = (*positional.members, *keyword.members)
    known = calls[0].get("forward_arg_names") or []
    names = known[: len(positional.members)]
    names += [f"input_{i}" for i in range(len(names), len(positional.members))]
    names += [str(key) for key in keyword.keys or ()]
    labels = [
        name if containers.leaves(tree) == 1 else f"{name}.{i}"
        for name, tree in zip(names, trees, strict=True)
        for i in range(containers.leaves(tree))
    ]
    user = [spec for spec in module["signature"]["input_specs"] if not spec.keys().isdisjoint(LEAVES)]
    returned = [i for i, spec in enumerate(module["signature"]["output_specs"]) if not spec.keys().isdisjoint(RETURNED)]
    outputs = len(module["graph"]["outputs"])
    if len(labels) != len(user) or containers.leaves(out_tree) != len(returned) or max(returned, default=-1) >= outputs:
        raise schema.malformed(where, "its signature does not match its inputs or outputs")
    ranges = {name: (r.get("min_val"), r.get("max_val")) for name, r in document["range_constraints"].items()}
    leaves = [leaf_of(label, spec, module["graph"], ranges, where) for label, spec in zip(labels, user, strict=True)]
    return Signature(tuple(names), trees, tuple(leaves), ranges, tuple(returned), out_tree)


LEAVES = ("user_input", "constant_input")
RETURNED = ("user_output", "loss_output")


def leaf_of(label: str, spec: Mapping[str, Any], graph: Mapping[str, Any], ranges: Ranges, where: str) -> UserInput:
    """One input by its specification."""
    if "constant_input" in spec:
        ((kind, value),) = spec["constant_input"]["value"].items()
        return UserInput(label, constant=None if kind == "as_none" else float(value) if kind == "as_float" else value)
    ((kind, content),) = spec["user_input"]["arg"].items()
    if kind == "as_tensor" and content["name"] in graph["tensor_values"]:
        meta = graph["tensor_values"][content["name"]]
        if meta["dtype"] not in DTYPES or meta["layout"] != STRIDED or len(meta["sizes"]) != len(meta["strides"]):
            raise schema.malformed(where, f"input {label} is not a dense tensor")
        shape, strides = (tuple(example_of(size, ranges) for size in meta[key]) for key in ("sizes", "strides"))
        if min([*shape, *strides, 0]) < 0:
            raise schema.malformed(where, f"input {label} has a negative size")
        return UserInput(label, DTYPES[meta["dtype"]], tuple(map(expression_of, meta["sizes"])), shape, strides)
    if kind == "as_sym_int" and content.get("as_name") in graph["sym_int_values"]:
        size = graph["sym_int_values"][content["as_name"]]
        return UserInput(label, number=expression_of(size), constant=example_of(size, ranges))
    raise schema.malformed(where, f"input {label} is neither a tensor nor a constant")


def expression_of(size: Mapping[str, Any]) -> Expression:
    """A size as an expression."""
    return expressions.parse(size["as_expr"]["expr_str"]) if "as_expr" in size else size["as_int"]


def example_of(size: Mapping[str, Any], ranges: Ranges) -> int:
    """A size in the example that was exported; without a hint, at the smallest size of 2 or more."""
    expression = expression_of(size)
    hint = size["as_expr"].get("hint") if "as_expr" in size else None
    if hint is not None and "as_int" in hint:
        return int(hint["as_int"])
    smallest = {symbol: ranges.get(symbol, (2, None))[0] or 2 for symbol in expressions.symbols_of(expression)}
    return expressions.evaluate(expression, {symbol: max(size, 2) for symbol, size in smallest.items()})


def bound(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The leaves of the arguments of forward. Raises CostlabError where they are not nested like the exported ones."""
    takes = f"the program takes {', '.join(signature.names) or 'nothing'}"
    if len(args) > len(signature.names):
        raise CostlabError(f"got {len(args)} inputs, {takes}")
    given = {**dict(zip(signature.names, args, strict=False)), **kwargs}
    if len(given) != len(args) + len(kwargs) or not given.keys() <= set(signature.names):
        raise CostlabError(f"got the inputs {', '.join(given)} (or one twice); {takes}")
    leaves: list[Any] = []
    for name, tree in zip(signature.names, signature.trees, strict=True):
        fixed = signature.leaves[len(leaves) : len(leaves) + containers.leaves(tree)]
        if name in given:
            try:
                leaves += containers.flatten(tree, given[name])
            except ValueError as error:
                raise CostlabError(f"input {name} {error}") from None
        elif all(leaf.dtype is None and leaf.number is None for leaf in fixed):
            leaves += [leaf.constant for leaf in fixed]
        else:
            raise CostlabError(f"input {name} is missing; {takes}")
    return leaves


def sizes_of(signature: Signature, leaves: Sequence[Any]) -> Sizes:
    """The value of every symbol. Raises CostlabError for a tensor or number that the program was not exported for."""
    known: list[tuple[str, Expression, int]] = []
    for leaf, value in zip(signature.leaves, leaves, strict=True):
        known += pairs(leaf, value)
    sizes: Sizes = {}
    for simple in (True, False):
        for _, expression, size in known:
            if isinstance(expression, str) == simple:
                sizes = expressions.solve(expression, size, sizes)
    for label, expression, size in known:
        try:
            fits = expressions.evaluate(expression, sizes) == size
        except (KeyError, ArithmeticError):
            fits = False
        if not fits:
            raise CostlabError(
                f"input {label} has a size of {size} where the program was exported for {written(expression)}:"
                " export it with dynamic_shapes to change it"
            )
    for symbol, (low, high) in signature.ranges.items():
        if symbol not in sizes:  # the range of an expression, which those of its symbols imply
            continue
        size = sizes[symbol]
        if (low is not None and size < low and low > 2) or (high is not None and size > high):
            raise CostlabError(f"a size of {size} is outside the exported range of {symbol}: {low} to {high}")
    return sizes


def pairs(leaf: UserInput, value: Any) -> Iterator[tuple[str, Expression, int]]:
    """Each size of an input beside the expression that it must match. Raises CostlabError."""
    if leaf.dtype is not None:
        if not isinstance(value, torch.Tensor) or value.dim() != len(leaf.dimensions):
            raise CostlabError(f"input {leaf.label} must be a tensor of {len(leaf.dimensions)} dimensions")
        for expression, size in zip(leaf.dimensions, value.shape, strict=True):
            yield leaf.label, expression, size
    elif leaf.number is not None:
        if not isinstance(value, int):
            raise CostlabError(f"input {leaf.label} must be an integer")
        yield leaf.label, leaf.number, value
    elif value is not leaf.constant and (isinstance(value, torch.Tensor) or value != leaf.constant):
        raise CostlabError(f"input {leaf.label} is fixed at {leaf.constant!r} in the program")


def written(expression: Expression) -> str:
    """An expression as a reader would write it."""
    if not isinstance(expression, tuple):
        return str(expression)
    name, *arguments = expression
    signs = {"Add": " + ", "Mul": "*"}
    parts = [written(argument) for argument in arguments]
    return signs[str(name)].join(parts) if name in signs else f"{name}({', '.join(parts)})"
