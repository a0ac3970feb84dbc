"""The largest batch that fits into memory, found by tracing at several."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from costlab.core.memory import peak_of_step
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.models._profile_of import profile_of
from costlab.models.spec import ModelSpec

BLOCK = 512  # bytes; torch's CUDA allocator rounds every tensor up to a multiple
OVERHEAD_BYTES = 900_000_000  # of the context and of library workspaces, which no trace knows
FRAGMENTATION = 0.1  # share of the peak that lies in gaps between blocks (docs/training.md)
LARGEST = 1 << 20


@dataclass(frozen=True)
class LargestBatch:
    """The largest batch that fits, and how near it comes."""

    batch: int
    needed_bytes: int  # with the overhead
    next_bytes: int | None  # that one more needs; None if none was tried
    memory_bytes: int
    profile: Profile


def max_batch(spec: ModelSpec, memory: int) -> LargestBatch:
    """The largest batch of a network that fits.

    Args:
        spec: the network, in any mode.
        memory: bytes of the device.

    Raises:
        CostlabError: not even a batch of 1 fits, or the network cannot be traced.
    """
    profiles: dict[int, Profile] = {}

    def needed(batch: int) -> int:
        profiles[batch] = profile_of(replace(spec, batch=batch))
        return needed_bytes(profiles[batch])

    batch, needs, more = search(needed, memory)
    return LargestBatch(batch, needs, more, memory, profiles[batch])


def needed_bytes(profile: Profile) -> int:
    """The bytes that a network needs on a device."""
    step = profile.trace.step is not None
    peak = peak_of_step(profile.trace, BLOCK).bytes if step else profile.total.peak_bytes or 0
    return round(peak * (1 + FRAGMENTATION)) + OVERHEAD_BYTES


def search(needed: Callable[[int], int], memory: int) -> tuple[int, int, int | None]:
    """The largest batch whose need is at most `memory`, what it needs, and what one more does.

    Needs grow about linearly: each trial is where the line through the last two meets the memory.

    Raises CostlabError if not even a batch of 1 fits.
    """
    fits, need = 2, needed(2)  # a batch norm cannot be trained with 1
    if need > memory:
        first = needed(1)
        if first > memory:
            raise CostlabError(f"not even a batch of 1 fits: it needs {units.size(first)} of {units.size(memory)}")
        return 1, first, need
    slope = max(needed(4) - need, 1) / 2
    too_many, more = LARGEST + 1, None
    while too_many - fits > 1:
        trial = min(max(fits + int((memory - need) / slope), fits + 1), too_many - 1)
        size = needed(trial)
        if size <= memory:
            slope = max((size - need) / (trial - fits), 1.0)
            fits, need = trial, size
        else:
            slope = max((size - need) / (trial - fits), 1.0)
            too_many, more = trial, size
    return fits, need, more
