"""What the nodes of an exported program may call: tensor operators of torch by name, and arithmetic on sizes.

Nothing is imported because a file names it. Operators outside these tables (custom libraries, higher-order operators
without a Python meaning here) are not called: they appear in the profile with the sizes that the program recorded.
"""

import functools
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.providers.exported.expressions import BITS, power
from costlab.models.providers.exported.higher_order import HIGHER_ORDER

PREFIX = "torch.ops."

SYMBOLIC: dict[str, Callable[..., Any]] = {
    "_operator.add": operator.add,
    "_operator.and_": operator.and_,
    "_operator.eq": operator.eq,
    "_operator.floordiv": operator.floordiv,
    "_operator.ge": operator.ge,
    "_operator.gt": operator.gt,
    "_operator.le": operator.le,
    "_operator.lshift": lambda value, bits: value * power(2, bits),
    "_operator.lt": operator.lt,
    "_operator.mod": operator.mod,
    "_operator.mul": operator.mul,
    "_operator.ne": operator.ne,
    "_operator.neg": operator.neg,
    "_operator.or_": operator.or_,
    "_operator.pos": operator.pos,
    "_operator.pow": power,
    "_operator.rshift": lambda value, bits: value // power(2, bits),
    "_operator.sub": operator.sub,
    "_operator.truediv": operator.truediv,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_ite": lambda condition, yes, no: yes if condition else no,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
    "torch.sym_sqrt": math.sqrt,
    "torch._sym_sqrt": math.sqrt,
    "torch.ops.aten.sym_is_contiguous.default": lambda tensor, *_: tensor.is_contiguous(),
    "torch.ops.aten.sym_numel.default": torch.Tensor.numel,
    "torch.ops.aten.sym_size.int": lambda tensor, dimension: tensor.shape[dimension],
    "torch.ops.aten.sym_storage_offset.default": torch.Tensor.storage_offset,
    "torch.ops.aten.sym_stride.int": lambda tensor, dimension: tensor.stride(dimension),
}

# Checks of values and sizes, which export adds or keeps: they compute nothing.
CHECKS = {
    f"torch.ops.aten.{name}"
    for name in (
        "_assert_async.default _assert_async.msg _assert_scalar.default _assert_tensor_metadata.default"
        " sym_constrain_range.default sym_constrain_range_for_size.default"
    ).split()
}

# A constant made in forward: export copies it, a trace of the network itself sees it lifted for nothing.
SAME = {"torch.ops.aten.lift_fresh_copy.default": "torch.ops.aten.lift_fresh.default"}

OPERATOR_NAME = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|#\w+:\w+")
ARGUMENT_TYPES = {"Tensor", "number", "int", "float", "bool", "Device", "Generator"}
WORDS = set(  # string arguments that choose an algorithm; others are file names, messages or code
    "UPLO activation approximate equation indexing interpolation mode norm ord p pad_mode padding padding_side reduce"
    " rounding_mode side driver".split()
)
LIBRARIES = {  # operators with a cost rule outside aten, where their library is loaded
    f"torchvision::{name}" for name in ("deform_conv2d", "nms", "ps_roi_align", "ps_roi_pool", "roi_align", "roi_pool")
}


@functools.cache
def tensor_operator(target: str) -> Callable[..., Any] | None:
    """The overload that `torch.ops.aten.conv2d.default` names; None unless it is registered and takes plain data."""
    parts = target.removeprefix(PREFIX).split(".")
    if not target.startswith(PREFIX) or len(parts) != 3:
        return None
    namespace, name, overload = parts
    qualified = f"{namespace}::{name}"
    full = qualified if overload == "default" else f"{qualified}.{overload}"
    if namespace != "aten" and qualified not in LIBRARIES:
        return None
    if not torch._C._dispatch_has_kernel(full):
        return None
    function = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    plain = all(is_plain(argument.name, str(argument.type)) for argument in function._schema.arguments)
    return function if plain else None


def is_plain(name: str, kind: str) -> bool:
    """Whether an argument of that name and type can only hold numbers, tensors or a known word."""
    inner = kind
    while inner.startswith(("Optional[", "List[")):
        inner = inner.partition("[")[2][:-1]
    return inner in ARGUMENT_TYPES or (inner == "str" and name in WORDS)


def is_operator_name(target: str) -> bool:
    """Whether a target has the form of an operator: known arithmetic, or a name below `torch.ops` or `#namespace:`."""
    return target in SYMBOLIC or OPERATOR_NAME.fullmatch(target) is not None


def function_of(target: str) -> Callable[..., Any] | None:
    """What to call for a target; None for an operator that is not in the tables."""
    return arithmetic(target) or HIGHER_ORDER.get(target) or LAYOUTS.get(target) or tensor_operator(target)


def view(tensor: torch.Tensor, size: list[int]) -> torch.Tensor:
    """`view`; a copy if the layout of the tensor is not the one that export saw, which attention kernels choose."""
    try:
        return torch.ops.aten.view.default(tensor, size)
    except RuntimeError:
        return torch.ops.aten.reshape.default(tensor, size)


LAYOUTS: dict[str, Callable[..., Any]] = {"torch.ops.aten.view.default": view}


def arithmetic(target: str) -> Callable[..., Any] | None:
    """The function of a target in SYMBOLIC, for plain numbers (or a tensor whose size it asks for) of 63 bits."""
    function = SYMBOLIC.get(target)
    if function is None:
        return None
    kinds: Any = (torch.Tensor, int) if target.startswith(PREFIX) else (int, float)

    def compute(*arguments: Any) -> Any:
        if not all(isinstance(argument, kinds) for argument in arguments):
            raise CostlabError(f"{target} takes numbers")
        result = function(*arguments)
        if isinstance(result, int) and result.bit_length() > BITS:
            raise OverflowError(f"{target} exceeds {BITS} bits")
        return result

    return compute


def kind_of_target(target: str) -> str:
    """The name of an operator as profiles have it: `torch.ops.mylib.scale.default` is `mylib::scale`."""
    parts = target.lstrip("#").removeprefix(PREFIX).replace(":", ".").split(".")
    return "::".join(parts[:2])
