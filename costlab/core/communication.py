"""What devices that share a model send each other in a training step, as FSDP and ZeRO 3 do."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from costlab.core.graph import Trace


class Communication(NamedTuple):
    """Bytes that each device receives in a step, by collective operation."""

    all_gather_bytes: int  # parameters, for the forward and again for the backward pass
    reduce_scatter_bytes: int  # gradients


def communication(trace: Trace) -> Communication:
    """The bytes that a device receives: of everything the part that it does not hold itself, (N - 1) / N.

    Rajbhandari et al., ZeRO (arXiv 1910.02054), section 7.2: parameters twice, gradients once, in every pass. Nothing
    in a trace without shards.
    """
    step = trace.step
    if step is None or step.shards == 1:
        return Communication(0, 0)
    phases = [phase for phase, _ in groupby(op.phase for op in trace.ops)]
    passes = phases.count("backward")
    parameters = sum(storage.bytes for storage in step.storages if storage.category == "parameter")
    gathered, scattered = 2 * passes * parameters, passes * step.gradient_bytes
    return Communication(*(amount * (step.shards - 1) // step.shards for amount in (gathered, scattered)))
