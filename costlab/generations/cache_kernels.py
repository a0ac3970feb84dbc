"""What a serving engine runs in place of a model's own use of its cache: one kernel for each layer that has one.

A model copies its cache, repeats keys for the queries that share them, expands latent keys and values, and writes
attention out. Kernels of engines (paged and latent attention, state updates) read the cache once, where it lies.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from costlab.core.graph import Op, Tensor
from costlab.core.profile import Profile

PRODUCTS = ("linear", "matmul", "mm", "bmm", "addmm", "grouped_mm", "einsum")
ATTENTION = ("scaled_dot_product_attention", "flex_attention")


class CacheKernel(NamedTuple):
    """One layer's kernel."""

    cache_bytes: int  # read, and of states written again
    weight_bytes: int  # of layers that expand a latent cache, which are multiplied with the query instead
    weight_elements: int
    mult_adds: int


def reads_cache(op: Op) -> bool:
    """Whether an operator reads a floating-point tensor that was there before the step."""
    return any(map(is_cache, op.inputs))


def is_cache(tensor: Tensor) -> bool:
    """Whether a tensor was there before the step and does not hold token ids or positions."""
    return tensor.role == "input" and tensor.dtype not in ("int64", "int32", "bool")


def has_weights(op: Op) -> bool:
    """Whether an operator is a product with a matrix of weights."""
    return op.kind in PRODUCTS and any(t.role == "parameter" and len(t.shape) > 1 for t in op.inputs)


def with_cache_kernels(profile: Profile, tokens: int) -> tuple[Profile, list[CacheKernel]]:
    """A decode step without the operators between the cache and the next layer with weights, and what replaces them.

    Args:
        tokens: of the step. A layer with weights that has more rows expands what the cache holds.
    """
    regions = dict(cache_regions(profile, tokens))
    mult_adds = {op.name: cost.mult_adds for op, cost in zip(profile.ops, profile.costs, strict=True) if cost}
    kernels = [kernel(ops, mult_adds) for ops in regions.values()]
    inside = {op.name for ops in regions.values() for op in ops}
    ops = tuple(replace(op, free=True) if op.name in inside else op for op in profile.ops)
    return replace(profile, trace=replace(profile.trace, ops=ops)), kernels


def engine_mult_adds(profile: Profile) -> int:
    """Mult-adds of a decode step of one token, as a serving engine computes it."""
    rest, kernels = with_cache_kernels(profile, 1)
    left = sum(cost.mult_adds for op, cost in zip(rest.ops, rest.costs, strict=True) if cost and not op.free)
    return left + sum(kernel.mult_adds + kernel.weight_elements for kernel in kernels)


def cache_regions(profile: Profile, tokens: int) -> Iterator[tuple[str, list[Op]]]:
    """The operators that one kernel replaces, by the path of the module that reads the cache."""
    owners = {op.module for op in profile.ops if reads_cache(op)}
    reached: dict[str, set[int]] = {owner: set() for owner in owners}
    regions: dict[str, list[Op]] = {owner: [] for owner in owners}
    for op in profile.ops:
        owner = next((o for o in owners if op.module == o or op.module.startswith(f"{o}.")), None)
        if owner is None or not any(is_cache(t) or t.storage in reached[owner] for t in op.inputs):
            continue
        if has_weights(op) and rows(op) <= tokens:
            continue
        reached[owner].update(t.storage for t in op.outputs)
        if not op.free:
            regions[owner].append(op)
    yield from regions.items()


def rows(op: Op) -> int:
    """Rows of the activations that a layer with weights multiplies."""
    first = next(t for t in op.inputs if t.role != "parameter")
    return first.numel // max(1, first.shape[-1])


def kernel(ops: list[Op], mult_adds: dict[str, int]) -> CacheKernel:
    """The kernel that replaces some operators."""
    caches = {t.storage: t for op in ops for t in op.inputs if is_cache(t)}
    written = {t.shape for op in ops for t in op.outputs}
    moved = sum(t.bytes * (2 if t.shape in written else 1) for t in caches.values())
    expanding = [op for op in ops if has_weights(op)]
    weights = [t for op in expanding for t in op.inputs if t.role == "parameter"]
    latent = sum(next(t for t in op.inputs if t.role != "parameter").numel for op in expanding)
    work = 0
    for op in ops:
        if op not in expanding and mult_adds.get(op.name):
            heads = op.inputs[0].shape[1] if len(op.inputs[0].shape) > 2 else 1
            work += heads * latent * (1 + (op.kind in ATTENTION)) if latent else mult_adds[op.name]
    return CacheKernel(moved, sum(t.bytes for t in weights), sum(t.numel for t in weights), work)
