"""How inputs and outputs are nested: torch's tree specifications as plain tuples, lists and dictionaries.

A specification names Python types. None of them is ever looked up or imported: a dictionary is whatever has keys, and
every other type is a sequence of its members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from costlab.models.providers.exported import schema
from costlab.tracing.modules import tensors_in

MAPPINGS = (  # types whose context lists the keys of their members
    "builtins.dict",
    "collections.OrderedDict",
    "collections.defaultdict",
    "torch.fx.immutable_collections.immutable_dict",
)


@dataclass(frozen=True)
class Tree:
    """The nesting of a value; a leaf has neither keys nor members."""

    leaf: bool
    members: tuple[Tree, ...] = ()
    keys: tuple[Any, ...] | None = None  # of a dictionary, in the order of its members
    sequence: type = tuple


LEAF = Tree(leaf=True)


def read(text: str, where: str) -> Tree:
    """The tree that `in_spec` or `out_spec` describes. Raises CostlabError."""
    try:
        version, document = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise schema.malformed(where, "a tree specification is not JSON") from None
    if version != 1:
        raise schema.malformed(where, f"tree specifications of version {schema.brief(version)} are not known")
    return tree(schema.check(document, "TreeSpec", where), where)


def tree(document: Mapping[str, Any], where: str) -> Tree:
    """The tree of containers that a document describes."""
    kind = document["type"]
    if kind is None:
        return LEAF
    members = tuple(tree(child, where) for child in document["children_spec"])
    if kind not in MAPPINGS:
        return Tree(False, members, sequence=list if kind == "builtins.list" else tuple)
    try:
        keys = json.loads(document["context"] or "[]")
    except (ValueError, RecursionError):
        keys = None
    if isinstance(keys, dict):  # a defaultdict; its factory is left alone
        keys = keys.get("dict_context")
    if not isinstance(keys, list) or len(keys) != len(members):
        raise schema.malformed(where, f"{kind} does not have one key for each member")
    return Tree(False, members, tuple(k if isinstance(k, (str, int, float, bool)) else str(k) for k in keys))


def leaves(shape: Tree) -> int:
    """How many leaves a tree has."""
    return 1 if shape.leaf else sum(leaves(member) for member in shape.members)


def flatten(shape: Tree, value: Any) -> list[Any]:
    """The leaves of a value that is nested like `shape`; ValueError where it is not."""
    if shape.leaf:
        return [value]
    if shape.keys is not None and isinstance(value, Mapping) and set(value) == set(shape.keys):
        members: Sequence[Any] = [value[key] for key in shape.keys]
    elif isinstance(value, (list, tuple)) and len(value) == len(shape.members):
        members = value
    else:  # an object such as a key-value cache
        found = list(tensors_in(value))
        if len(found) != leaves(shape):
            raise ValueError(f"holds {len(found)} tensors, not {leaves(shape)}")
        return found
    return [leaf for member, part in zip(shape.members, members, strict=True) for leaf in flatten(member, part)]


def unflatten(shape: Tree, values: Iterator[Any]) -> Any:
    """The next leaves of `values`, nested like `shape`."""
    if shape.leaf:
        return next(values)
    members = [unflatten(member, values) for member in shape.members]
    return shape.sequence(members) if shape.keys is None else dict(zip(shape.keys, members, strict=True))
