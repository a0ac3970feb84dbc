"""Operators on sparse tensors, which stay real: their indices decide what is computed."""

from typing import Any

import torch

from costlab.tracing.calls import Call
from costlab.tracing.layouts import SPARSE
from costlab.tracing.operations import Operations
from costlab.tracing.tensors import CPU, META, moved, on_meta, real_ones, real_zeros, with_device

FROM_DENSE = frozenset("to_sparse _to_sparse _to_sparse_csr to_sparse_csr _to_sparse_bsr to_sparse_bsr".split())
PRODUCTS = (("mat1", "mat2"), ("self", "mat2"), ("sparse", "dense"), ("self", "other"), ("self", "vec"))
SPARSE_PRODUCTS = frozenset("mm addmm matmul mv bmm _sparse_mm _sparse_addmm smm hspmm sspaddmm".split())


def run_sparse(operations: Operations, call: Call, abstract: bool, guessed: bool) -> Any:
    """Sparse tensors stay real, with zeros for unknown values: their indices decide what is computed."""
    call.attrs.update((f"nnz_{name}", record.elements) for name, record in call.inputs if record.spec.sparse)
    unknown = any(record.storage.abstract for record in call.records if not record.spec.sparse)
    args, kwargs, overload = call.args, call.kwargs, call.operator.overload
    if unknown and overload._schema.name.partition("::")[2] in FROM_DENSE:
        guessed = True  # every element is kept
        args, kwargs = moved(args, real_ones), moved(kwargs, real_ones)
    result = shape_of_product(call) if abstract else None
    if result is None:
        args, kwargs = with_device(args, kwargs, CPU)
        result = overload(*moved(args, real_zeros), **moved(kwargs, real_zeros))
        if abstract:
            result = moved(result, without_values)
    return operations.add(call, result, abstract, guessed)


def without_values(tensor: torch.Tensor) -> torch.Tensor:
    """A sparse result itself, a dense one without data."""
    return tensor if tensor.layout in SPARSE else on_meta(tensor)


def shape_of_product(call: Call) -> torch.Tensor | None:
    """The dense result of a sparse matrix times a dense one, without values; None for any other operator."""
    tensors = {name: record.tensor for name, record in call.inputs}
    pair = next((p for p in PRODUCTS if p[0] in tensors and p[1] in tensors), None)
    if call.operator.kind not in SPARSE_PRODUCTS or pair is None or all(tensors[n].layout in SPARSE for n in pair):
        return None
    left, right = (tensors[name] for name in pair)
    shape = (*left.shape[:-1], *right.shape[-1:]) if right.dim() > 1 else left.shape[:-1]
    return torch.empty(shape, dtype=right.dtype, device=META)
