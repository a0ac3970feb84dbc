"""The memory that a forward pass allocates at most."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from costlab.measurement.device_timing import can_profile, profiler
from costlab.measurement.operator_timing import synchronise


def peak_memory(run: Callable[[], Any], device: torch.device) -> int | None:
    """Peak bytes of what a run allocates on the device, above what is allocated before it; None if it does not tell.

    On CUDA what torch's allocator counts, on a CPU the sum of its allocations and frees, which a profiler lists:
    tensors and their workspaces, but not the scratch memory that a library allocates by itself.
    """
    if device.type == "cuda":
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu" or not can_profile():
        return None
    with profiler([ProfilerActivity.CPU], memory=True) as found:
        result = run()
    events = found.profiler.kineto_results.events()
    changes = sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns())
    del result
    return max(accumulate((event.nbytes() for event in changes), initial=0))
