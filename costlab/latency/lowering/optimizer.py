"""Kernels of an optimizer's step: one pass over everything, or one for each operation of its formula."""

from costlab.core.optimizers import OPTIMIZERS
from costlab.latency.lowering.kernels import WORK, Kernel
from costlab.latency.lowering.site import Site

TENSORS_A_LAUNCH = 30  # of multi-tensor kernels, about (ATen/native/cuda/MultiTensorApply.cuh: 30 to 110, 320 blocks)


def optimizer_step(kernel: Kernel, site: Site) -> list[Kernel]:
    """The passes over a module's parameters.

    "fused" reads and writes all once; "foreach" makes a pass for each operation, over many tensors at a time;
    "for-loop" launches each operation for each parameter. Each of several shards steps its own part.
    """
    op, form = site.op, site.config.optimizer_form
    tensors = len(op.each("params"))
    launches = tensors if form == "for-loop" else tensors / TENSORS_A_LAUNCH
    passes = OPTIMIZERS[op.kind].passes
    base = kernel._replace(work=WORK["element_wise"], launches=launches, read=0.0)
    shards = op.attrs.get("shards", 1)
    size = sum(t.bytes for t in op.each("params")) / shards
    if form == "fused" or not passes:
        moved = float(site.cost.bytes_accessed)
        return [base._replace(constant=moved, operations=site.cost.element_wise_ops)]
    elements = sum(t.numel for t in op.each("params")) / shards
    return [base._replace(constant=accesses * size, operations=elements) for accesses in passes]
