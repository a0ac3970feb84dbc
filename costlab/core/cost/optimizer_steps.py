"""The cost of an optimizer's step: element-wise work on parameters, gradients and state."""

from __future__ import annotations

from costlab.core.cost.algebra import Cost, traffic
from costlab.core.graph import Op
from costlab.core.optimizers import OPTIMIZERS


def optimizer_step(op: Op) -> Cost:
    """Fused: every parameter, gradient and state is read once; parameters and states are written once."""
    optimizer = OPTIMIZERS[op.kind]
    elements = sum(t.numel for t in op.each("params"))
    written = [(t.elements, t) for t in op.inputs if not t.name.startswith("grads.")]
    return traffic(op, element_wise_ops=optimizer.operations * elements, writes=written)
