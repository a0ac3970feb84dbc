"""Which operator reads what, by the memory that tensors share: views and operators that change nothing are left out."""

from __future__ import annotations

from typing import NamedTuple

from costlab.core.profile import Profile


class Read(NamedTuple):
    """One tensor that an operator reads."""

    value: int  # position of the operator that wrote it; where none did, -1 - its storage
    elements: int
    bytes: int


def reads_of(profile: Profile) -> dict[int, list[Read]]:
    """By position, what every operator that is not free reads other than parameters, buffers and constants."""
    writer: dict[int, int] = {}
    reads: dict[int, list[Read]] = {}
    for position, op in enumerate(profile.ops):
        if op.free:
            continue
        reads[position] = [
            Read(writer.get(t.storage, -1 - t.storage), t.elements, t.bytes)
            for t in op.inputs
            if t.storage in writer or t.role in ("input", "activation")
        ]
        writer.update((t.storage, position) for t in op.outputs)
    return reads
