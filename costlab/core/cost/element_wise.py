"""Cost formulas of arithmetic outside contractions: element-wise, normalisation, reductions, Fourier transforms."""

from math import log2, prod

from costlab.core.cost.algebra import Cost, Rule, traffic
from costlab.core.graph import Op
from costlab.core.optimizers import OPTIMIZERS


def per_output(operations: int) -> Rule:
    """`operations` for each output element."""
    return lambda op: traffic(op, element_wise_ops=operations * op.output.numel)


def per_input(operations: int) -> Rule:
    """`operations` for each element of the first input."""
    return lambda op: traffic(op, element_wise_ops=operations * op.inputs[0].numel)


def per_stored(operations: int) -> Rule:
    """`operations` for each element that a sparse input stores."""
    return lambda op: traffic(op, element_wise_ops=operations * op.inputs[0].elements)


def batch_norm(op: Op) -> Cost:
    """2 an element: the statistics are folded into a scale and a shift. In train mode it finds and updates them too."""
    train = op.attrs.get("training") or op.attrs.get("use_input_stats")
    statistics = [t for t in op.inputs if t.name in ("running_mean", "running_var")] if train else []
    written = [(t.elements, t) for t in (*op.outputs, *statistics)]
    return traffic(op, element_wise_ops=(5 if train else 2) * op.inputs[0].numel, writes=written)


def cdist(op: Op) -> Cost:
    """Distances [b, p, r] between rows of m features: a difference, a power and a sum per feature."""
    return traffic(op, element_wise_ops=3 * op.output.numel * op["x1"].shape[-1])


def nms(op: Op) -> Cost:
    """Every pair of boxes is compared at worst."""
    boxes = op.inputs[0].shape[0]
    return traffic(op, element_wise_ops=boxes * boxes)


def fourier(op: Op) -> Cost:
    """5 n log2 n real operations for a complex transform of n points, half for a real one (FFTW's convention)."""
    full, kept = max(op.inputs[0], op.output, key=lambda t: t.numel), op.inputs[0]
    dims = op.attrs.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    points = prod(full.shape[d] for d in (range(len(full.shape)) if dims is None else dims))
    real = not (kept.dtype.startswith("complex") and op.output.dtype.startswith("complex"))
    operations = int(5 * full.numel * log2(points)) if points > 1 else 0
    return traffic(op, element_wise_ops=operations // 2 if real else operations)


def optimizer_step(op: Op) -> Cost:
    """Fused: every parameter, gradient and state is read once; parameters and states are written once.

    Each of several shards steps its own part. Plain SGD touches those rows of a parameter that a sparse gradient has.
    """
    shards = op.attrs.get("shards", 1)
    read = [(-(-t.elements // shards), t) for t in op.inputs]
    if op.kind == "sgd":  # each parameter stands before its gradient
        read = [(min(n, read[i | 1][0]), t) for i, (n, t) in enumerate(read)]
    elements = sum(n for n, t in read if t.name.startswith("params."))
    written = [(n, t) for n, t in read if not t.name.startswith("grads.")]
    return traffic(op, element_wise_ops=OPTIMIZERS[op.kind].operations * elements, reads=read, writes=written)
