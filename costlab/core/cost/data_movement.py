"""Cost formulas of copies, creation and indexing."""

from itertools import zip_longest
from math import prod

from costlab.core.cost.algebra import Cost, traffic
from costlab.core.graph import Op


def copy(op: Op) -> Cost:
    """Reads its inputs and writes its output, no arithmetic."""
    return traffic(op)


def create(op: Op) -> Cost:
    """Writes its output; what it was shaped after is not read."""
    return traffic(op, reads=())


def allocate(op: Op) -> Cost:
    """Memory with nothing in it: neither read nor written."""
    return traffic(op, reads=(), writes=())


def fill(op: Op) -> Cost:
    """Writes its output over whatever was there."""
    return traffic(op, reads=[(t.elements, t) for t in op.inputs if t.name not in ("self", "input")])


def gather(op: Op) -> Cost:
    """Reads indices and the elements they pick, not the table; `index` lists its index tensors, `embedding` has one."""
    table, *indices = op.inputs
    if op.kind == "embedding":
        table = op["weight"]
        indices = [op["indices"]]
    return traffic(op, reads=[(op.output.elements, table), *((t.elements, t) for t in indices)])


def embedding_bag(op: Op) -> Cost:
    """Reads one row per index, adds them up bag by bag."""
    weight, indices = op["weight"], op["indices"]
    touched = indices.numel * weight.shape[-1]
    others = [(t.elements, t) for t in op.inputs if t.name not in ("weight", "indices")]
    return traffic(
        op,
        element_wise_ops=touched,
        reads=[(touched, weight), (indices.elements, indices), *others],
        writes=[(op.output.elements, op.output)],
    )


def embedding_renorm(op: Op) -> Cost:
    """Takes the norm of one row per index, and scales the row where it is too large."""
    weight, indices = op["self"], op["indices"]
    touched = indices.numel * weight.shape[-1]
    return traffic(
        op,
        element_wise_ops=2 * touched,
        reads=[(touched, weight), (indices.elements, indices)],
        writes=[(touched, weight)],
    )


def scatter(op: Op) -> Cost:
    """Reads indices and source, writes the elements they touch; one that adds reads those as well."""
    table, *others = op.inputs
    source = next((t for t in others if t.name in ("src", "source", "values")), None)
    if op.kind == "index_put":
        touched = places_put(op)
    elif op.kind == "index_fill":
        touched = op.output.numel // op.output.shape[op.attrs["dim"]] * op["index"].numel
    elif source and op.kind in ("index_add", "index_copy", "index_reduce", "masked_scatter"):
        touched = min(source.numel, op.output.numel)
    else:
        touched = op["index"].numel
    adds = op.kind.endswith(("_add", "_reduce")) or bool(op.attrs.get("accumulate") or op.attrs.get("reduce"))
    reads = [(min(t.elements, touched) if t is source else t.elements, t) for t in others]
    return traffic(
        op,
        element_wise_ops=touched if adds else 0,
        reads=[(touched, table), *reads] if adds else reads,
        writes=[(touched, op.output)],
    )


def places_put(op: Op) -> int:
    """Elements that x[indices] = values touches: the indices, broadcast, times the dimensions that they leave alone.

    A mask touches as many places as it is given values, and all that it covers where they are broadcast to it.
    """
    shape, values = op.output.shape, op["values"]
    indices = {int(t.name.rpartition(".")[2]): t for t in op.each("indices")}
    masks = [t for t in indices.values() if t.dtype in ("bool", "uint8")]
    kept: list[int] = []
    dim = 0
    for position in range(max(indices) + 1):
        index = indices.get(position)
        if index is None:
            kept.append(shape[dim])
        dim += len(index.shape) if index in masks else 1
    kept += shape[dim:]
    if masks and len(values.shape) > len(kept):
        return values.numel
    picked = [(t.numel,) if t in masks else t.shape for t in indices.values()]
    return prod(map(max, zip_longest(*(reversed(p) for p in picked), fillvalue=1))) * prod(kept)
