"""What an operator that was read from a file has to have, so that it can be one of its kind."""

from __future__ import annotations

from typing import Any

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op

# Inputs that predictions and guidelines look at, with the dimensions that each has at least; by kind or family.
NEEDED: dict[str, dict[str, int]] = {
    "convolution": {"input": 2, "weight": 3},
    "linear": {"input": 1, "weight": 1},
    "attention": {"query": 2, "key": 2, "value": 2},
}
TAKES_NOTHING = {"creation"}
GIVES_NO_TENSOR = {"equal", "item"}
KEEPS_RANK = {"permute", "transpose", "swapaxes", "t", "numpy_T", "mT"}
GAINS_RANK = {"expand", "expand_as", "broadcast_to"}
DIMENSIONS = ("dim", "dim0", "dim1", "dims")  # attributes that say which


def flaw(op: Op) -> str:
    """What keeps an operator from being of its kind, as the end of a sentence; "" where nothing does."""
    family = FAMILY_OF.get(op.kind)
    if family is None:
        return ""
    if not op.outputs and op.kind not in GIVES_NO_TENSOR:
        return "has no output"
    if not op.inputs and family not in TAKES_NOTHING:
        return "has no input"
    for name, rank in NEEDED.get(op.kind, NEEDED.get(family, {})).items():
        tensor = op.find(name)
        if tensor is None or len(tensor.shape) < rank:
            return f"has no input {name!r} of {rank} dimensions or more"
    for name in DIMENSIONS:
        if not are_dimensions(op.attrs.get(name)):
            return f"has an attribute {name!r} that is no dimension"
    if family == "convolution":
        return convolution_flaw(op)
    return view_flaw(op) if op.kind in KEEPS_RANK | GAINS_RANK else ""


def convolution_flaw(op: Op) -> str:
    """Groups that divide something, and channels to divide."""
    groups, rank = op.attrs.get("groups", 1), len(op["weight"].shape)
    if type(groups) is not int or groups < 1:
        return "has groups that are no whole number of 1 and more"
    if min(len(op["input"].shape), len(op.output.shape)) < rank - 1:
        return f"has fewer than {rank - 1} dimensions in its input or output"
    return ""


def view_flaw(op: Op) -> str:
    """As many dimensions as it takes, or more; where they change places, all of them."""
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
    """Whether an attribute is a whole number, some of them, or not given."""
    members = value if isinstance(value, list) else [value]
    return all(member is None or type(member) is int for member in members)
