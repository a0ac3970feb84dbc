"""Cost formulas of factorisations and of what is solved with them, by matrix sizes.

Multiply-accumulates of the textbook algorithms, lower-order terms included where they are sums (LU, Cholesky, QR,
triangular solves). Eigenvalues and singular values are iterative: their counts are the usual multiples of n^3 (Golub
and Van Loan, Matrix Computations, 4th ed., sections 7.5, 8.3 and 8.6), a multiply-accumulate being two operations.
"""

from collections.abc import Callable
from math import prod

from costlab.core.cost.algebra import Cost, Rule, traffic
from costlab.core.graph import Op

Count = Callable[[int, int], int]  # multiply-accumulates for a matrix [m, n]


def lu(m: int, n: int) -> int:
    """Step k updates the (m - k) (n - k) elements below and right of pivot k."""
    return sum((m - k) * (n - k) for k in range(1, min(m, n) + 1))


def cholesky(m: int, n: int) -> int:
    """Half of an LU factorisation: the lower triangle of each update, n (n - 1) (n + 1) / 6."""
    return n * (n - 1) * (n + 1) // 6


def qr(m: int, n: int) -> int:
    """Reflection k of [m - k] rows meets the n - k columns from it on, twice: v^T A and A - v w^T."""
    return sum(2 * (m - k) * (n - k) for k in range(min(m, n)))


def full_qr(m: int, n: int) -> int:
    """The same again to form Q [m, min(m, n)]."""
    return 2 * qr(m, n)


def inverse(m: int, n: int) -> int:
    """An LU factorisation, then n right-hand sides."""
    return lu(n, n) + n * n * n


def symmetric_eigen(m: int, n: int) -> int:
    """9 n^3 operations with eigenvectors."""
    return 9 * n**3 // 2


def general_eigen(m: int, n: int) -> int:
    """25 n^3 operations with eigenvectors."""
    return 25 * n**3 // 2


def eigenvalues(m: int, n: int) -> int:
    """10 n^3 operations for eigenvalues alone."""
    return 5 * n**3


def singular_values(m: int, n: int) -> int:
    """6 m n^2 + 20 n^3 operations for U, S and V, with m >= n."""
    m, n = max(m, n), min(m, n)
    return 3 * m * n * n + 10 * n**3


def matrix_exponential(m: int, n: int) -> int:
    """A Taylor polynomial of degree 18: five products."""
    return 5 * n**3


def factorisation(count: Count) -> Rule:
    """The count for each matrix of a batch [..., m, n]."""

    def rule(op: Op) -> Cost:
        *batch, m, n = op.inputs[0].shape
        return traffic(op, mult_adds=prod(batch) * count(m, n), activations=op.output.numel)

    return rule


def solution(matrix: str, right: str, factor: Count | None, triangles: int) -> Rule:
    """Each right-hand side [n] meets `triangles` triangles of n (n - 1) / 2; a factorisation comes first, if any."""

    def rule(op: Op) -> Cost:
        size = op[matrix].shape[-1]
        sides = op[right].numel // max(size, 1)
        matrices = prod(op[matrix].shape[:-2])
        count = sides * triangles * (size * (size - 1) // 2) + (matrices * factor(size, size) if factor else 0)
        return traffic(op, mult_adds=count, element_wise_ops=sides * size, activations=op.output.numel)

    return rule


def least_squares(op: Op) -> Cost:
    """A QR factorisation of A [m, n]; each right-hand side meets Q^T and a triangle."""
    *batch, m, n = op["self"].shape
    sides = op["b"].numel // max(m * prod(batch), 1)
    count = qr(m, n) + sides * (m * n + n * (n - 1) // 2)
    return traffic(op, mult_adds=prod(batch) * count, activations=op.output.numel)


def reflections(op: Op) -> Cost:
    """Householder vectors [..., m, k] times a matrix [..., m, n]: each meets every column twice."""
    vectors = op.inputs[0]
    columns = op.output.shape[-1]
    return traffic(op, mult_adds=2 * vectors.numel * columns, activations=op.output.numel)


LINEAR_ALGEBRA: dict[str, Rule] = {
    **dict.fromkeys("linalg_lu linalg_lu_factor_ex _linalg_det _linalg_slogdet".split(), factorisation(lu)),
    **dict.fromkeys("cholesky linalg_cholesky_ex linalg_ldl_factor_ex".split(), factorisation(cholesky)),
    "cholesky_inverse": factorisation(lambda m, n: n**3 - cholesky(m, n)),
    "geqrf": factorisation(qr),
    "linalg_qr": factorisation(full_qr),
    "linalg_inv_ex": factorisation(inverse),
    "linalg_pinv": factorisation(lambda m, n: singular_values(m, n) + m * n * min(m, n)),
    **dict.fromkeys("_linalg_eigh linalg_eigh".split(), factorisation(symmetric_eigen)),
    "linalg_eig": factorisation(general_eigen),
    **dict.fromkeys("linalg_eigvals _linalg_eigvals".split(), factorisation(eigenvalues)),
    "_linalg_svd": factorisation(singular_values),
    "linalg_matrix_exp": factorisation(matrix_exponential),
    "linalg_solve_triangular": solution("self", "B", None, 1),
    "triangular_solve": solution("A", "self", None, 1),
    "cholesky_solve": solution("input2", "self", None, 2),
    "_cholesky_solve_helper": solution("A", "self", None, 2),
    "linalg_lu_solve": solution("LU", "B", None, 2),
    "linalg_ldl_solve": solution("LD", "B", None, 2),
    "_linalg_solve_ex": solution("A", "B", lu, 2),
    "_spsolve": solution("A", "B", lu, 2),
    "linalg_lstsq": least_squares,
    "ormqr": reflections,
    "linalg_householder_product": reflections,
}
