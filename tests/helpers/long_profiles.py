"""A profile of any length."""

from __future__ import annotations

from dataclasses import replace

from costlab.core.profile import Profile
from costlab.models import ModelSpec
from costlab.models import profile_of as profile_named


def long_profile(copies: int) -> Profile:
    """ShuffleNet V1, many times over, one after the other."""
    unit = profile_named(ModelSpec("zoo:shufflenet_v1"))
    ops, costs, last = [], [], 0
    span = 1 + max(t.storage for op in unit.ops for t in (*op.inputs, *op.outputs))
    for copy in range(copies):
        for op, cost in zip(unit.ops, unit.costs, strict=True):
            moved = [
                tuple(t._replace(storage=t.storage + copy * span) for t in tensors)
                for tensors in (op.inputs, op.outputs)
            ]
            after = tuple(i + last for i in op.after) or ((last - 1,) if copy else ())
            ops.append(
                replace(
                    op,
                    name=f"{copy}.{op.name}",
                    module=f"{copy}.{op.module}",
                    inputs=moved[0],
                    outputs=moved[1],
                    after=after,
                )
            )
            costs.append(cost)
        last = len(ops)
    outputs = tuple(s + (copies - 1) * span for s in unit.trace.outputs)
    return replace(unit, trace=replace(unit.trace, ops=tuple(ops), outputs=outputs), costs=tuple(costs))
