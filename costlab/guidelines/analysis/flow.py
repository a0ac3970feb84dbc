"""Which operator reads which values. Tensors that share storage are one value, so views drop out."""

from typing import NamedTuple

from costlab.core.profile import Profile


class Read(NamedTuple):
    """One tensor that an operator reads."""

    value: int  # position of the operator that wrote it; -1 - storage if none did
    elements: int
    bytes: int


def reads_of(profile: Profile) -> dict[int, list[Read]]:
    """What each operator that is not free reads, by position; without parameters, buffers and constants."""
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
