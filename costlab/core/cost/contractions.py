"""Cost formulas of contractions: convolutions, matrix products, einsum and recurrent layers.

Shapes: batch n, channels c, features i and o, positions p, groups g, kernel k, heads h, lengths l and s.
"""

from math import prod

from costlab.core.cost.algebra import Cost, Rule, traffic
from costlab.core.graph import Op


def convolution(op: Op) -> Cost:
    """Every output element [n, o, p] sums over one group's channels and the kernel: weight [o, i/g, k...]."""
    outputs = op.output.numel
    return traffic(op, mult_adds=outputs * prod(op["weight"].shape[1:]), activations=outputs)


def transposed_convolution(op: Op) -> Cost:
    """Every input element [n, i, p] is spread over one group's outputs and the kernel: weight [i, o/g, k...]."""
    return traffic(op, mult_adds=op["input"].numel * prod(op["weight"].shape[1:]), activations=op.output.numel)


def deform_convolution(op: Op) -> Cost:
    """A convolution whose every tap is interpolated between 4 neighbours."""
    cost = convolution(op)
    outputs = op.output
    sampled = outputs.shape[0] * op["input"].shape[1] * prod(outputs.shape[2:]) * prod(op["weight"].shape[2:])
    return cost + Cost(element_wise_ops=4 * sampled)


