"""Checks on a saved profile: the type of every field, and what an operator of each kind needs."""

import json
from typing import Any, NoReturn, TypeGuard

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import ITEM_BYTES, Op
from costlab.errors import CostlabError

LARGEST = 10**30  # no count of anything is larger
DEEPEST = 20  # levels of lists and objects inside attributes and arguments
LARGEST_DRAWN = 1e100  # beyond it, axes overflow
QUOTED = 60  # characters of a bad value in a message

# Inputs that predictions and guidelines read, with the fewest dimensions each may have; by kind or family.
REQUIRED_INPUTS: dict[str, dict[str, int]] = {
    "convolution": {"input": 2, "weight": 3},
    "linear": {"input": 1, "weight": 1},
    "attention": {"query": 2, "key": 2, "value": 2},
}
NO_INPUTS = {"creation"}
NO_OUTPUTS = {"equal", "item"}
KEEPS_RANK = {"permute", "transpose", "swapaxes", "t", "numpy_T", "mT"}
RAISES_RANK = {"expand", "expand_as", "broadcast_to"}
DIMENSION_ATTRIBUTES = ("dim", "dim0", "dim1", "dims")


# Operators.


def validate_op(op: Op) -> str:
    """What keeps an operator from being of its kind, as the end of a sentence; "" if nothing does."""
    family = FAMILY_OF.get(op.kind)
    if family is None:
        return ""
    if not op.outputs and op.kind not in NO_OUTPUTS:
        return "has no output"
    if not op.inputs and family not in NO_INPUTS:
        return "has no input"
    for name, rank in REQUIRED_INPUTS.get(op.kind, REQUIRED_INPUTS.get(family, {})).items():
        tensor = op.find(name)
        if tensor is None or len(tensor.shape) < rank:
            return f"has no input {name!r} with {rank} or more dimensions"
    for name in DIMENSION_ATTRIBUTES:
        if not are_dimensions(op.attrs.get(name)):
            return f"has an attribute {name!r} that is not a dimension"
    if family == "convolution":
        return validate_convolution(op)
    return validate_view(op) if op.kind in KEEPS_RANK | RAISES_RANK else ""


def validate_convolution(op: Op) -> str:
    """`validate_op` for groups and channels."""
    groups, rank = op.attrs.get("groups", 1), len(op["weight"].shape)
    if type(groups) is not int or groups < 1:
        return "has groups that are not a whole number, 1 or more"
    if min(len(op["input"].shape), len(op.output.shape)) < rank - 1:
        return f"has fewer than {rank - 1} dimensions in its input or output"
    return ""


def validate_view(op: Op) -> str:
    """`validate_op` for views: the rank of the output, and the dimensions that change places."""
    old, new = len(op.inputs[0].shape), len(op.output.shape)
    if new < old or (new > old and op.kind in KEEPS_RANK):
        return f"makes {new} dimensions of {old}"
    if op.kind == "permute":
        dims = op.attrs.get("dims")
        whole = isinstance(dims, list) and None not in dims and sorted(d % (old or 1) for d in dims) == list(range(old))
        return "" if whole else "has no order of all dimensions"
    pair = [op.attrs.get("dim0"), op.attrs.get("dim1")]
    return "" if pair == [None, None] or all(type(dim) is int for dim in pair) else "has no two dimensions"


def are_dimensions(value: Any) -> bool:
    """Whether an attribute is a whole number, a list of them, or missing."""
    members = value if isinstance(value, list) else [value]
    return all(member is None or type(member) is int for member in members)


# Fields of a document. Each function returns the field `key` of `entry`, whose path in the document is `where`, and
# raises CostlabError if the field has another type.


def field(entry: Any, key: str, where: str) -> Any:
    """A field of any type."""
    if type(entry) is not dict:
        reject(where, "an object", entry)
    if key not in entry:
        raise CostlabError(f"not a costlab profile: {where} has no {key!r}")
    return entry[key]


def string(entry: Any, key: str, where: str) -> str:
    """A string."""
    value = field(entry, key, where)
    return value if type(value) is str else reject(f"{where}.{key}", "a string", value)


def flag(entry: Any, key: str, where: str) -> bool:
    """True or false."""
    value = field(entry, key, where)
    return value if type(value) is bool else reject(f"{where}.{key}", "true or false", value)


def count(entry: Any, key: str, where: str) -> int:
    """A whole number, 0 or more."""
    value = field(entry, key, where)
    return value if is_count(value) else reject(f"{where}.{key}", "a whole number, 0 or more", value)


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, 0 or more."""
    return type(value) is int and 0 <= value <= LARGEST


def items(entry: Any, key: str, where: str) -> list[Any]:
    """A list."""
    value = field(entry, key, where)
    return value if type(value) is list else reject(f"{where}.{key}", "a list", value)


def objects(entry: Any, key: str, where: str = "") -> list[tuple[str, Any]]:
    """The members of a list, each with its path."""
    path = f"{where}.{key}" if where else key
    return [(f"{path}[{i}]", item) for i, item in enumerate(items(entry, key, where or "the document"))]


def counts(entry: Any, key: str, where: str) -> tuple[int, ...]:
    """A list of whole numbers, 0 or more."""
    value = items(entry, key, where)
    if not all(map(is_count, value)):
        reject(f"{where}.{key}", "a list of whole numbers, 0 or more", value)
    return tuple(value)


def mapping(entry: Any, key: str, where: str) -> dict[str, Any]:
    """An object of plain data."""
    value = field(entry, key, where)
    if type(value) is not dict or nests_deeper(value, DEEPEST):
        reject(f"{where}.{key}", f"an object of at most {DEEPEST} levels", value)
    return value


def dtype(entry: Any, where: str, key: str = "dtype") -> str:
    """The dtype of a tensor."""
    value = string(entry, key, where)
    return value if value in ITEM_BYTES else reject(f"{where}.{key}", "a dtype such as float32", value)


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects nest more than so many levels."""
    if type(value) not in (list, dict):
        return False
    members = value.values() if type(value) is dict else value
    return levels == 0 or any(nests_deeper(m, levels - 1) for m in members)


def finite_float(text: str) -> float:
    """A number in a document; ValueError if it is not a number or too large for a float."""
    number = float(text)
    if number - number != 0.0:
        raise ValueError(text)
    return number


def as_number(value: Any) -> float | None:
    """A number that can be ranked and drawn, or one written as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        read = finite_float(str(value))
    except ValueError:
        return None
    return read if abs(read) <= LARGEST_DRAWN else None


def reject(where: str, expected: str, value: Any) -> NoReturn:
    """Raise the error for a field with a wrong value."""
    raise CostlabError(f"not a costlab profile: {where} should be {expected}; got {abbreviated(value)}")


def abbreviated(value: Any) -> str:
    """A value in a message: its beginning, or its size."""
    if isinstance(value, (list, dict)):
        return f"a list of {len(value)}" if isinstance(value, list) else f"an object of {len(value)}"
    words = repr(value) if isinstance(value, str) else json.dumps(value)
    return words if len(words) <= QUOTED else words[:QUOTED] + "..."
