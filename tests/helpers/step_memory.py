"""Peak memory of a training step as torch's own MemTracker sees it, on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.attention import SDPBackend, sdpa_kernel

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, foreach=False),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, foreach=False),
}


def tracked_peak(model: nn.Module, inputs: Sequence[torch.Tensor], optimizer: str) -> int:
    """The peak of the second step, which finds the optimizer's state made; attention by the math path."""
    model = model.to("meta").train()
    inputs = [t.to("meta") for t in inputs]
    stepper = OPTIMIZERS[optimizer](model.parameters())
    tracker = MemTracker()
    tracker.track_external(model, stepper, *inputs)
    with sdpa_kernel(SDPBackend.MATH), tracker:
        for step in range(2):
            result = model(*inputs)
            result.sum().backward()
            del result
            stepper.step()
            stepper.zero_grad()
            if step == 0:
                tracker.reset_mod_stats()
    return sum(int(snapshot["Total"]) for snapshot in tracker.get_tracker_snapshot("peak").values())
