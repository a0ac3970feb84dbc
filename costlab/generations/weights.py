"""Low precision: the bytes of weights with their scales, and a step that reads them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from costlab.core.cost import Cost
from costlab.core.graph import Op, Tensor
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.generations.cache_kernels import PRODUCTS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WeightFormat:
    """How the matrices of a network are stored; everything else keeps the type of the network."""

    name: str
    bits: float  # of one weight
    group: int | None  # weights that share a scale; None: one output channel
    scale_bits: int  # of a scale, its zero point included
    computes: str | None = None  # the narrower type of the products, where a device has it; None: the network's type
    kept: tuple[str, ...] = ("*lm_head*", "*embed*", "*gate", "*router*")  # patterns of modules that stay as they are
    experts_only: bool = False  # only the matrices of a mixture of experts

    def bytes(self, elements: int, columns: int) -> int:
        """Bytes of matrices of so many weights, `columns` of them in a row of each."""
        scales = -(-elements // (self.group or columns))
        return -(-round(elements * self.bits + scales * self.scale_bits) // 8)

    def applies(self, path: str, experts: bool) -> bool:
        """Whether the matrices of a module are stored in this format."""
        if self.experts_only and not experts:
            return False
        return not any(fnmatch.fnmatchcase(path, pattern) for pattern in self.kept)


FORMATS = {  # named on the command line; a type of the network itself has no format
    # one scale a row: torchao's Float8WeightOnly and Int8WeightOnly; groups of 128: GPTQ's and AWQ's usual size
    "fp8": WeightFormat("fp8", 8, None, 32, computes="float8"),
    "int8": WeightFormat("int8", 8, None, 16),
    "int4": WeightFormat("int4", 4, 128, 16 + 4),
    # OCP Microscaling Formats 1.0: 32 values of 4 bits share a scale of 8
    "mxfp4": WeightFormat("mxfp4", 4, 32, 8),
}
MOST_BITS, LARGEST_GROUP = 32, 1 << 24  # of a weight; weights that share a scale
NETWORK_TYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
CACHE_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1}


def format_of(quantization: Mapping[str, Any]) -> WeightFormat | None:
    """The format that a `quantization_config` describes; None for one that stores the network's own type.

    Raises CostlabError if the method is unknown.
    """
    entries = quantization if isinstance(quantization, Mapping) else quantization.to_dict()
    method = str(entries.get("quant_method", "")).lower()
    skipped = (
        entries.get("modules_to_not_convert") or entries.get("ignore") or entries.get("llm_int8_skip_modules") or ()
    )
    if not isinstance(skipped, (list, tuple)) or not all(isinstance(pattern, str) for pattern in skipped):
        raise CostlabError(f"the configuration's quantization keeps the modules {skipped!r}: a list of names is needed")
    kept = (*(p.removeprefix("re:").replace(".*", "*").rstrip("$") for p in skipped), "*lm_head*", "*embed*")
    bits = number(entries, ("bits", "w_bit"), MOST_BITS) or 4
    group = number(entries, ("group_size", "q_group_size"), LARGEST_GROUP)
    if method in ("gptq", "awq", "auto-round"):
        return WeightFormat(method, bits, group, 16 + bits, kept=kept)
    if method == "bitsandbytes" or entries.get("load_in_4bit") or entries.get("load_in_8bit"):
        if entries.get("load_in_8bit"):
            return WeightFormat("bitsandbytes int8", 8, None, 32, kept=kept)
        scale = 8 if entries.get("bnb_4bit_use_double_quant") else 32
        return WeightFormat("bitsandbytes 4-bit", 4, 64, scale, kept=kept)
    if method in ("fp8", "fbgemm_fp8"):
        block = entries.get("weight_block_size")
        if block is not None and not (
            isinstance(block, (list, tuple)) and all(map(is_size, block)) and len(block) == 2
        ):
            raise CostlabError(f"the configuration's quantization has the block size {block!r}: two sizes are needed")
        return WeightFormat("fp8", 8, block[0] * block[1] if block else None, 32, computes="float8", kept=kept)
    if method == "mxfp4":
        return WeightFormat("mxfp4", 4, 32, 8, kept=kept, experts_only=True)
    if method in ("compressed-tensors", "torchao", "quark", "hqq", "eetq", "quanto"):
        nested = {key: value for key, value in reversed([*walk(entries)]) if value is not None}  # the outermost wins
        described = number(nested, ("num_bits", "nbits", "bits"), MOST_BITS)
        if described is not None:
            size = next((v for k, v in walk(entries) if k == "group_size" and is_size(v)), None)
            floats = any(k == "type" and v == "float" for k, v in walk(entries))
            return WeightFormat(method, described, size, 16, "float8" if floats and described == 8 else None, kept)
    raise CostlabError(f"the configuration's quantization method {method!r} is unknown: name its size with --weights")


def number(entries: Mapping[str, Any], names: Sequence[str], most: int) -> int | None:
    """The first of some entries that is given; None if none is, or it is 0 or -1, which stand for a whole row.

    Raises:
        CostlabError: it is not an integer, or is larger than `most`.
    """
    for name in names:
        value = entries.get(name)
        if value is None:
            continue
        if type(value) is not int or not -1 <= value <= most:
            raise CostlabError(
                f"the configuration's quantization has {name} {value!r}: a number up to {most:,} is needed"
            )
        return value if value > 0 else None
    return None


def is_size(value: Any) -> bool:
    """Whether a value is a number of weights that can share a scale."""
    return type(value) is int and 0 < value <= LARGEST_GROUP


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every entry of nested mappings and lists."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield from ((str(k), v) for k, v in value.items())
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value


def stored_bytes(model: torch.nn.Module, form: WeightFormat | None, is_expert: Callable[[str], bool]) -> dict[str, int]:
    """Bytes of the distinct parameters and buffers of a network whose matrices have this format, by their names."""
    seen: set[int] = set()
    sizes = {}
    for path, module in model.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None or id(tensor) in seen:
                continue
            seen.add(id(tensor))
            packed = form is not None and is_matrix(tensor.shape, module) and form.applies(path, is_expert(path))
            size = tensor.numel() * tensor.element_size()
            own = form.bytes(tensor.numel(), tensor.shape[-1]) if form is not None and packed else size
            sizes[f"{path}.{name}"] = own
    return sizes


def is_matrix(shape: Iterable[int], module: torch.nn.Module) -> bool:
    """Whether a tensor of a module is multiplied with activations."""
    return len(tuple(shape)) >= 2 and not hasattr(module, "num_embeddings")


PACKED = "uint8"  # the type of a tensor whose elements are the bytes of packed weights


def with_weights(
    profile: Profile, form: WeightFormat | None, is_expert: Callable[[str], bool], experts: float
) -> Profile:
    """A step that reads its matrices in this format, and of a mixture of experts only those that tokens reach.

    Args:
        experts: the expected share of the experts that the step's tokens reach.
    """
    ops, costs = [], []
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        if op.kind in PRODUCTS and cost is not None:
            op, cost = repacked(op, cost, form, is_expert(op.module), experts)
        ops.append(op)
        costs.append(cost)
    return replace(profile, trace=replace(profile.trace, ops=tuple(ops)), costs=tuple(costs))


def repacked(op: Op, cost: Cost, form: WeightFormat | None, expert: bool, experts: float) -> tuple[Op, Cost]:
    """One product with its weights stored and read otherwise."""
    inputs: list[Tensor] = []
    saved = 0
    for tensor in op.inputs:
        changed = tensor
        if tensor.role == "parameter" and len(tensor.shape) >= 2:
            read = tensor.elements
            if op.kind == "grouped_mm":
                reached = min(1.0, op["self"].shape[0] / tensor.shape[0])  # what the cost rule counts: the most
                saved += round(tensor.bytes * (reached - experts))
                read = round(tensor.elements * experts)
            changed = tensor._replace(elements=read)
            if form is not None and form.applies(op.module, expert):
                packed = form.bytes(read, tensor.shape[-1])
                saved += changed.bytes - packed
                changed = changed._replace(dtype=PACKED, elements=packed)
        inputs.append(changed)
    if saved == 0 and inputs == list(op.inputs):
        return op, cost
    return replace(op, inputs=tuple(inputs)), replace(cost, read_bytes=max(0, cost.read_bytes - saved))