def matrix_product(contracted: str) -> Rule:
    """[..., i] x [i, o] -> [..., o]: every output element sums over the last dimension of input `contracted`.

    A sparse matrix multiplies what it stores: once for each column, or row, of a dense one.
    """

    def rule(op: Op) -> Cost:
        outputs = op.output.numel
        stored = {t.name: op.attrs[f"nnz_{t.name}"] for t in op.inputs if f"nnz_{t.name}" in op.attrs}
        left = op[contracted]
        if not stored or set(stored) <= {"self"} - {contracted}:
            count = outputs * left.shape[-1]
        elif contracted in stored:
            right = op.inputs[op.inputs.index(left) + 1]
            nonzeros = stored.get(right.name)
            columns = right.shape[-1] if len(right.shape) > 1 else 1
            count = stored[contracted] * (columns if nonzeros is None else -(-nonzeros // max(right.shape[0], 1)))
        else:
            count = max(stored.values()) * (left.numel // max(left.shape[-1], 1))
        return traffic(op, mult_adds=count, activations=outputs)

    return rule


def bilinear(op: Op) -> Cost:
    """x1 [..., i] and x2 [..., j] with weight [o, i, j]: x1 W [..., o, j], then times x2."""
    outputs = op.output.numel
    _, i, j = op["weight"].shape
    return traffic(op, mult_adds=outputs * i * j + outputs * j, activations=outputs)


def packed_matrix_product(op: Op) -> Cost:
    """[..., i] times a packed, quantised or 2:4 sparse matrix: the dense product."""
    rows = op.inputs[0]
    outputs = op.output.numel
    return traffic(op, mult_adds=outputs * rows.shape[-1], activations=outputs)


def semi_structured_product(op: Op) -> Cost:
    """A 2:4 sparse matrix times a dense one [k, o]: half of the dense product."""
    dense = next(t for t in op.inputs if t.name in ("mat2", "dense_B"))
    outputs = op.output.numel
    return traffic(op, mult_adds=outputs * dense.shape[0] // 2, activations=outputs)


def products_of_lists(op: Op) -> Cost:
    """Pairs of matrices [i, k] x [k, o]."""
    products = sum(a.numel * b.shape[-1] for a, b in zip(op.each("self"), op.each("mat2"), strict=True))
    return traffic(op, mult_adds=products, activations=sum(t.numel for t in op.outputs))


def trilinear(op: Op) -> Cost:
    """Products of three tensors, broadcast to each other and summed: two multiplications a term."""
    shapes = [[*t.shape] for t in op.inputs]
    for shape, expand in zip(shapes, ("expand1", "expand2", "expand3"), strict=True):
        for dim in sorted(op.attrs[expand]):
            shape.insert(dim, 1)
    terms = prod(max(sizes) for sizes in zip(*shapes, strict=True))
    return traffic(op, mult_adds=2 * terms, activations=op.output.numel)


def sampled_product(op: Op) -> Cost:
    """mat1 [i, k] x mat2 [k, o] at the stored places of a sparse matrix."""
    stored = op.attrs.get("nnz_self", op["self"].numel)
    return traffic(op, mult_adds=stored * op["mat1"].shape[-1], activations=op.output.elements)


def convolution_over_time(op: Op) -> Cost:
    """[t, n, i] with weight [k, i, o]."""
    taps, inputs, _ = op["weight"].shape
    return traffic(op, mult_adds=op.output.numel * taps * inputs, activations=op.output.numel)


def summed_matrix_product(op: Op) -> Cost:
    """[b, i, k] x [b, k, o], summed over the batch: [i, o]."""
    return traffic(op, mult_adds=op["batch1"].numel * op["batch2"].shape[-1], activations=op.output.numel)


def grouped_matrix_product(op: Op) -> Cost:
    """Rows, columns or summands of [.., m, k] x [.., k, n] fall into groups: each meets one group of the other side."""
    rows, matrices = op.inputs[:2]
    summands = len(rows.shape) == len(matrices.shape) == 2  # then every group has an output of its own
    outputs = rows.shape[0] * matrices.shape[1] if summands else op.output.numel
    reads = [(t.elements, t) for t in op.inputs]
    if len(rows.shape) < len(matrices.shape):  # a row reaches one matrix
        groups = matrices.shape[0]
        reads[1] = (matrices.elements * min(rows.shape[0], groups) // max(groups, 1), matrices)
    return traffic(op, mult_adds=outputs * rows.shape[-1], activations=op.output.numel, reads=reads)


def einsum(op: Op) -> Cost:
    """Operands are contracted in pairs: along the path that torch was given, else from left to right.

    A pair costs the product of all its dimensions if it sums over a shared one, and is an element-wise product if it
    does not; a dimension that only one operand has, and that is not needed later, is summed beforehand. Over a
    dimension of size 1 there is nothing to sum.
    """
    sized, result = einsum_terms(op.attrs["equation"], [t.shape for t in op.each("tensors")])
    terms = [{dim: size for dim, size in term.items() if size != 1} for term in sized]
    mult_adds = element_wise_ops = 0
    if len(terms) == 1 and set(terms[0]) - result:
        element_wise_ops += prod(terms[0].values())
    for first, second in pairs_of(op.attrs.get("path"), len(terms)):
        left, right = terms[first], terms[second]
        terms = [term for position, term in enumerate(terms) if position not in (first, second)]
        later = result.union(*terms)
        for term, other in ((left, right), (right, left)):
            alone = set(term) - set(other) - later
            if alone:
                element_wise_ops += prod(term.values())
                for dim in alone:
                    del term[dim]
        both = left | right
        if set(both) - later:
            mult_adds += prod(both.values())
        else:
            element_wise_ops += prod(both.values())
        terms.append({d: n for d, n in both.items() if d in later})
    return traffic(op, mult_adds, element_wise_ops, activations=op.output.numel if mult_adds else 0)


def pairs_of(path: list[int] | None, operands: int) -> list[tuple[int, int]]:
    """The positions of the operands contracted in each step; what they give comes last among those left."""
    if path:
        return list(zip(path[::2], path[1::2], strict=True))
    return [(0, 1)] * min(operands - 1, 1) + [(left - 1, 0) for left in range(operands - 1, 1, -1)]


def einsum_terms(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[dict[str, int]], set[str]]:
    """The size of every dimension of every operand, and the dimensions of the result; an ellipsis is numbered."""
    sources, arrow, target = equation.replace(" ", "").partition("->")

    def dims(term: str, rank: int) -> list[str]:
        before, dots, after = term.partition("...")
        hidden = rank - len(before) - len(after) if dots else 0
        return [*before, *(f".{hidden - i}" for i in range(hidden)), *after]

    terms = []
    for term, shape in zip(sources.split(","), shapes, strict=True):
        sized: dict[str, int] = {}
        for dim, size in zip(dims(term, len(shape)), shape, strict=True):
            sized[dim] = size if size != 1 else sized.get(dim, 1)
        terms.append(sized)
    every = [d for term in terms for d in term]
    ellipsis = {d for d in every if d.startswith(".")}
    if arrow:
        return terms, set(target.replace(".", "")) | (ellipsis if "..." in target else set())
    return terms, {d for d in every if sources.count(d) == 1} | ellipsis


def recurrent(gates: int, per_unit: int) -> Rule:
    """Every step and row multiplies every weight matrix once; `per_unit` operations for each unit of the hidden state.

    x [l, n, i] (or packed rows [l n, i]) with w_ih [g h, i] and w_hh [g h, h], per layer and direction; the weights are
    read once per layer and direction.
    """

    def rule(op: Op) -> Cost:
        x = op.find("data") or op["input"]
        rows = prod(x.shape[:-1])
        weights = [t for t in op.each("params") if len(t.shape) == 2]
        gate_rows = max(t.shape[0] for t in weights)  # a projection has fewer rows
        units = sum(t.shape[0] for t in weights if t.shape[0] == gate_rows) // 2 // gates
        return traffic(
            op,
            mult_adds=rows * sum(t.numel for t in weights),
            element_wise_ops=rows * units * per_unit,
            activations=op.output.numel,
        )

    return rule


def fused_recurrent(op: Op) -> Cost:
    """A library's recurrent layers: every step and row multiplies every weight matrix once."""
    rows = prod(op["input"].shape[:-1])
    weights = [t for t in op.inputs if t.name.startswith("weight") and len(t.shape) == 2]
    return traffic(op, mult_adds=rows * sum(t.numel for t in weights), activations=op.output.numel)


def recurrent_cell(gates: int, per_unit: int) -> Rule:
    """One step of `recurrent`: rows [n] times w_ih and w_hh."""

    def rule(op: Op) -> Cost:
        w_ih, w_hh = op["w_ih"], op["w_hh"]
        rows = prod(op["input"].shape[:-1])
        return traffic(
            op,
            mult_adds=rows * (w_ih.numel + w_hh.numel),
            element_wise_ops=rows * w_ih.shape[0] // gates * per_unit,
            activations=op.output.numel,
        )

    return rule


# Matrix products and further operations per hidden unit: each gate adds two products and applies a nonlinearity; then
LSTM = 4, 13  # c' = f c + i g, h' = o tanh(c')
GRU = 3, 11  # n = tanh(x + r h), h' = (1 - z) n + z h
RNN = 1, 2
