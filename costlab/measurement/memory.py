"""The memory that a forward pass allocates: at most, and anew from the system."""

import importlib
from collections.abc import Callable
from itertools import accumulate, pairwise
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from costlab.measurement.device_timing import can_profile, profiler
from costlab.measurement.operator_timing import synchronise

PASSES = 3


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


def page_faults(run: Callable[[], Any], device: torch.device) -> int | None:
    """The pages that a run gets from the system, because an earlier one gave them back; the median of some runs.

    A page takes 1 to 2 microseconds. None on other devices than a CPU, and where the system does not tell.
    """
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:  # on Windows
        return None
    if device.type != "cpu":
        return None
    counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
    for _ in range(PASSES):
        run()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return int(median(after - before for before, after in pairwise(counts)))
