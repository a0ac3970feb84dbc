"""Live memory against a simulation that allocates and frees storages one operator at a time."""

from __future__ import annotations

import pytest
from helpers.examples import examples
from torch import nn

import costlab
from costlab.core.graph import Trace
from costlab.core.memory import live_activation_bytes, peak_activation_bytes, storage_lifetimes


def simulated(trace: Trace) -> list[int]:
    """Bytes held at every operator by an allocator that frees a storage once nothing to come needs it."""
    constants = {t.storage for op in trace.ops for t in op.inputs if t.role in ("parameter", "buffer", "constant")}
    made = {t.storage for op in trace.ops for t in op.outputs}
    held: dict[int, int] = {}
    for op in trace.ops:  # inputs of the model are there from the start
        held.update({t.storage: t.bytes for t in op.inputs if t.storage not in made | held.keys() | constants})
    alive = []
    for position, op in enumerate(trace.ops):
        for tensor in op.outputs:
            if tensor.storage not in constants:
                held.setdefault(tensor.storage, tensor.bytes)
        alive.append(sum(held.values()))
        needed = {t.storage for later in trace.ops[position + 1 :] for t in (*later.inputs, *later.outputs)}
        held = {storage: size for storage, size in held.items() if storage in needed or storage in trace.outputs}
    return alive


@pytest.mark.parametrize("name", examples())
def test_live_bytes_are_those_of_an_allocator(name):
    trace = examples()[name].trace
    assert live_activation_bytes(trace) == simulated(trace)
    assert peak_activation_bytes(trace) == max(simulated(trace), default=0)


def test_live_bytes_of_a_chain_by_hand():
    trace = costlab.profile(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (1, 4)).trace
    # x 16 B and h 32 B; h and its relu 32 B each; the relu and the output 8 B.
    assert live_activation_bytes(trace) == [16 + 32, 32 + 32, 32 + 8]
    assert [(s.first, s.last, s.bytes) for s in storage_lifetimes(trace)] == [
        (-1, 0, 16),
        (0, 1, 32),
        (1, 2, 32),
        (2, 2, 8),
    ]
