"""Factorisations, sparse, grouped and quantised products, einsum along a path: unreduced products beside each rule."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from helpers.calls import only, profile_of, total_of

from costlab.core.cost import RULES, cost_of
from costlab.core.cost.attention import share_of_window
from costlab.core.graph import Op, Tensor
from costlab.tracing.operators import kind_of

# Factorisations of [2, 5, 5], and solutions for 3 columns.
LINEAR_ALGEBRA: dict[str, tuple[Any, int]] = {
    "lu": (lambda a, b: torch.linalg.lu_factor(a), 2 * (4 * 4 + 3 * 3 + 2 * 2 + 1 * 1)),
    "det": (lambda a, b: torch.linalg.det(a), 2 * (4 * 4 + 3 * 3 + 2 * 2 + 1 * 1)),
    "slogdet": (lambda a, b: torch.linalg.slogdet(a), 2 * (4 * 4 + 3 * 3 + 2 * 2 + 1 * 1)),
    "cholesky": (lambda a, b: torch.linalg.cholesky(a), 2 * (5 * 4 * 6 // 6)),
    "inverse": (lambda a, b: torch.linalg.inv(a), 2 * (4 * 4 + 3 * 3 + 2 * 2 + 1 * 1 + 5 * 5 * 5)),
    "qr": (lambda a, b: torch.linalg.qr(a), 2 * 2 * 2 * (5 * 5 + 4 * 4 + 3 * 3 + 2 * 2 + 1 * 1)),
    "eigh": (lambda a, b: torch.linalg.eigh(a), 2 * (9 * 5**3 // 2)),
    "eig": (lambda a, b: torch.linalg.eig(a), 2 * (25 * 5**3 // 2)),
    "svd": (lambda a, b: torch.linalg.svd(a), 2 * (3 * 5 * 5 * 5 + 10 * 5**3)),
    "matrix exponential": (lambda a, b: torch.linalg.matrix_exp(a), 2 * 5 * 5**3),
    "triangular": (lambda a, b: torch.linalg.solve_triangular(a, b, upper=True), 2 * 3 * (4 + 3 + 2 + 1)),
    "solve": (torch.linalg.solve, 2 * (4 * 4 + 3 * 3 + 2 * 2 + 1 * 1) + 2 * 3 * 2 * (4 + 3 + 2 + 1)),
    "cholesky solve": (lambda a, b: torch.cholesky_solve(b, a), 2 * 3 * 2 * (4 + 3 + 2 + 1)),
}


@pytest.mark.parametrize(("function", "mult_adds"), LINEAR_ALGEBRA.values(), ids=LINEAR_ALGEBRA)
def test_linear_algebra_by_matrix_sizes(function: Any, mult_adds: int) -> None:
    assert total_of(function, (2, 5, 5), (2, 5, 3)).mult_adds == mult_adds


def test_an_lu_factorisation_is_that_of_naive_elimination() -> None:
    for n in range(1, 7):
        steps = sum(1 for k in range(n) for _ in range(k + 1, n) for _ in range(k + 1, n))
        assert total_of(torch.linalg.lu_factor, (n, n)).mult_adds == steps


def test_least_squares() -> None:
    reflections = 2 * (6 * 4 + 5 * 3 + 4 * 2 + 3 * 1)
    total = total_of(lambda a, b: torch.linalg.lstsq(a, b).solution, (6, 4), (6, 2))
    assert total.mult_adds == reflections + 2 * (6 * 4 + 3 + 2 + 1)


def test_the_backward_pass_of_unfold_is_a_copy() -> None:
    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.istft(torch.stft(x, 16, window=torch.ones(16), return_complex=True), 16, window=torch.ones(16))

    assert total_of(network, (2, 64)).mult_adds == 0


# Contractions.


def op_of(kind: str, shapes: dict[str, tuple[int, ...]], output: tuple[int, ...], **attrs: Any) -> Op:
    """An operator by its shapes."""

    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        return Tensor(name, shape, "float32", "activation", int(torch.Size(shape).numel()), 0)

    inputs = tuple(tensor(name, shape) for name, shape in shapes.items())
    return Op(kind, kind, "", inputs, (tensor("output", output),), attrs, None, (), False, False, 0, 0)


PRODUCTS = {
    "sparse left": (op_of("mm", {"self": (9, 7), "mat2": (7, 4)}, (9, 4), nnz_self=20), 20 * 4),
    "sparse vector": (op_of("mv", {"self": (9, 7), "vec": (7,)}, (9,), nnz_self=20), 20),
    "sparse right": (op_of("mm", {"self": (9, 7), "mat2": (7, 4)}, (9, 4), nnz_mat2=10), 10 * 9),
    "sparse both": (op_of("mm", {"self": (9, 7), "mat2": (7, 4)}, (9, 4), nnz_self=20, nnz_mat2=14), 20 * 2),
    "sparse weight": (op_of("linear", {"input": (2, 3, 7), "weight": (4, 7)}, (2, 3, 4), nnz_weight=10), 10 * 2 * 3),
    "sampled": (
        op_of("sparse_sampled_addmm", {"self": (9, 9), "mat1": (9, 5), "mat2": (5, 9)}, (9, 9), nnz_self=12),
        12 * 5,
    ),
    "2:4": (op_of("_sparse_semi_structured_mm", {"mat1": (8, 8), "meta": (8,), "mat2": (16, 4)}, (8, 4)), 8 * 4 * 8),
    "int4": (op_of("_weight_int4pack_mm", {"self": (3, 64), "mat2": (1, 2, 3)}, (3, 32)), 3 * 32 * 64),
    "lists": (
        op_of("_foreach_mm", {"self.0": (2, 3), "self.1": (4, 5), "mat2.0": (3, 6), "mat2.1": (5, 7)}, (2, 6)),
        2 * 3 * 6 + 4 * 5 * 7,
    ),
    "over time": (op_of("conv_tbc", {"self": (10, 2, 3), "weight": (5, 3, 4)}, (8, 2, 4)), 8 * 2 * 4 * 5 * 3),
    "gradients": (
        op_of(
            "convolution_backward",
            {"grad_output": (2, 8, 6, 6), "input": (2, 3, 8, 8), "weight": (8, 3, 3, 3)},
            (2, 3, 8, 8),
            output_mask=[True, True, False],
        ),
        2 * (2 * 8 * 6 * 6 * 3 * 3 * 3),
    ),
    "path": (
        op_of(
            "einsum",
            {"tensors.0": (8, 100), "tensors.1": (100, 4), "tensors.2": (4, 100), "tensors.3": (100, 8)},
            (8, 8),
            equation="ab,bc,cd,de->ae",
            path=[0, 1, 0, 1, 0, 1],
        ),
        8 * 100 * 4 + 4 * 100 * 8 + 8 * 4 * 8,
    ),
    "no path": (
        op_of(
            "einsum",
            {"tensors.0": (8, 100), "tensors.1": (100, 4), "tensors.2": (4, 100), "tensors.3": (100, 8)},
            (8, 8),
            equation="ab,bc,cd,de->ae",
        ),
        8 * 100 * 4 + 8 * 4 * 100 + 8 * 100 * 8,
    ),
}


@pytest.mark.parametrize(("op", "mult_adds"), PRODUCTS.values(), ids=PRODUCTS)
def test_products_by_what_they_multiply(op: Op, mult_adds: int) -> None:
    cost = cost_of(op)
    assert cost is not None
    assert cost.mult_adds == mult_adds


def test_einsum_follows_the_path_that_torch_takes() -> None:
    a, b, c = torch.zeros(2, 30), torch.zeros(30, 3), torch.zeros(3, 40)
    path = [1, 2, 0, 1]  # right to left
    result = profile_of(lambda *t: torch.ops.aten.einsum("ab,bc,cd->ad", list(t), path=path), a, b, c)
    assert result.mult_adds == 30 * 3 * 40 + 2 * 30 * 40


@pytest.mark.parametrize(("rows", "read"), [(1, 1), (5, 5), (64, 8)])
def test_a_grouped_product_reads_the_matrices_that_its_rows_can_reach(rows: int, read: int) -> None:
    def network(x: torch.Tensor, weights: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        return torch._grouped_mm(x, weights, offs=ends)

    ends = torch.full((8,), rows, dtype=torch.int32)
    inputs = (torch.empty(rows, 16, dtype=torch.bfloat16), torch.empty(8, 16, 32, dtype=torch.bfloat16), ends)
    _, cost = only(profile_of(network, *inputs), "grouped_mm")
    assert cost.mult_adds == rows * 16 * 32
    assert cost.memory_access == rows * 16 + read * 16 * 32 + 8 + rows * 32


def test_the_share_of_a_window_is_that_of_its_mask() -> None:
    for queries, keys, left, right in [(8, 8, None, 0), (6, 9, 2, 0), (5, 5, 1, 1), (4, 7, None, None), (9, 4, 3, 2)]:
        i, j = torch.arange(queries)[:, None], torch.arange(keys)[None]
        mask = torch.ones(queries, keys, dtype=torch.bool)
        mask &= (j >= i - left) if left is not None else True
        mask &= (j <= i + right) if right is not None else True
        assert share_of_window(queries, keys, left, right) == pytest.approx(mask.double().mean().item())


# Nothing that multiplies matrices is left out.


MULTIPLIES = re.compile(
    r"(^|_)(mm|addmm|bmm|baddbmm|addbmm|matmul|linear|convolution|conv\w*|attention\w*|lstm|gru|rnn\w*|cholesky\w*|lu\w*|qr"
    r"|svd|eig\w*|solve\w*|inv\w*|det|slogdet|lstsq|einsum|bilinear|ormqr|geqrf|triangular\w*|spsolve)(_|$)"
)
# Backward passes other than those of convolutions, kernels of other devices, packing of weights, options, and what is
# taken apart or written out before any rule is asked.
LEFT_OUT = re.compile(
    r"backward|prepack|_pack|packed_weight|mps|reorder|flatten_weight|_search|init_|upsample|lu_unpack|linear_unpack"
    r"|_linear_algebra|linear1d|trilinear3d|bilinear2d|linear_combination|_native_multi_head|_transformer_encoder"
    r"|_triton|^convolution$|convolution_overrideable|fp16|convert|make_|_linear_prepack|_get_|slice_inverse|bilinear$"
)


def is_composite(name: str) -> bool:
    """Whether torch takes an operator apart, or has only TorchScript's name of it."""
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")
    except RuntimeError:
        return True


def test_every_operator_that_multiplies_matrices_has_a_rule() -> None:
    missing = set()
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, base = schema.name.partition("::")
        kind = kind_of(schema.name)
        if namespace not in ("aten", "quantized") or kind in RULES or not MULTIPLIES.search(base):
            continue
        name = schema.name + (f".{schema.overload_name}" if schema.overload_name else "")
        if not LEFT_OUT.search(kind) and not is_composite(name):
            missing.add(kind)
    assert not missing
